//! Keeps track of the tools that run now, including those that sub-agents use. A tool runs from the
//! model's call (`tool_use`) until its result arrives.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Block, ToolTimes, short};
use crate::facts::RunningTool;
use crate::wtf8::Raw;

/// The most tools that are tracked at the same time, which bounds the memory. Further ones are not
/// tracked. No run has so many.
const MOST_TOOLS: usize = 4096;

/// The most characters that are kept of a tool's name.
const NAME_CHARS: usize = 128;

/// The tools that run now, and whether the set has changed since it was last reported.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// The running tools by the id of their tool call.
    running: BTreeMap<String, Running>,
    /// Whether a tool was added or removed since the last report.
    changed: bool,
}

/// A tool that runs now.
#[derive(Debug)]
struct Running {
    name: String,
    /// The time limit that the model has requested, in milliseconds; `None` if it requested none.
    timeout_ms: Option<u64>,
    /// The id of the tool call that started the sub-agent in which this tool runs; `None` in the
    /// main conversation.
    parent: Option<String>,
}

impl Tools {
    /// Adds the tool calls among `blocks`, which are the content of an `assistant` event. `parent`
    /// is the tool call that started the sub-agent which sent the event; `None` for the main
    /// conversation. `line` is the whole event, from which the time limits are read.
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

    /// Removes the tools whose results are among `blocks`, which are the content of a `user` event.
    /// If such a tool was a sub-agent, also removes the tools that ran in it.
    pub(crate) fn ended(&mut self, blocks: &[Block<'_>]) {
        for id in blocks
            .iter()
            .filter(|block| block.is("tool_result"))
            .filter_map(|block| block.tool_use_id.as_ref())
        {
            let id = short(&id.text());
            self.retain(|other, tool| *other != id && tool.parent.as_ref() != Some(&id));
        }
    }

    /// Keeps only the tools for which `predicate` returns true.
    fn retain(&mut self, predicate: impl Fn(&String, &Running) -> bool) {
        let previous = self.running.len();
        self.running.retain(|id, tool| predicate(id, tool));
        self.changed |= self.running.len() < previous;
    }

    /// Removes the tools of the main conversation. Called at a `result` event and at a new request
    /// to the model: none of these tools runs then, even if a result is missing because its message
    /// broke. Tools of background agents continue, because the agent's own tool call got its result
    /// at its start.
    pub(crate) fn end_main_tools(&mut self) {
        let is_main = |tool: &Running| tool.parent.is_none();
        let main = self.running.iter().filter(|(_, tool)| is_main(tool));
        let ended: BTreeSet<String> = main.map(|(id, _)| id.clone()).collect();
        if !ended.is_empty() {
            self.retain(|_, tool| tool.parent.as_ref().is_some_and(|id| !ended.contains(id)));
        }
    }

    /// Returns all running tools if the set has changed since the last call, otherwise `None`.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<RunningTool>> {
        let tool = |(id, running): (&String, &Running)| RunningTool {
            id: id.clone(),
            name: running.name.clone(),
            timeout_ms: running.timeout_ms,
        };
        std::mem::take(&mut self.changed).then(|| self.running.iter().map(tool).collect())
    }
}

/// Returns the time limit that the tool call `id` requests, in milliseconds. Returns `None` if it
/// requests none, or less than 1 ms.
fn timeout_ms(times: &ToolTimes<'_>, id: &Raw<'_>) -> Option<u64> {
    let is_same = |other: &Raw<'_>| other.bytes() == id.bytes();
    let mut blocks = times.message.content.iter();
    let block = blocks.find(|block| block.id.as_ref().is_some_and(is_same))?;
    let timeout = block.input.as_ref()?.timeout.filter(|ms| *ms >= 1.0)?;
    // The cast saturates.
    Some(timeout as u64)
}
