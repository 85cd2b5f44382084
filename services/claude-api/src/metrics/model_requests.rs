//! The metrics of the requests to the model's API, which the service `credentials` forwards and
//! reports. `credentials` serves no metrics itself, because commands of the model can reach it.

use std::time::Duration;

use grants::{Answer, Endpoint};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The endpoints that `credentials` forwards.
const ENDPOINTS: [Endpoint; 3] = [Endpoint::Messages, Endpoint::CountTokens, Endpoint::Models];
/// The labels of statuses. Each status that the API documents has a label of its own; all others of
/// a class share the label of the class. `none` is a request without an answer.
const STATUSES: [&str; 15] = [
    "2xx", "3xx", "400", "401", "402", "403", "404", "413", "429", "4xx", "500", "503", "529",
    "5xx", "none",
];
/// The kinds of tokens.
const KINDS: [&str; 4] = ["input", "output", "cache_read", "cache_creation"];
/// The upper bounds of the histogram buckets for the time until the first byte of an answer, in
/// seconds. An error takes a tenth of a second, an answer seconds, and one with thinking minutes.
const FIRST_BYTE_SECONDS: [f64; 11] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0];

/// The labels `endpoint` and `status` of the counter of requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    status: &'static str,
}

/// The label `kind` of the counter of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The metrics of the requests to the model's API. Clones share the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct ModelRequests {
    requests: Family<RequestLabels, Counter>,
    tokens: Family<KindLabel, Counter>,
    first_byte: Histogram,
    connected: Gauge,
    restarts: Counter,
}

/// Returns the label of a status.
fn status_label(status: Option<u16>) -> &'static str {
    let Some(status) = status else {
        return "none";
    };
    let text = status.to_string();
    let exact = STATUSES.into_iter().find(|label| *label == text);
    exact.unwrap_or(match status {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        // A status outside of 200 to 599 is not a valid answer; it counts as 5xx, too.
        _ => "5xx",
    })
}

/// Returns the label of an endpoint.
fn endpoint_label(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Messages => "messages",
        Endpoint::CountTokens => "count_tokens",
        Endpoint::Models => "models",
    }
}

impl ModelRequests {
    /// Creates the metrics and registers them. Every series has the value 0.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        for endpoint in ENDPOINTS.map(endpoint_label) {
            for status in STATUSES {
                drop(requests.get_or_create(&RequestLabels { endpoint, status }));
            }
        }
        registry.register(
            "model_requests",
            "Requests that credentials forwarded to the API of the model, by endpoint and status",
            requests.clone(),
        );
        let tokens = Family::<KindLabel, Counter>::default();
        for kind in KINDS {
            drop(tokens.get_or_create(&KindLabel { kind }));
        }
        registry.register(
            "model_request_tokens",
            "Tokens of these requests, from the answers of the API",
            tokens.clone(),
        );
        let first_byte = Histogram::new(FIRST_BYTE_SECONDS);
        registry.register_with_unit(
            "model_request_first_byte",
            "Time from one of these requests to the head of its answer",
            Unit::Seconds,
            first_byte.clone(),
        );
        let connected = Gauge::default();
        registry.register(
            "credentials_connected",
            "Whether the service credentials is connected: 1 or 0",
            connected.clone(),
        );
        let restarts = Counter::default();
        registry.register(
            "credentials_restarts",
            "Times that the connection of the service credentials was lost or replaced",
            restarts.clone(),
        );
        Self {
            requests,
            tokens,
            first_byte,
            connected,
            restarts,
        }
    }

    /// Counts an answer of the API, with its tokens and the time until its head.
    pub(crate) fn answer(&self, answer: &Answer) {
        let labels = RequestLabels {
            endpoint: endpoint_label(answer.endpoint),
            status: status_label(answer.status),
        };
        self.requests.get_or_create(&labels).inc();
        let usage = &answer.usage;
        let counts = [
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
        ];
        for (kind, count) in KINDS.into_iter().zip(counts) {
            self.tokens.get_or_create(&KindLabel { kind }).inc_by(count);
        }
        if let Some(ms) = answer.first_byte_ms {
            self.first_byte
                .observe(Duration::from_millis(ms).as_secs_f64());
        }
    }

    /// Sets whether `credentials` is connected.
    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.connected.set(i64::from(is_connected));
    }

    /// Counts a connection that was lost or replaced.
    pub(crate) fn lost_connection(&self) {
        self.restarts.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grants::Usage;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn an_answer_counts_by_endpoint_and_status_with_its_tokens_and_makes_no_new_series() {
        let mut registry = Registry::default();
        let metrics = ModelRequests::register(&mut registry);
        let page = |registry: &Registry| {
            let mut page = String::new();
            encode(&mut page, registry).unwrap();
            page
        };
        let before = page(&registry).lines().count();
        let statuses = [
            Some(200),
            Some(204),
            Some(429),
            Some(418),
            Some(502),
            Some(99),
            None,
        ];
        for status in statuses {
            for endpoint in ENDPOINTS {
                metrics.answer(&Answer {
                    execution_id: None,
                    endpoint,
                    status,
                    error_type: Some("any text".to_owned()),
                    complete: true,
                    first_byte_ms: status.map(|_| 70),
                    resets_at_ms: None,
                    usage: Usage {
                        input_tokens: 1,
                        output_tokens: 2,
                        cache_read_tokens: 3,
                        cache_write_tokens: 4,
                    },
                    cost_usd: 0.0,
                    total_cost_usd: 0.0,
                });
            }
        }
        metrics.set_connected(true);
        metrics.lost_connection();
        let page = page(&registry);
        assert_eq!(page.lines().count(), before);
        for line in [
            r#"model_requests_total{endpoint="messages",status="2xx"} 2"#,
            r#"model_requests_total{endpoint="count_tokens",status="429"} 1"#,
            r#"model_requests_total{endpoint="models",status="4xx"} 1"#,
            r#"model_requests_total{endpoint="models",status="5xx"} 2"#,
            r#"model_requests_total{endpoint="models",status="none"} 1"#,
            r#"model_request_tokens_total{kind="cache_creation"} 84"#,
            r#"model_request_first_byte_seconds_bucket{le="0.05"} 0"#,
            r#"model_request_first_byte_seconds_bucket{le="0.1"} 18"#,
            "credentials_connected 1",
            "credentials_restarts_total 1",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    }
}
