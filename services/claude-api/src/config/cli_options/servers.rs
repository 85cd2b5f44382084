//! MCP servers that a client hands to the CLI (its option `--mcp-config`).

use std::collections::BTreeMap;

use protocol::ProblemType;
use serde_json::{Map, Value, json};

use super::refusal::CliOptionRefusal;

/// The maximum length of the name of a server, in bytes.
const NAME_BYTES: usize = 64;

/// Checks MCP servers by name, and returns them with known members only:
///
/// - `{"type": "sdk"}` runs in the client, which answers over the control protocol.
/// - `{"type": "http", "url": ...}` is reached by the CLI if the operator has listed its name with
///   this URL.
///
/// # Errors
/// `not-allowed` for a program (`stdio`), another type or a name and URL that are not
/// listed, and `invalid-body` for a malformed name or server.
pub(super) fn check_servers(
    servers: &Map<String, Value>,
    allowed: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, CliOptionRefusal> {
    let mut checked = Map::new();
    for (name, server) in servers {
        check_name(name)?;
        let text = |member: &str| server.get(member).and_then(Value::as_str);
        let url = text("url");
        let server = match text("type") {
            Some("sdk") => json!({ "type": "sdk", "name": name }),
            Some("http")
                if server
                    .get("headers")
                    .is_some_and(|headers| !headers.is_null()) =>
            {
                return Err(not_allowed(
                    name,
                    "headers are not supported; leave them out",
                ));
            }
            Some("http") => match allowed
                .get(name)
                .filter(|known| url == Some(known.as_str()))
            {
                Some(url) => json!({ "type": "http", "url": url }),
                None => {
                    return Err(not_allowed(
                        name,
                        "its name and url are not on the operator's list (--allowed-mcp-servers)",
                    ));
                }
            },
            Some("sse") => {
                return Err(not_allowed(
                    name,
                    "servers of the type sse are not supported",
                ));
            }
            _ => {
                return Err(not_allowed(
                    name,
                    "a program would run beside the service; serve it from the client, as type sdk",
                ));
            }
        };
        checked.insert(name.clone(), server);
    }
    Ok(checked)
}

/// Parses the operator's MCP servers, each as `NAME=URL`. Returns the URLs by name, or all
/// mistakes, one text each.
pub(in super::super) fn parse_servers(
    entries: &[String],
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut servers = BTreeMap::new();
    let mut mistakes = Vec::new();
    for entry in entries {
        let (name, url) = entry.split_once('=').unwrap_or_default();
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !is_name(name) || !is_url {
            mistakes.push(format!(
                "--allowed-mcp-servers has {entry:?}; write NAME=URL, with {NAME_RULE} and a URL \
                 that begins with http:// or https://"
            ));
        } else if servers.insert(name.to_owned(), url.to_owned()).is_some() {
            mistakes.push(format!(
                "--allowed-mcp-servers has the name {name:?} twice; use each name once"
            ));
        }
    }
    if mistakes.is_empty() {
        Ok(servers)
    } else {
        Err(mistakes)
    }
}

/// What a name of a server must be, for error messages.
const NAME_RULE: &str =
    "a name of 1 to 64 of A-Z a-z 0-9 _ -, without __ and without _ at either end";

/// Returns whether a server may have this name. The CLI names its tools `mcp__SERVER__TOOL`, so
/// `__` in a name could make the tool of one server look like that of another.
fn is_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_known)
        && !name.contains("__")
        && !name.starts_with('_')
        && !name.ends_with('_')
}

/// Checks the name of a client's server.
fn check_name(name: &str) -> Result<(), CliOptionRefusal> {
    if is_name(name) {
        return Ok(());
    }
    Err(CliOptionRefusal::new(
        ProblemType::InvalidBody,
        format!("mcpServers: {name:?} is not a valid server name; use {NAME_RULE}"),
    ))
}

fn not_allowed(name: &str, reason: &str) -> CliOptionRefusal {
    CliOptionRefusal::new(
        ProblemType::NotAllowed,
        format!("mcpServers: the server {name:?} is not allowed: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, server: Value) -> Result<Value, ProblemType> {
        let servers = json!({ name: server });
        let listed = ["t", "u"].map(|name| format!("{name}=https://{name}.example/mcp"));
        let listed = parse_servers(&listed).unwrap();
        let checked = check_servers(servers.as_object().unwrap(), &listed);
        checked
            .map(|mut servers| servers.remove(name).unwrap())
            .map_err(|refusal| refusal.kind)
    }

    #[test]
    fn servers_of_the_client_and_listed_urls_pass_with_known_members_only() {
        let sdk = json!({"type": "sdk", "name": "other", "command": "sh"});
        assert_eq!(
            check("calc", sdk),
            Ok(json!({"type": "sdk", "name": "calc"}))
        );
        let url = "https://t.example/mcp";
        let http = json!({"type": "http", "url": url, "headersHelper": "sh"});
        assert_eq!(check("t", http), Ok(json!({"type": "http", "url": url})));
    }

    #[test]
    fn programs_and_other_urls_are_refused() {
        for server in [
            json!({"type": "stdio", "command": "sh"}),
            json!({"command": "sh", "args": []}),
            json!({"type": "http", "url": "https://t.example/mcp/"}),
            json!({"type": "http", "url": "https://u.example/mcp"}),
            json!({"type": "http"}),
            json!({"type": "sse", "url": "https://t.example/mcp"}),
            json!({"type": "ws", "url": "ws://x"}),
            json!({"type": ["sdk"]}),
            json!("sdk"),
            json!(null),
        ] {
            assert_eq!(
                check("t", server.clone()),
                Err(ProblemType::NotAllowed),
                "{server}"
            );
        }
    }

    #[test]
    fn the_operators_list_has_valid_names_and_urls_once() {
        let parse = |entries: &[&str]| {
            let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
            parse_servers(&entries)
        };
        let servers = parse(&["a=http://x/?q=1", "b=https://y"]).unwrap();
        assert_eq!(servers["a"], "http://x/?q=1");
        for entries in [
            &["http://x"][..],
            &["a=x"],
            &["=http://x"],
            &["a__b=http://x"],
            &["a=http://x", "a=http://y"],
        ] {
            assert_eq!(parse(entries).unwrap_err().len(), 1, "{entries:?}");
        }
    }

    #[test]
    fn a_name_that_could_look_like_another_server_is_refused() {
        for name in ["", "a__b", "a_", "_a", "a b", "a*", "a.b", &"a".repeat(65)] {
            let sdk = json!({"type": "sdk"});
            assert_eq!(check(name, sdk), Err(ProblemType::InvalidBody), "{name}");
        }
    }
}
