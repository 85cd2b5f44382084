//! Which tool uses have no result yet, in the whole run.

use std::collections::HashMap;

use crate::event::Block;

/// More tools at once than any run has; past it they are not counted, so that memory stays bounded.
const MOST_TOOLS: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// The tool use's id, and the id of the agent's tool use in which it runs.
    running: HashMap<String, Option<String>>,
    told: u32,
}

impl Tools {
    /// An `assistant` event: its tools run from now on.
    pub(crate) fn started(&mut self, blocks: &[Block<'_>], parent: Option<&String>) {
        for id in blocks
            .iter()
            .filter(|block| block.is("tool_use"))
            .filter_map(|block| block.id.as_ref())
        {
            if self.running.len() < MOST_TOOLS {
                self.running.insert(id.text(), parent.cloned());
            }
        }
    }

    /// A `user` event: these have their results, and with an agent's own end all that it had running.
    pub(crate) fn ended(&mut self, blocks: &[Block<'_>]) {
        for id in blocks
            .iter()
            .filter(|block| block.is("tool_result"))
            .filter_map(|block| block.tool_use_id.as_ref())
        {
            let id = id.text();
            self.running.remove(&id);
            self.running
                .retain(|_, parent| parent.as_ref() != Some(&id));
        }
    }

    /// A `result`: the main conversation has no tool that runs. Agents in the background may.
    pub(crate) fn main_ended(&mut self) {
        self.running.retain(|_, parent| parent.is_some());
    }

    /// How many run, if that is news.
    pub(crate) fn news(&mut self) -> Option<u32> {
        let now = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        (std::mem::replace(&mut self.told, now) != now).then_some(now)
    }
}
