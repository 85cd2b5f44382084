//! The requests that are forwarded: a method and a target, compared byte for byte.

use grants::Endpoint;

use super::refusal::Refusal;

/// The path of the Messages API.
const MESSAGES: &str = "/v1/messages";
/// The path that counts the tokens of a request.
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";
/// The path of the list of models.
const MODELS: &str = "/v1/models";
/// The path that the healthcheck of the container reads.
const LIVE: &str = "/health/live";
/// The one query that is forwarded.
const BETA: &str = "beta=true";
/// The longest id of a model, in bytes.
const MODEL_ID_BYTES: usize = 128;

/// A request that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A request for the API. `path` begins with `/v1/`, and may end in `?beta=true`.
    Api {
        /// The endpoint.
        endpoint: Endpoint,
        /// Whether the request has a body.
        has_body: bool,
        /// The path and the query.
        path: &'a str,
    },
    /// The liveness check of this service.
    Live,
}

/// Looks up a method and a request target in the list of requests that are forwarded.
///
/// # Errors
/// The target has a form that another server could read as another path (400), or the path (404) or
/// the method (405) is not forwarded.
pub fn find<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Refusal> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    check_form(path)?;
    if path == LIVE && query.is_none() {
        return match method {
            "GET" | "HEAD" => Ok(Target::Live),
            _ => Err(Refusal::method_not_allowed()),
        };
    }
    let (endpoint, has_body) = match path {
        MESSAGES => (Endpoint::Messages, true),
        COUNT_TOKENS => (Endpoint::CountTokens, true),
        MODELS => (Endpoint::Models, false),
        path if is_model(path) => (Endpoint::Models, false),
        _ => return Err(Refusal::not_found()),
    };
    let is_allowed = match method {
        "POST" => has_body,
        "GET" | "HEAD" => !has_body,
        _ => false,
    };
    if !is_allowed {
        return Err(Refusal::method_not_allowed());
    }
    if query.is_some_and(|query| query != BETA) {
        return Err(Refusal::invalid(
            "only the query beta=true is forwarded; leave out the query",
        ));
    }
    Ok(Target::Api {
        endpoint,
        has_body,
        path: target,
    })
}

/// Checks that a path is in origin form, and has nothing that another server could decode or
/// resolve.
fn check_form(path: &str) -> Result<(), Refusal> {
    let mistake = if !path.starts_with('/') {
        "the request target is not a path"
    } else if path.contains('%') {
        "the path has an escape"
    } else if path.contains("//") || path.contains('\\') {
        "the path has an empty segment or a backslash"
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) || path.contains("..") {
        "the path has a segment of dots"
    } else if path.contains(['#', ';']) {
        "the path has a fragment or a parameter"
    } else {
        return Ok(());
    };
    Err(Refusal::invalid(mistake))
}

/// Returns whether a path names one model.
fn is_model(path: &str) -> bool {
    let id = path
        .strip_prefix(MODELS)
        .and_then(|rest| rest.strip_prefix('/'));
    id.is_some_and(|id| {
        let in_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=MODEL_ID_BYTES).contains(&id.len())
            && id.starts_with(|c: char| c.is_ascii_alphanumeric())
            && id.bytes().all(in_id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, target: &str) -> u16 {
        match find(method, target) {
            Ok(Target::Api { path, .. }) => {
                assert_eq!(path, target);
                200
            }
            Ok(Target::Live) => 204,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn the_list_is_exact() {
        for (method, target, expected) in [
            ("POST", "/v1/messages", 200),
            ("POST", "/v1/messages?beta=true", 200),
            ("POST", "/v1/messages/count_tokens", 200),
            ("POST", "/v1/messages/count_tokens?beta=true", 200),
            ("GET", "/v1/models", 200),
            ("HEAD", "/v1/models?beta=true", 200),
            ("GET", "/v1/models/claude-opus-4-5", 200),
            ("GET", "/v1/models/claude-3.5_x?beta=true", 200),
            ("GET", "/health/live", 204),
            ("POST", "/health/live", 405),
            ("GET", "/health/live?x", 404),
            ("GET", "/v1/messages", 405),
            ("post", "/v1/messages", 405),
            ("PUT", "/v1/messages", 405),
            ("OPTIONS", "/v1/messages", 405),
            ("POST", "/v1/models", 405),
            ("DELETE", "/v1/models/claude", 405),
            ("POST", "/v1/messages?", 400),
            ("POST", "/v1/messages?beta=true&x", 400),
            ("POST", "/v1/messages?beta=true?beta=true", 400),
            ("POST", "/v1/messages?Beta=true", 400),
            ("POST", "/v1/messages?beta=%74rue", 400),
            ("POST", "/v1/messages/", 404),
            ("POST", "/V1/messages", 404),
            ("POST", "/v1/Messages", 404),
            ("POST", "/v1/messages/batches", 404),
            ("POST", "/v1/files", 404),
            ("GET", "/v1/models/", 404),
            ("GET", "/v1/models/a/b", 404),
            ("GET", "/v1/models/-a", 404),
            ("GET", "/v1/models/a:b", 404),
            ("GET", "/metrics", 404),
            ("GET", "/", 404),
            ("POST", "/v1//messages", 400),
            ("POST", "//v1/messages", 400),
            ("POST", "/v1/../v1/messages", 400),
            ("POST", "/v1/./messages", 400),
            ("GET", "/v1/models/..", 400),
            ("GET", "/v1/models/a..b", 400),
            ("POST", "/v1/messages#x", 400),
            ("POST", "/v1/messages;x", 400),
            ("POST", "/v1\\messages", 400),
            ("POST", "/v1/%6dessages", 400),
            ("POST", "http://api.anthropic.com/v1/messages", 400),
            ("CONNECT", "api.anthropic.com:443", 400),
            ("OPTIONS", "*", 400),
            ("POST", "", 400),
        ] {
            assert_eq!(status(method, target), expected, "{method} {target}");
        }
    }
}
