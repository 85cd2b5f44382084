//! The checks of the token, which say whether the services accept it and what it may do.

use std::fmt::Write;

use client::Error;
use protocol::Me;
use protocol::rpc::code;
use serde_json::Value;

use super::http::Service;
use super::report::Report;

/// Returns the name of the finding about a failed connection to the bridge. It is `token` if the
/// bridge answers and only the token is missing or wrong.
pub(super) fn check_name(error: &Error) -> &'static str {
    match error {
        Error::Unauthorized { .. } | Error::Forbidden { .. } => "token",
        Error::Rpc(e) if e.code == code::NOT_AUTHORISED => "token",
        _ => "bridge",
    }
}

/// Returns the remedy for a missing or a wrong token.
pub(super) fn remedy(token_sent: bool) -> &'static str {
    if token_sent {
        "ask the operator for a new token, and save it where ccb found this one: the file of \
         --token-file or CCB_TOKEN_FILE, CCB_TOKEN, or ~/.config/cc-bridge/token. The operator \
         makes one with: ccb token new NAME --add FILE, where CLAUDE_API_TOKENS_FILE names FILE"
    } else {
        "give a token: --token-file FILE, CCB_TOKEN_FILE, CCB_TOKEN, or the file \
         ~/.config/cc-bridge/token. The operator makes one with: ccb token new NAME --add FILE, \
         where CLAUDE_API_TOKENS_FILE names FILE"
    }
}

/// Adds a finding about the token, from the limits of a bridge that has accepted the connection.
pub(super) fn of_bridge(report: &mut Report, limits: &Value, token_sent: bool) {
    match (limits["tokens"].as_bool(), token_sent) {
        (Some(true), _) => report.ok("token", "the bridge accepts it"),
        (Some(false), true) => report.ok(
            "token",
            "the service checks no tokens, so the given one has no effect",
        ),
        _ => {}
    }
}

/// Asks claude-api to whom the token belongs, and adds a finding. An older claude-api does not have
/// this request, and gives none.
pub(super) async fn of_claude_api(report: &mut Report, service: Service<'_>) {
    match service.get("/v1/me").await {
        Ok((200, body)) => {
            if let Ok(me) = serde_json::from_slice::<Me>(&body)
                && (me.name.is_some() || me.share.is_some())
            {
                report.ok("token", &describe(&me));
            }
        }
        // If no token was sent, another program at this address may have answered.
        Ok((401, body)) if service.token.is_some() => {
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or("HTTP 401");
            let message = format!("claude-api does not accept it: {detail}");
            report.fail("token", &message, remedy(true));
        }
        _ => {}
    }
}

fn describe(me: &Me) -> String {
    let mut text = match (&me.name, &me.share) {
        (Some(name), _) => format!("it is {name:?}"),
        (None, Some(execution)) => format!("it is a share of the execution {execution}"),
        (None, None) => "it is valid".to_owned(),
    };
    let _ = write!(text, ", role {}", me.role.as_str());
    if let Some(principal) = &me.principal {
        let _ = write!(text, ", principal {principal:?}");
    }
    if let Some(expires) = me.expires {
        let _ = write!(text, ", until {expires}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_owner_of_a_token_is_described() {
        let me: Me = serde_json::from_value(json!({
            "principal": "team-a", "role": "control", "name": "ci",
            "expires": "2027-01-31T00:00:00Z", "share": null,
        }))
        .unwrap();
        let text = describe(&me);
        let expected =
            "it is \"ci\", role control, principal \"team-a\", until 2027-01-31T00:00:00Z";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_missing_and_a_wrong_token_have_different_remedies() {
        assert!(remedy(false).starts_with("give a token"));
        assert!(remedy(true).starts_with("ask the operator for a new token"));
    }

    #[test]
    fn a_token_without_effect_is_mentioned() {
        let mut report = Report::default();
        of_bridge(&mut report, &json!({ "tokens": false }), true);
        of_bridge(&mut report, &json!({ "tokens": true }), true);
        of_bridge(&mut report, &json!({ "tokens": false }), false);
        of_bridge(&mut report, &json!({}), true);
        assert_eq!(report.checks.len(), 2);
        assert!(report.checks[0].message.contains("no effect"));
    }
}
