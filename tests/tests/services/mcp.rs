//! The MCP server, over streamable HTTP and over stdio.

mod bodies;
mod bounds;
mod cancel_and_disconnect;
mod conformance;
mod lost_streams;
mod malformed_messages;
mod partial_post;
mod python_sdk;
mod questions;
mod raw_client;
mod request_ids;
mod restart;
mod session_end;
mod session_limit;
mod stdio_client;
mod stream_resumption;
mod tools;

use cc_tests::harness::{self, Stack};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{PATIENCE, path};
use raw_client::Reply;

async fn state(stack: &Stack, execution: &str) -> Value {
    let request = stack.http().request(Method::GET, &path(execution, ""));
    let response = request.send().await.expect("an answer");
    let body = response.bytes().await.expect("a body");
    serde_json::from_slice::<Value>(&body).unwrap_or_default()["state"].take()
}

async fn until(stack: &Stack, execution: &str, wanted: &str) {
    let what = format!("{execution} to become {wanted}");
    harness::until(&what, PATIENCE, async || {
        (state(stack, execution).await == wanted).then_some(())
    })
    .await;
}

/// Reads a response to its end.
async fn read(response: Response) -> Reply {
    let reply = timeout(PATIENCE, Reply::read(response)).await;
    reply.expect("an end in time").expect("an orderly end")
}
