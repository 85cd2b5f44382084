//! The finding about the use of the credential of the model.

use serde_json::Value;

use super::report::Report;

/// The name of the finding.
const NAME: &str = "credential";

/// Adds when the credential last worked and was last refused, from the body of `/health/ready`.
/// Adds nothing if the body does not say it, or if an earlier body did.
pub(super) fn add(report: &mut Report, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let facts = &body["credential"];
    if !facts.is_object() || report.checks.iter().any(|check| check.name == NAME) {
        return;
    }
    let text = |member: &str| facts[member].as_str();
    let kind = match text("kind") {
        Some("apiKey") => "an API key",
        Some("oauthToken") => "a token of a subscription",
        Some("authToken") => "a token of a gateway",
        _ => "no key or token, or one of another provider",
    };
    let worked = match text("lastWorkedAt") {
        Some(at) => format!("last worked at {at}"),
        None => "not used since the start".to_owned(),
    };
    let refused = text("lastRefusedAt").map(|at| format!(", last refused at {at}"));
    let refused = refused.unwrap_or_default();
    report.ok(NAME, &format!("{kind}: {worked}{refused}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_is_reported_once_with_its_times() {
        let mut report = Report::default();
        add(&mut report, br#"{"status":"ready"}"#);
        assert!(report.checks.is_empty());
        let body = br#"{"credential":{"kind":"oauthToken","lastWorkedAt":"2026-11-30T08:00:00Z",
            "lastRefusedAt":"2026-11-29T08:00:00Z"}}"#;
        add(&mut report, body);
        add(&mut report, br#"{"credential":{"kind":null}}"#);
        assert_eq!(report.checks.len(), 1);
        let text = report.text(false);
        for part in [
            "a token of a subscription",
            "last worked at 2026-11-30T08:00:00Z",
            "last refused at 2026-11-29T08:00:00Z",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let mut unused = Report::default();
        let body = br#"{"credential":{"kind":"apiKey","lastWorkedAt":null,"lastRefusedAt":null}}"#;
        add(&mut unused, body);
        assert!(unused.text(false).contains("not used since the start"));
    }
}
