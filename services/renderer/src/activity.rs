//! What the CLI is doing now (thinking, writing, running a tool), so that only changes are
//! reported.

use crate::facts::{Activity, Fact};

/// The activity that was reported last; None before the first one and after a result.
#[derive(Debug, Default)]
pub(crate) struct CurrentActivity(Option<Activity>);

impl CurrentActivity {
    /// Reports `activity` as a fact if it differs from the last one.
    pub(crate) fn set(&mut self, activity: Activity, facts: &mut Vec<Fact>) {
        if self.0.as_ref() != Some(&activity) {
            facts.push(Fact::Activity(activity.clone()));
            self.0 = Some(activity);
        }
    }

    /// Forgets the activity, so that the next one is reported even if it is the same.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Reports the activity at the start of a content block: `kind` is the block's `type`, and
    /// `name` returns the name of the tool. Blocks of other kinds change nothing.
    pub(crate) fn block(
        &mut self,
        kind: &[u8],
        name: impl FnOnce() -> String,
        facts: &mut Vec<Fact>,
    ) {
        match kind {
            b"text" => self.set(Activity::Writing, facts),
            b"thinking" | b"redacted_thinking" => self.set(Activity::Thinking, facts),
            b"tool_use" | b"server_tool_use" | b"mcp_tool_use" => {
                self.set(Activity::Tool(name()), facts)
            }
            _ => {}
        }
    }
}
