//! The present activity of the CLI. Only changes become facts.

use crate::facts::{Activity, Fact};

/// The last reported activity.
#[derive(Debug, Default)]
pub(crate) struct CurrentActivity(Option<Activity>);

impl CurrentActivity {
    /// Sets the activity, and reports it if it changed.
    pub(crate) fn set(&mut self, activity: Activity, facts: &mut Vec<Fact>) {
        if self.0.as_ref() != Some(&activity) {
            facts.push(Fact::Activity(activity.clone()));
            self.0 = Some(activity);
        }
    }

    /// Forgets the activity, so that the next one is reported as a change.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Sets the activity at the start of a content block.
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
