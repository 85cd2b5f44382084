//! What the CLI does now, as told: only changes are.

use crate::facts::{Activity, Fact};

#[derive(Debug, Default)]
pub(crate) struct Current(Option<Activity>);

impl Current {
    pub(crate) fn set(&mut self, activity: Activity, facts: &mut Vec<Fact>) {
        if self.0.as_ref() != Some(&activity) {
            facts.push(Fact::Activity(activity.clone()));
            self.0 = Some(activity);
        }
    }

    /// It does nothing; whatever comes next is news.
    pub(crate) fn over(&mut self) {
        self.0 = None;
    }

    /// A block of this kind begins.
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
