//! The health of the credential: whether the API of the model accepts it. A plain value.
//!
//! A command of the model can send odd requests with its grant, and so cause any answer. One such
//! request must not make the whole service count as refused. So the answer to a request of an
//! execution is never a refusal of the credential. `credentials` makes a check of its own at once
//! after such an answer, and its check is a refusal with:
//!
//! - a 401;
//! - a 403 with the error type `authentication_error`.
//!
//! A success of any request ends the refusal, and so does another credential, which has not been
//! used yet.

use grants::Answer;
use jiff::Timestamp;

/// The error type of an answer that refuses the credential itself.
const AUTHENTICATION_ERROR: &str = "authentication_error";

/// The newest facts about the use of the credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ApiHealth {
    /// When the API last answered with a success. `None` before the first one.
    pub(crate) last_worked_at: Option<Timestamp>,
    /// When the API last refused the credential. `None` before the first refusal.
    pub(crate) last_refused_at: Option<Timestamp>,
    /// Whether the API refused the present credential, and has not accepted it since then.
    pub(crate) is_refused: bool,
}

impl ApiHealth {
    /// Records an answer of the API, which arrived at `now`.
    pub(super) fn answer(&mut self, answer: &Answer, now: Timestamp) {
        let Some(status) = answer.status else {
            return;
        };
        let is_check = answer.execution_id.is_none();
        let is_refusal = match status {
            401 => true,
            403 => answer.error_type.as_deref() == Some(AUTHENTICATION_ERROR),
            _ => false,
        };
        if is_refusal && is_check {
            self.last_refused_at = Some(now);
            self.is_refused = true;
        } else if (200..300).contains(&status) {
            self.last_worked_at = Some(now);
            self.is_refused = false;
        }
    }

    /// Forgets a refusal, because the credential has changed.
    pub(super) fn credential_changed(&mut self) {
        self.is_refused = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grants::{Endpoint, Usage};

    /// Returns the health after answers: each with its execution, its status and its error type.
    /// `None` in place of an execution is a check.
    fn health(answers: &[(Option<&str>, u16, Option<&str>)]) -> ApiHealth {
        let mut health = ApiHealth::default();
        for (second, (execution, status, error_type)) in answers.iter().enumerate() {
            let answer = Answer {
                execution_id: execution.map(str::to_owned),
                endpoint: if execution.is_some() {
                    Endpoint::Messages
                } else {
                    Endpoint::Models
                },
                status: Some(*status),
                error_type: error_type.map(str::to_owned),
                complete: true,
                first_byte_ms: None,
                resets_at_ms: None,
                usage: Usage::default(),
                cost_usd: 0.0,
                total_cost_usd: 0.0,
            };
            let now = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
            health.answer(&answer, now);
        }
        health
    }

    #[test]
    fn only_a_check_of_the_service_itself_finds_a_refusal() {
        let auth = Some(AUTHENTICATION_ERROR);
        let denied = Some("permission_error");
        let (a, b) = (Some("a"), Some("b"));
        for (answers, refused) in [
            (&[(a, 401, auth), (b, 401, auth)][..], false),
            (&[(a, 403, auth), (b, 403, auth)], false),
            (&[(a, 403, denied), (b, 403, denied)], false),
            (&[(None, 401, None)], true),
            (&[(None, 403, auth)], true),
            (&[(None, 403, denied)], false),
            (&[(None, 529, None)], false),
            (&[(None, 401, auth), (a, 529, None)], true),
            (&[(None, 401, auth), (None, 529, None)], true),
            (&[(None, 401, auth), (a, 200, None)], false),
            (&[(None, 401, auth), (None, 200, None)], false),
        ] {
            assert_eq!(health(answers).is_refused, refused, "{answers:?}");
        }
    }

    #[test]
    fn the_times_of_the_last_success_and_refusal_stay_and_a_new_credential_is_not_refused() {
        let mut health = health(&[(Some("a"), 200, None), (None, 401, None)]);
        health.credential_changed();
        assert!(!health.is_refused);
        let at = |second| Timestamp::from_second(second).ok();
        assert_eq!(
            (health.last_worked_at, health.last_refused_at),
            (at(0), at(1))
        );
    }
}
