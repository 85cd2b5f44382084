//! Which tool uses have no result yet, in the whole run.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Block, ToolTimes, short};
use crate::facts::RunningTool;
use crate::wtf8::Raw;

/// More tools at once than any run has; past it they are not counted, so that memory stays bounded.
const MOST_TOOLS: usize = 4096;

/// A longer name is cut, characters.
const NAME_CHARS: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// By the tool use's id.
    running: BTreeMap<String, Running>,
    changed: bool,
}

#[derive(Debug)]
struct Running {
    name: String,
    timeout_ms: Option<u64>,
    /// The id of the agent's tool use in which it runs.
    parent: Option<String>,
}

impl Tools {
    /// An `assistant` event: its tools run from now on.
    pub(crate) fn started(&mut self, blocks: &[Block<'_>], parent: Option<&String>, line: &[u8]) {
        let uses: Vec<_> = blocks
            .iter()
            .filter(|block| block.is("tool_use"))
            .filter_map(|block| Some((block.id.as_ref()?, block.name.as_ref())))
            .collect();
        if uses.is_empty() {
            return;
        }
        let times: Option<ToolTimes<'_>> = serde_json::from_slice(line).ok();
        for (id, name) in uses {
            if self.running.len() < MOST_TOOLS {
                let name = name.map(Raw::text).unwrap_or_default();
                let running = Running {
                    name: name.chars().take(NAME_CHARS).collect(),
                    timeout_ms: times.as_ref().and_then(|times| timeout_ms(times, id)),
                    parent: parent.cloned(),
                };
                self.changed |= self.running.insert(short(&id.text()), running).is_none();
            }
        }
    }

    /// A `user` event: these have their results, and with an agent's own end all that it had
    /// running.
    pub(crate) fn ended(&mut self, blocks: &[Block<'_>]) {
        for id in blocks
            .iter()
            .filter(|block| block.is("tool_result"))
            .filter_map(|block| block.tool_use_id.as_ref())
        {
            let id = short(&id.text());
            self.keep(|other, tool| *other != id && tool.parent.as_ref() != Some(&id));
        }
    }

    fn keep(&mut self, wanted: impl Fn(&String, &Running) -> bool) {
        let before = self.running.len();
        self.running.retain(|id, tool| wanted(id, tool));
        self.changed |= self.running.len() < before;
    }

    /// A `result`, or the model is asked again: the main conversation has no tool that runs, not
    /// even one whose result never came because its message broke. What agents in the background
    /// run goes on: their own use has its result since their start.
    pub(crate) fn main_ended(&mut self) {
        let is_main = |tool: &Running| tool.parent.is_none();
        let main = self.running.iter().filter(|(_, tool)| is_main(tool));
        let ended: BTreeSet<String> = main.map(|(id, _)| id.clone()).collect();
        if !ended.is_empty() {
            self.keep(|_, tool| tool.parent.as_ref().is_some_and(|id| !ended.contains(id)));
        }
    }

    /// Which run, if that is news.
    pub(crate) fn news(&mut self) -> Option<Vec<RunningTool>> {
        let tool = |(id, running): (&String, &Running)| RunningTool {
            id: id.clone(),
            name: running.name.clone(),
            timeout_ms: running.timeout_ms,
        };
        std::mem::take(&mut self.changed).then(|| self.running.iter().map(tool).collect())
    }
}

/// What the call asks for; nonsense is none.
fn timeout_ms(times: &ToolTimes<'_>, id: &Raw<'_>) -> Option<u64> {
    let same = |other: &Raw<'_>| other.bytes() == id.bytes();
    let mut blocks = times.message.content.iter();
    let block = blocks.find(|block| block.id.as_ref().is_some_and(same))?;
    let timeout = block.input.as_ref()?.timeout.filter(|ms| *ms >= 1.0)?;
    // `as` saturates.
    Some(timeout as u64)
}
