//! Executions as MCP resources, which clients read by the URIs `execution://{id}/output`, `/events`
//! and `/status`.

use client::Client;
use protocol::{Events, ExecutionId, Page, Status};
use rmcp::model::{
    ListResourcesResult, MetaObject, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate,
};
use serde_json::json;

use crate::failure::Failure;
use crate::slots::Slots;
use crate::text::Text;
use crate::{tasks, views};

const SCHEME: &str = "execution://";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const LINES: &str = "application/x-ndjson";
/// The number of executions on one page of the MCP resource list. Each execution has three
/// resources.
const PAGE: u64 = 20;

/// The part of an execution that the URI of an MCP resource names.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Status(ExecutionId),
    /// The output of the execution from this offset in bytes, or, with `None`, from the oldest byte
    /// that is kept.
    Output(ExecutionId, Option<u64>),
    /// The stdout of the execution's CLI from this offset in bytes, or, with `None`, from the
    /// oldest byte that is kept.
    Events(ExecutionId, Option<u64>),
}

/// Returns one page of the list of executions, newest first. It has at most `limit` executions, and
/// only those that were created before the execution `before`.
///
/// # Errors
/// The bridge refuses or does not answer, or too many calls already run.
pub(crate) async fn page(
    slots: &Slots,
    limit: u64,
    before: Option<ExecutionId>,
) -> Result<Page, Failure> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let list = async |client: &Client| client.list(limit, before).await;
    slots.request(list).await
}

/// Returns the MCP resources of one page of executions, newest first. `cursor` comes from the
/// previous page; `None` requests the first page.
///
/// # Errors
/// The errors of [`page`], or the cursor was not created by this server.
pub(crate) async fn list(
    slots: &Slots,
    cursor: Option<String>,
) -> Result<ListResourcesResult, Failure> {
    let before = cursor.map(|cursor| cursor.parse()).transpose();
    let before = before.map_err(|_| {
        Failure::arguments("the cursor is not one of this server; use `nextCursor` of a list")
    })?;
    let page = page(slots, PAGE, before).await?;
    let resources = page.executions.iter().flat_map(of_execution).collect();
    let mut result = ListResourcesResult::with_all_items(resources);
    result.next_cursor = page.next.map(|next| next.to_string());
    Ok(result)
}

/// Returns the three MCP resources of an execution, which are its output, its events and its
/// status.
fn of_execution(status: &Status) -> [Resource; 3] {
    let id = status.execution_id;
    let described = format!("{}, created {}", status.state.as_str(), status.created_at);
    [
        Resource::new(format!("{SCHEME}{id}/output"), format!("output of {id}"))
            .with_description(described.clone())
            .with_mime_type(TEXT)
            .with_size(status.output_bytes),
        Resource::new(format!("{SCHEME}{id}/events"), format!("events of {id}"))
            .with_description(described.clone())
            .with_mime_type(LINES),
        Resource::new(format!("{SCHEME}{id}/status"), format!("status of {id}"))
            .with_description(described)
            .with_mime_type(JSON),
    ]
}

/// Returns the URI templates of the MCP resources. With them a client can read any execution, even
/// one that is not on the listed pages.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{SCHEME}{{id}}/output{{?offset}}"), "output")
            .with_description("The output of an execution, from a byte offset")
            .with_mime_type(TEXT),
        ResourceTemplate::new(format!("{SCHEME}{{id}}/events{{?offset}}"), "events")
            .with_description("The CLI's unchanged JSON lines, from a byte offset")
            .with_mime_type(LINES),
        ResourceTemplate::new(format!("{SCHEME}{{id}}/status"), "status")
            .with_description("The status of an execution")
            .with_mime_type(JSON),
    ]
}

/// Reads the MCP resource with this URI. A long output is cut, and `nextOffset` and `outputBytes`
/// in `_meta` say where it continues. Events are cut between two lines, and `_meta` has
/// `nextOffset` and `ended`.
///
/// # Errors
/// The URI is not a resource, the bridge does not know the execution or does not answer, or too
/// many calls run already.
pub(crate) async fn read(slots: &Slots, uri: &str) -> Result<ReadResourceResult, Failure> {
    let contents = match target(uri)? {
        Target::Status(id) => {
            let status = tasks::status(slots, id).await?;
            ResourceContents::text(json!(status).to_string(), uri).with_mime_type(JSON)
        }
        Target::Output(id, offset) => {
            let max = slots.settings().text_bytes;
            let (text, status) = views::output(slots, id, offset, max).await?;
            ResourceContents::text(text.text(), uri).with_meta(output_meta(&text, &status))
        }
        Target::Events(id, offset) => {
            let max = slots.settings().text_bytes;
            let events = async |client: &Client| client.events(id, offset, max).await;
            let Events {
                execution_id: _,
                offset,
                text,
                next_offset,
                ended,
            } = slots.request(events).await?;
            let mut meta = MetaObject::default();
            meta.0.insert("offset".to_owned(), offset.into());
            meta.0.insert("nextOffset".to_owned(), next_offset.into());
            meta.0.insert("ended".to_owned(), ended.into());
            ResourceContents::text(text, uri)
                .with_mime_type(LINES)
                .with_meta(meta)
        }
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

/// Returns the `_meta` object of an output resource, with the offsets of the text, and the present
/// length of the output and state of the execution.
fn output_meta(text: &Text, status: &Status) -> MetaObject {
    let mut members = json!({});
    text.describe(&mut members);
    let mut meta = MetaObject::default();
    for name in ["offset", "nextOffset", "gaps"] {
        meta.0.insert(name.to_owned(), members[name].take());
    }
    meta.0
        .insert("outputBytes".to_owned(), status.output_bytes.into());
    meta.0.insert("state".to_owned(), json!(status.state));
    meta
}

/// Parses the URI of an MCP resource. A URI that does not name a resource of this server is a
/// failure.
fn target(uri: &str) -> Result<Target, Failure> {
    let unknown = || {
        let uri: String = uri.chars().take(128).collect();
        let message = format!(
            "{uri:?} is not a resource; resources are {SCHEME}ID/status, \
             {SCHEME}ID/output?offset=N and {SCHEME}ID/events?offset=N"
        );
        Failure::not_found(message)
    };
    let path = uri.strip_prefix(SCHEME).ok_or_else(unknown)?;
    let (id, rest) = path.split_once('/').ok_or_else(unknown)?;
    let id = id.parse().map_err(|_| unknown())?;
    match rest.split_once('?') {
        None if rest == "status" => Ok(Target::Status(id)),
        None if rest == "output" => Ok(Target::Output(id, None)),
        None if rest == "events" => Ok(Target::Events(id, None)),
        Some((name @ ("output" | "events"), query)) => {
            let offset = query.strip_prefix("offset=").ok_or_else(unknown)?;
            let offset = Some(offset.parse().map_err(|_| unknown())?);
            Ok(match name {
                "output" => Target::Output(id, offset),
                _ => Target::Events(id, offset),
            })
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f4e2a-7b3c-7def-8123-456789abcdef";

    #[test]
    fn a_uri_is_a_status_an_output_or_events() {
        let id: ExecutionId = ID.parse().unwrap();
        for (rest, expected) in [
            ("status", Target::Status(id)),
            ("output", Target::Output(id, None)),
            ("output?offset=7", Target::Output(id, Some(7))),
            ("events", Target::Events(id, None)),
            ("events?offset=7", Target::Events(id, Some(7))),
        ] {
            assert_eq!(
                target(&format!("execution://{ID}/{rest}")).unwrap(),
                expected
            );
        }
        for bad in [
            "file:///etc/passwd".to_owned(),
            format!("execution://{ID}"),
            format!("execution://{ID}/events?offset=-1"),
            format!("execution://{ID}/events?offset=1&offset=2"),
            format!("execution://{ID}/event"),
            format!("execution://{ID}/output?offset=x"),
            format!("execution://{ID}/status?x=1"),
            "execution://7/status".to_owned(),
        ] {
            assert!(target(&bad).is_err(), "{bad}");
        }
    }
}
