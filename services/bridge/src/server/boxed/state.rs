//! Two facts about claude-api: whether it is boxed, and whether it takes this bridge for a part of
//! its container. Boxed means that the model's commands run in claude-api's own container.
//! claude-api itself answers both questions.

use std::time::{Duration, Instant};

use protocol::ProblemType;
use tokio::sync::Mutex;

use crate::upstream::Upstream;

/// How long claude-api's answers are used (1 s). Then they are requested again, because claude-api
/// may have restarted with another setting.
const FRESH: Duration = Duration::from_secs(1);
/// How long claude-api's answer whether it refuses this bridge is used, if claude-api has tokens
/// (60 s). Its audit log has a line for each such question, because the question has no token.
const FRESH_WITH_TOKENS: Duration = Duration::from_secs(60);

/// A cache of two answers of claude-api: whether it is boxed, and whether it refuses this bridge.
#[derive(Debug)]
pub(super) struct BoxedState {
    upstream: Upstream,
    /// The last answer to each question. The lock is held during the call to claude-api, so that
    /// all waiting requests share one call.
    last: Mutex<Answers>,
}

/// The last answers of claude-api, each with the time of its request. `None` before the first one.
#[derive(Debug, Default)]
struct Answers {
    /// Whether claude-api is boxed, and whether it has tokens.
    limits: Option<(Instant, bool, bool)>,
    /// Whether claude-api refuses this bridge, because the bridge's address is one of claude-api's
    /// container.
    refused: Option<(Instant, bool)>,
}

impl BoxedState {
    /// Creates the cache without an answer. The first question asks claude-api through `upstream`.
    pub(super) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            last: Mutex::default(),
        }
    }

    /// Returns true if the model's commands run in claude-api's own container. Asks claude-api if
    /// its last answer is more than 1 s old. If it does not answer, returns its last answer, or
    /// `None` if it has never answered.
    pub(super) async fn is_boxed(&self) -> Option<bool> {
        let mut last = self.last.lock().await;
        self.refresh_limits(&mut last).await;
        last.limits.map(|(_, boxed, _)| boxed)
    }

    async fn refresh_limits(&self, last: &mut Answers) {
        if last.limits.is_some_and(|(at, ..)| at.elapsed() <= FRESH) {
            return;
        }
        let requested_at = Instant::now();
        match self.upstream.limits().await {
            Ok(limits) => last.limits = Some((requested_at, limits.boxed, limits.tokens)),
            // A boxed claude-api refuses its own container before it looks at the host name.
            Err(failure) if failure.problem(ProblemType::ForeignHost).is_some() => {
                if let Ok(true) = self.upstream.is_refused_as_box().await {
                    last.limits = Some((requested_at, true, false));
                }
            }
            Err(_) => {}
        }
    }

    /// Returns true if claude-api refuses this bridge as a part of its own container. The answer is
    /// at most 1 s old, or 60 s if claude-api has tokens. If claude-api does not answer, it is the
    /// last one.
    pub(super) async fn is_refused(&self) -> bool {
        let mut last = self.last.lock().await;
        self.refresh_limits(&mut last).await;
        let has_tokens = last.limits.is_some_and(|(_, _, tokens)| tokens);
        let fresh = if has_tokens { FRESH_WITH_TOKENS } else { FRESH };
        if last.refused.is_none_or(|(at, _)| at.elapsed() > fresh) {
            let requested_at = Instant::now();
            if let Ok(refused) = self.upstream.is_refused_as_box().await {
                last.refused = Some((requested_at, refused));
            }
        }
        last.refused.is_some_and(|(_, refused)| refused)
    }
}
