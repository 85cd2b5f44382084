//! The headers of a request, as the API gets them.

use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Headers that are dropped: those of the authentication, of one connection, of a body's framing,
/// and those from which a proxy or a framework could derive another sender, host, path or method.
const DROPPED: [&str; 37] = [
    "authorization",
    "x-api-key",
    "proxy-authorization",
    "cookie",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "forwarded",
    "via",
    "max-forwards",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "fastly-client-ip",
    "client-ip",
    "x-host",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "origin",
    "referer",
    "alt-used",
];
/// Prefixes of the names of further headers that are dropped.
const DROPPED_PREFIXES: [&str; 4] = ["x-forwarded", "cf-", "x-envoy", "sec-"];
/// Headers that the operator cannot set, because they follow from the connection or the body.
const FIXED: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
];

/// The header with the betas that a request uses, separated by commas.
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// The shortest value of an operator's header that is looked for in answers. Shorter ones, such as
/// `true`, are no secrets, and occur in answers by chance.
const SECRET_BYTES: usize = 8;

/// The headers that every request to the API gets.
#[derive(Clone)]
pub struct Added<'a> {
    /// The value of `Host`.
    pub host: &'a HeaderValue,
    /// The header with the credential.
    pub credential: (HeaderName, HeaderValue),
    /// The beta that this credential needs.
    pub beta: Option<&'static str>,
    /// The operator's own headers (`ANTHROPIC_CUSTOM_HEADERS`).
    pub custom: &'a HeaderMap,
}

/// Returns the headers of a request as the API gets them. `has_body` says whether the request has a
/// body, which is then JSON.
#[must_use]
pub fn forwarded(received: &HeaderMap, added: Added<'_>, has_body: bool) -> HeaderMap {
    let named = named_by_connection(received);
    let mut headers = HeaderMap::with_capacity(received.len() + 4);
    for (name, value) in received {
        let text = name.as_str();
        let is_dropped = DROPPED.contains(&text)
            || DROPPED_PREFIXES
                .iter()
                .any(|prefix| text.starts_with(prefix))
            || named.iter().any(|dropped| dropped == text)
            || added.custom.contains_key(name);
        if !is_dropped {
            headers.append(name, value.clone());
        }
    }
    for (name, value) in added.custom {
        headers.append(name, value.clone());
    }
    headers.insert(HOST, added.host.clone());
    // The usage in the answer must be readable.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(beta) = added.beta {
        add_beta(&mut headers, beta);
    }
    let (name, value) = added.credential;
    headers.insert(name, value);
    headers
}

/// Adds a beta to those of a request, all in one line, unless it is among them.
fn add_beta(headers: &mut HeaderMap, beta: &'static str) {
    let lines = headers.get_all(BETA).iter().map(HeaderValue::as_bytes);
    let mut all = lines.collect::<Vec<_>>().join(&b","[..]);
    let mut names = all.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if !names.any(|name| name == beta.as_bytes()) {
        if !all.is_empty() {
            all.push(b',');
        }
        all.extend(beta.as_bytes());
    }
    // The bytes of valid values are a valid value.
    let value = HeaderValue::from_bytes(&all);
    headers.insert(BETA, value.unwrap_or(HeaderValue::from_static(beta)));
}

/// Returns the headers of an answer of the API as the client gets them. A header is dropped if it
/// has the credential in it, or the value of one of the operator's own headers. `secret` is the
/// credential, and `custom` has the operator's headers.
#[must_use]
pub fn answered(received: &HeaderMap, secret: &[u8], custom: &HeaderMap) -> HeaderMap {
    const DROPPED: [&str; 14] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "set-cookie",
        "alt-svc",
        "strict-transport-security",
        "location",
        "refresh",
    ];
    let named = named_by_connection(received);
    let custom = custom.values().map(HeaderValue::as_bytes);
    let custom = custom.filter(|value| value.len() >= SECRET_BYTES);
    let secrets: Vec<_> = std::iter::once(secret).chain(custom).collect();
    let has_secret = |value: &HeaderValue| {
        secrets.iter().any(|secret| {
            let mut windows = value.as_bytes().windows(secret.len().max(1));
            windows.any(|window| window == *secret)
        })
    };
    let kept = received.iter().filter(|(name, value)| {
        !(DROPPED.contains(&name.as_str())
            || named.iter().any(|dropped| dropped == name.as_str())
            || has_secret(value))
    });
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Returns the names that the header `Connection` lists, in lower case. Those headers are for the
/// next hop only (RFC 9110, section 7.6.1).
fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONNECTION).into_iter();
    let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let names = texts.flat_map(|text| {
        let names = text.split(',').map(|name| name.trim().to_owned());
        names.collect::<Vec<_>>()
    });
    // `Content-Length` is kept, because the body is kept.
    names
        .filter(|name| !name.is_empty() && name != CONTENT_LENGTH.as_str())
        .collect()
}

/// Parses the operator's own headers: one `Name: value` in each line.
///
/// # Errors
/// One text for each line that is not a header, or whose header cannot be set. The texts do not
/// repeat a value.
pub fn parse_custom(text: &str) -> Result<HeaderMap, Vec<String>> {
    let mut headers = HeaderMap::new();
    let mut mistakes = Vec::new();
    let lines = text.split(['\n', '\r']).map(str::trim);
    for (number, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        let mut mistake = |what: &str| {
            let number = number + 1;
            mistakes.push(format!("ANTHROPIC_CUSTOM_HEADERS, line {number}: {what}"));
        };
        let Some((name, value)) = line.split_once(':') else {
            mistake("write Name: value");
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(mut value)) => {
                if FIXED.contains(&name.as_str()) {
                    mistake("this header cannot be set");
                    continue;
                }
                value.set_sensitive(true);
                headers.append(name, value);
            }
            _ => mistake("the name or the value has characters that a header cannot have"),
        }
    }
    if mistakes.is_empty() {
        Ok(headers)
    } else {
        Err(mistakes)
    }
}

#[cfg(test)]
mod tests;
