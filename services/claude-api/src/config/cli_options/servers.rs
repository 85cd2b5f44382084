//! MCP servers that a client hands to the CLI (its option `--mcp-config`).

use protocol::ProblemType;
use serde_json::{Map, Value, json};

use super::refusal::CliOptionRefusal;

/// The maximum length of the name of a server, in bytes.
const NAME_BYTES: usize = 64;

/// Checks MCP servers by name, and returns them with known members only:
///
/// - `{"type": "sdk"}` runs in the client, which answers over the control protocol.
/// - `{"type": "http", "url": ...}` is reached by the CLI if the operator has listed its URL.
///
/// # Errors
/// `not-allowed` for a program (`stdio`), another type or a URL that is not listed, and
/// `invalid-body` for a malformed name or server.
pub(super) fn check_servers(
    servers: &Map<String, Value>,
    allowed_urls: &[String],
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
            Some("http") => match url.filter(|url| allowed_urls.iter().any(|known| known == url)) {
                Some(url) => json!({ "type": "http", "url": url }),
                None => {
                    return Err(not_allowed(
                        name,
                        "its url is not on the operator's list (--allowed-mcp-urls)",
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

/// Checks the name of a server. The CLI names its tools `mcp__SERVER__TOOL`, so `__` in a name
/// could make the tool of one server look like that of another.
fn check_name(name: &str) -> Result<(), CliOptionRefusal> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_good = (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_known)
        && !name.contains("__")
        && !name.starts_with('_')
        && !name.ends_with('_');
    if is_good {
        return Ok(());
    }
    Err(CliOptionRefusal::new(
        ProblemType::InvalidBody,
        format!(
            "mcpServers: {name:?} is not a valid server name; use 1 to {NAME_BYTES} of \
             A-Z a-z 0-9 _ -, without __ and without _ at either end"
        ),
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
        let urls = ["https://tools.example/mcp".to_owned()];
        let checked = check_servers(servers.as_object().unwrap(), &urls);
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
        let url = "https://tools.example/mcp";
        let http = json!({"type": "http", "url": url, "headersHelper": "sh"});
        assert_eq!(check("t", http), Ok(json!({"type": "http", "url": url})));
    }

    #[test]
    fn programs_and_other_urls_are_refused() {
        for server in [
            json!({"type": "stdio", "command": "sh"}),
            json!({"command": "sh", "args": []}),
            json!({"type": "http", "url": "https://tools.example/mcp/"}),
            json!({"type": "http"}),
            json!({"type": "sse", "url": "https://tools.example/mcp"}),
            json!({"type": "ws", "url": "ws://x"}),
            json!({"type": ["sdk"]}),
            json!("sdk"),
            json!(null),
        ] {
            assert_eq!(
                check("a", server.clone()),
                Err(ProblemType::NotAllowed),
                "{server}"
            );
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
