//! Tracks what the CLI is doing now (thinking, writing, running a tool), so that only changes are
//! reported.

use crate::facts::{Activity, Fact};

/// The activity of the CLI that was reported last. `None` before the first report and after a
/// result.
#[derive(Debug, Default)]
pub(crate) struct CurrentActivity(Option<Activity>);

impl CurrentActivity {
    /// Reports `activity` as a fact, unless it is the one that was reported last.
    pub(crate) fn set(&mut self, activity: Activity, facts: &mut Vec<Fact>) {
        if self.0.as_ref() != Some(&activity) {
            facts.push(Fact::Activity(activity.clone()));
            self.0 = Some(activity);
        }
    }

    /// Forgets the last activity, because a run has ended. The next activity is then reported even
    /// if it is the same.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Reports the activity that the start of a content block shows. `kind` is the block's `type`.
    /// `name` is called for the name of the tool if the block is a tool call. Blocks of other kinds
    /// report no activity.
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
