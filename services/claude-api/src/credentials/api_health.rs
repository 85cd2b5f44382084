//! The health of the credential: whether the API of the model accepts it. A plain value.
//!
//! A command of the model can send odd requests with its grant. One such request must not make the
//! whole service count as refused. A refusal is therefore:
//!
//! - a 401 at any endpoint;
//! - a 403 with the error type `authentication_error`;
//! - the second 403 in a row at `/v1/messages`, if the two are of different executions.
//!
//! A success ends the refusal, and so does another credential, which has not been used yet.

use grants::{Answer, Endpoint};
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
    /// The execution of the newest answer at `/v1/messages`, if that was a 403. `None` otherwise.
    forbidden: Option<String>,
}

impl ApiHealth {
    /// Records an answer of the API, which arrived at `now`.
    pub(super) fn answer(&mut self, answer: &Answer, now: Timestamp) {
        let Some(status) = answer.status else {
            return;
        };
        let is_refusal = match status {
            401 => true,
            403 if answer.error_type.as_deref() == Some(AUTHENTICATION_ERROR) => true,
            403 if answer.endpoint == Endpoint::Messages => {
                let before = self.forbidden.take();
                let other = before.is_some_and(|id| Some(&id) != answer.execution_id.as_ref());
                self.forbidden.clone_from(&answer.execution_id);
                other
            }
            _ => false,
        };
        if status != 403 && answer.endpoint == Endpoint::Messages {
            self.forbidden = None;
        }
        if is_refusal {
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
        self.forbidden = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grants::Usage;

    const MESSAGES: Endpoint = Endpoint::Messages;
    const MODELS: Endpoint = Endpoint::Models;

    fn health(answers: &[(&str, Endpoint, u16, Option<&str>)]) -> ApiHealth {
        let mut health = ApiHealth::default();
        for (second, (execution, endpoint, status, error_type)) in answers.iter().enumerate() {
            let answer = Answer {
                execution_id: Some((*execution).to_owned()),
                endpoint: *endpoint,
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
    fn a_refusal_is_a_401_an_authentication_error_or_two_403_of_different_executions() {
        let auth = Some(AUTHENTICATION_ERROR);
        let denied = Some("permission_error");
        for (answers, refused) in [
            (&[("a", MESSAGES, 401, auth)][..], true),
            (&[("a", MODELS, 401, None)], true),
            (&[("a", MODELS, 403, auth)], true),
            (&[("a", MESSAGES, 403, denied)], false),
            (
                &[("a", MESSAGES, 403, denied), ("a", MESSAGES, 403, denied)],
                false,
            ),
            (
                &[("a", MESSAGES, 403, denied), ("b", MESSAGES, 403, denied)],
                true,
            ),
            (
                &[("a", MODELS, 403, denied), ("b", MODELS, 403, denied)],
                false,
            ),
            (
                &[
                    ("a", MESSAGES, 403, denied),
                    ("c", MODELS, 200, None),
                    ("b", MESSAGES, 403, denied),
                ],
                true,
            ),
            (
                &[
                    ("a", MESSAGES, 403, denied),
                    ("c", MESSAGES, 429, None),
                    ("b", MESSAGES, 403, denied),
                ],
                false,
            ),
            (&[("a", MESSAGES, 400, None)], false),
            (
                &[("a", MESSAGES, 401, auth), ("b", MESSAGES, 529, None)],
                true,
            ),
            (
                &[("a", MESSAGES, 401, auth), ("b", MODELS, 200, None)],
                false,
            ),
        ] {
            assert_eq!(health(answers).is_refused, refused, "{answers:?}");
        }
    }

    #[test]
    fn the_times_of_the_last_success_and_refusal_stay_and_a_new_credential_is_not_refused() {
        let mut health = health(&[("a", MESSAGES, 200, None), ("a", MESSAGES, 401, None)]);
        health.credential_changed();
        assert!(!health.is_refused);
        let at = |second| Timestamp::from_second(second).ok();
        assert_eq!(
            (health.last_worked_at, health.last_refused_at),
            (at(0), at(1))
        );
    }
}
