//! Helpers of the renderer's tests.
#![allow(dead_code, reason = "each test file uses some of these")]

use renderer::{Activity, Fact, Outcome, Rendered, Renderer};

/// Reads a capture of the pinned CLI.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn render_chunks<'c>(
    want_text: bool,
    chunks: impl IntoIterator<Item = &'c [u8]>,
) -> Rendered {
    let mut renderer = Renderer::new(want_text);
    let mut out = Rendered::default();
    for chunk in chunks {
        renderer.push(chunk, &mut out);
    }
    renderer.finish(&mut out);
    out
}

pub(crate) fn render(bytes: &[u8]) -> Rendered {
    render_chunks(true, [bytes])
}

pub(crate) fn text_of(name: &str) -> String {
    render(&fixture(name)).text
}

/// Returns the facts without noise, and the number of noise lines: different chunks group noise
/// differently.
pub(crate) fn without_noise(facts: Vec<Fact>) -> (Vec<Fact>, u64) {
    let mut noise = 0;
    let facts = facts.into_iter().filter(|fact| match fact {
        Fact::Noise { lines } => {
            noise += lines;
            false
        }
        _ => true,
    });
    (facts.collect(), noise)
}

pub(crate) fn outcome_of(name: &str) -> Outcome {
    last_outcome(&render(&fixture(name)).facts).unwrap_or_else(|| panic!("{name} has no result"))
}

pub(crate) fn last_outcome(facts: &[Fact]) -> Option<Outcome> {
    facts.iter().rev().find_map(|fact| match fact {
        Fact::Result(outcome) => Some((**outcome).clone()),
        _ => None,
    })
}

pub(crate) fn restarts(facts: &[Fact]) -> usize {
    facts.iter().filter(|fact| **fact == Fact::Restart).count()
}

pub(crate) fn activities(facts: &[Fact]) -> Vec<String> {
    let activity = |fact: &Fact| match fact {
        Fact::Activity(activity) => Some(Activity::to_string(activity)),
        _ => None,
    };
    facts.iter().filter_map(activity).collect()
}

pub(crate) fn tools_running(facts: &[Fact]) -> Vec<usize> {
    let tools = |fact: &Fact| {
        if let Fact::ToolsRunning(tools) = fact {
            Some(tools.len())
        } else {
            None
        }
    };
    facts.iter().filter_map(tools).collect()
}

/// Builds event lines as the CLI writes them.
#[derive(Default)]
pub(crate) struct Script(pub(crate) String);

impl Script {
    pub(crate) fn line(mut self, line: &str) -> Self {
        self.0.push_str(line);
        self.0.push('\n');
        self
    }

    fn event(self, event: &str) -> Self {
        self.line(&format!(
            r#"{{"type":"stream_event","event":{event},"parent_tool_use_id":null}}"#
        ))
    }

    pub(crate) fn start(self, id: &str) -> Self {
        self.event(&format!(
            r#"{{"type":"message_start","message":{{"id":"{id}","content":[]}}}}"#
        ))
    }

    pub(crate) fn block(self, index: usize) -> Self {
        self.event(&format!(
            concat!(
                r#"{{"type":"content_block_start","index":{},"#,
                r#""content_block":{{"type":"text","text":""}}}}"#
            ),
            index
        ))
    }

    /// Adds a delta. `text` is already escaped.
    pub(crate) fn delta(self, index: usize, text: &str) -> Self {
        self.event(&format!(
            concat!(
                r#"{{"type":"content_block_delta","index":{},"#,
                r#""delta":{{"type":"text_delta","text":"{}"}}}}"#
            ),
            index, text
        ))
    }

    pub(crate) fn assistant(self, id: &str, text: &str) -> Self {
        self.line(&format!(
            concat!(
                r#"{{"type":"assistant","message":{{"id":"{}","model":"m","#,
                r#""content":[{{"type":"text","text":"{}"}}]}}}}"#
            ),
            id, text
        ))
    }

    pub(crate) fn block_stop(self, index: usize) -> Self {
        self.event(&format!(
            r#"{{"type":"content_block_stop","index":{index}}}"#
        ))
    }

    /// Ends a complete message.
    pub(crate) fn stop(self) -> Self {
        self.event(r#"{"type":"message_delta","delta":{}}"#)
            .event(r#"{"type":"message_stop"}"#)
    }

    /// Ends a broken message as the CLI does.
    pub(crate) fn broken(self, index: usize) -> Self {
        self.block_stop(index).event(r#"{"type":"message_stop"}"#)
    }

    /// Adds a complete message of one block.
    pub(crate) fn message(self, id: &str, text: &str) -> Self {
        self.start(id)
            .block(0)
            .delta(0, text)
            .assistant(id, text)
            .block_stop(0)
            .stop()
    }

    pub(crate) fn render(&self) -> Rendered {
        render(self.0.as_bytes())
    }
}
