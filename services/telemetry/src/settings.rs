//! The settings of the export: the receiver, the headers of its requests, and the fraction of
//! traces.

mod headers;

use std::fmt;
use std::path::Path;

use http::{HeaderName, HeaderValue};

/// The path at which a receiver accepts spans, below the endpoint (OTLP 1.x, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// The unchecked settings of one service, as the operator gave them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// The URL of the receiver. Empty turns the export off.
    pub(crate) endpoint: &'a str,
    /// The file with the headers of the requests. `None` for no headers.
    pub(crate) headers_file: Option<&'a Path>,
    /// The fraction of the traces that the service begins and that are recorded, from 0 to 1.
    pub(crate) sample_ratio: &'a str,
}

/// The checked settings of the export.
#[derive(Clone)]
pub struct Settings {
    /// The URL to which spans are sent, with its path.
    pub(crate) url: String,
    /// The headers of each request. They may hold a secret.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The fraction of the traces that this service begins and that are recorded.
    pub(crate) ratio: f64,
}

impl fmt::Debug for Settings {
    /// Shows the names of the headers, and never their values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            headers,
            ratio,
        } = self;
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("url", url)
            .field("headers", &names)
            .field("ratio", ratio)
            .finish()
    }
}

impl Settings {
    /// Checks the settings of a service. Returns `None` without an endpoint: the service exports
    /// nothing then. Reads the file with the headers, once.
    ///
    /// Adds one text to `mistakes` for each wrong setting, with its flag and the remedy. The texts
    /// quote no header, and no URL that may hold a password.
    pub(crate) fn check(given: Given<'_>, mistakes: &mut Vec<String>) -> Option<Self> {
        let Given {
            endpoint,
            headers_file,
            sample_ratio,
        } = given;
        let before = mistakes.len();
        let ratio = sample_ratio.trim().parse().unwrap_or(f64::NAN);
        if !(0.0..=1.0).contains(&ratio) {
            mistakes.push(format!(
                "--otlp-sample-ratio {sample_ratio:?}: a number from 0 to 1 is needed"
            ));
        }
        let endpoint = endpoint.trim();
        if endpoint.is_empty() {
            return None;
        }
        let url = url(endpoint).map_err(|mistake| mistakes.push(mistake)).ok();
        let file = headers_file.filter(|file| !file.as_os_str().is_empty());
        let headers = match file.map(headers::read) {
            None => Vec::new(),
            Some(Ok(headers)) => headers,
            Some(Err(reason)) => {
                mistakes.push(format!("--otlp-headers-file: {reason}"));
                Vec::new()
            }
        };
        (mistakes.len() == before).then_some(Self {
            url: url?,
            headers,
            ratio,
        })
    }
}

/// Returns the URL to which spans are sent. The text for the operator quotes no URL, because a URL
/// may hold a password.
fn url(endpoint: &str) -> Result<String, String> {
    let wrong = |what: &str| {
        Err(format!(
            "--otlp-endpoint: {what}; give http://HOST:PORT of an OpenTelemetry Collector, usually \
             with port 4318"
        ))
    };
    let Ok(url) = reqwest::Url::parse(endpoint) else {
        return wrong("this is not a URL");
    };
    if url.scheme() != "http" {
        return wrong("the scheme must be http (a Collector beside the service can use TLS)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("a user or a password is not allowed here (see --otlp-headers-file)");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("a query or a fragment is not allowed");
    }
    let base = url.as_str().trim_end_matches('/');
    Ok(match base.ends_with(PATH) {
        true => base.to_owned(),
        false => format!("{base}{PATH}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str, ratio: &str) -> Result<Option<Settings>, Vec<String>> {
        let given = Given {
            endpoint,
            headers_file: None,
            sample_ratio: ratio,
        };
        let mut mistakes = Vec::new();
        let settings = Settings::check(given, &mut mistakes);
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(mistakes)
        }
    }

    #[test]
    fn spans_go_to_the_path_of_otlp_below_the_endpoint() {
        for (endpoint, expected) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://c/otlp", "http://c/otlp/v1/traces"),
            ("http://c:1/v1/traces", "http://c:1/v1/traces"),
        ] {
            let settings = check(endpoint, "1").unwrap().expect("on");
            assert_eq!(settings.url, expected);
        }
        assert!(check("", "1").unwrap().is_none());
        assert!(check("  ", "0.5").unwrap().is_none());
    }

    #[test]
    fn a_mistake_quotes_no_password() {
        for endpoint in [
            "http://user:hunter2@c:4318",
            "https://hunter2.example",
            "http://c:4318/?key=hunter2",
            "hunter2",
            "grpc://hunter2",
        ] {
            let mistakes = check(endpoint, "1").expect_err("wrong").join("\n");
            assert!(mistakes.contains("--otlp-endpoint"), "{mistakes}");
            assert!(!mistakes.contains("hunter2"), "{mistakes}");
        }
        for ratio in ["", "2", "-1", "NaN", "much"] {
            let mistakes = check("", ratio).expect_err("wrong").join("\n");
            assert!(mistakes.contains("--otlp-sample-ratio"), "{mistakes}");
        }
    }
}
