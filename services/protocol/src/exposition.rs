//! The two text formats in which a service can write its metrics at `/metrics`, and the choice
//! between them by the request header `Accept`.
//!
//! - OpenMetrics 1.0.0, which a Prometheus server requests.
//! - The Prometheus text format 0.0.4, for every other client, such as `curl` and
//!   `promtool check metrics`. `promtool` reads no other format.

/// The media type by which a client requests OpenMetrics in the header `Accept`.
const OPEN_METRICS_RANGE: &str = "application/openmetrics-text";
/// The media type by which a client requests the Prometheus text format in the header `Accept`.
const TEXT_RANGE: &str = "text/plain";

/// A text format in which a service can write its metrics at `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.0, which a Prometheus server requests.
    OpenMetrics,
    /// The Prometheus text format 0.0.4, for all other clients.
    Text,
}

impl Exposition {
    /// Chooses the metrics format from all values of the request header `Accept` (RFC 9110, section
    /// 12.5.1).
    ///
    /// Returns OpenMetrics if the client lists its version 1.0.0, or no version, with a weight
    /// (`q`) above 0 that is at least the weight of `text/plain`. Returns the text format
    /// otherwise: without the header, and for `*/*` alone. A weight that is not a number counts as
    /// 0.
    #[must_use]
    pub fn accepted<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.into_iter().flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let (mut weight, mut version) = (1.0_f32, None);
            for (key, value) in parts.filter_map(|part| part.split_once('=')) {
                match key.trim() {
                    "q" => weight = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim()),
                    _ => {}
                }
            }
            if name.eq_ignore_ascii_case(OPEN_METRICS_RANGE)
                && version.is_none_or(|version| version == "1.0.0")
            {
                open_metrics = weight.max(open_metrics);
            } else if name.eq_ignore_ascii_case(TEXT_RANGE) {
                text = weight.max(text);
            }
        }
        if open_metrics > 0.0 && open_metrics >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// Returns the media type with version and charset, for the response header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_format() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prefers_text =
            "text/plain;version=0.0.4;q=0.6, Application/OpenMetrics-Text; version=1.0.0; q=0.5";
        for (accept, expected) in [
            (prometheus_2, Exposition::OpenMetrics),
            ("application/openmetrics-text", Exposition::OpenMetrics),
            (prefers_text, Exposition::Text),
            (
                "application/openmetrics-text;version=0.0.1",
                Exposition::Text,
            ),
            ("application/openmetrics-text;q=0", Exposition::Text),
            ("*/*", Exposition::Text),
            ("", Exposition::Text),
        ] {
            assert_eq!(Exposition::accepted([accept]), expected, "{accept}");
        }
        assert_eq!(Exposition::accepted([]), Exposition::Text);
        let several = ["text/html", "application/openmetrics-text"];
        assert_eq!(Exposition::accepted(several), Exposition::OpenMetrics);
    }
}
