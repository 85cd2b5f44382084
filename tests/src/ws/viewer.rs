//! The order of the messages that one viewer of one execution receives.
//!
//! ```text
//! answer -> (the answer's state, unless terminal) -> output, gap, statusUpdate ... -> terminal
//! ```
//!
//! A `question` follows a statusUpdate that shows it; `questions` has its rules.

use serde_json::Value;

use super::{questions::Questions, status};

/// The maximum content of one `output`.
const OUTPUT_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The next message is the statusUpdate with this state.
    First(String),
    Open,
    Done,
}

/// The offset at which the next output must begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    At(u64),
    /// At this offset, or at the first byte of the character that contains it.
    Near(u64),
}

/// One viewer of one execution.
#[derive(Clone)]
pub(super) struct Viewer {
    phase: Phase,
    next: Next,
    /// Whether the output has no gap from offset 0, so the digests can be compared.
    whole: bool,
    crc32: crc32fast::Hasher,
    sha256: ring::digest::Context,
    /// 0 queued, 1 running or paused, 2 terminal.
    rank: u8,
    last_status: String,
    created_at: Option<String>,
    questions: Questions,
}

fn rank(state: &str) -> u8 {
    match state {
        "queued" => 0,
        "running" | "paused" => 1,
        _ => 2,
    }
}

impl Viewer {
    /// Begins a view with an answer; `offset` is the requested one.
    pub(super) fn answered(answer: &Value, offset: Option<u64>) -> Self {
        let state = answer["state"].as_str().unwrap_or_default();
        let phase = if status::is_terminal(state) {
            Phase::Open
        } else {
            Phase::First(state.to_uppercase())
        };
        Self::new(phase, rank(state).min(1), offset)
    }

    /// Begins a view without an answer, after an execute without an id.
    pub(super) fn unanswered() -> Self {
        Self::new(Phase::Open, 0, None)
    }

    fn new(phase: Phase, rank: u8, offset: Option<u64>) -> Self {
        Self {
            phase,
            next: offset.map_or(Next::At(0), Next::Near),
            whole: offset.is_none_or(|offset| offset == 0),
            crc32: crc32fast::Hasher::new(),
            sha256: ring::digest::Context::new(&ring::digest::SHA256),
            rank,
            last_status: String::new(),
            created_at: None,
            questions: Questions::default(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    fn open(&self, what: &str) -> Result<(), String> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::First(state) => Err(format!(
                "{what} before the statusUpdate {state} that follows the answer"
            )),
            Phase::Done => Err(format!("{what} after the terminal statusUpdate")),
        }
    }

    fn at(&mut self, from: u64, what: &str) -> Result<(), String> {
        let good = match self.next {
            Next::At(next) => from == next,
            Next::Near(near) => from <= near && near - from <= 3,
        };
        if good {
            Ok(())
        } else {
            Err(format!("{what} at {from} where {:?} was due", self.next))
        }
    }

    pub(super) fn output(&mut self, params: &Value) -> Result<(), String> {
        self.open("output")?;
        if params["type"] != "stdout" {
            return Err(format!("output of type {}", params["type"]));
        }
        let (Some(offset), Some(content)) = (params["offset"].as_u64(), params["content"].as_str())
        else {
            return Err("output without offset or content".into());
        };
        if content.is_empty() || content.len() > OUTPUT_BYTES {
            return Err(format!("output of {} bytes", content.len()));
        }
        self.at(offset, "output")?;
        self.crc32.update(content.as_bytes());
        self.sha256.update(content.as_bytes());
        self.next = Next::At(offset + content.len() as u64);
        Ok(())
    }

    pub(super) fn gap(&mut self, params: &Value) -> Result<(), String> {
        self.open("gap")?;
        let (Some(from), Some(to)) = (params["from"].as_u64(), params["to"].as_u64()) else {
            return Err("gap without from or to".into());
        };
        self.at(from, "gap")?;
        if to <= from {
            return Err(format!("gap from {from} to {to}"));
        }
        self.whole = false;
        self.next = Next::At(to);
        Ok(())
    }

    pub(super) fn notice(&self) -> Result<(), String> {
        self.open("notice")
    }

    pub(super) fn question(&mut self, params: &Value) -> Result<(), String> {
        self.open("question")?;
        self.questions.asked(&params["question"])
    }

    pub(super) fn question_closed(&mut self, params: &Value) -> Result<(), String> {
        self.open("questionClosed")?;
        self.questions.closed(params)
    }

    pub(super) fn status_update(&mut self, params: &Value) -> Result<(), String> {
        status::check(params)?;
        let state = params["state"].as_str().unwrap_or_default();
        let shown = params["status"].as_str().unwrap_or_default();
        if shown != state.to_uppercase() && !(shown == "RESUMED" && state == "running") {
            return Err(format!("status {shown} with state {state}"));
        }
        if !params["elapsedMs"].is_u64() {
            return Err("statusUpdate without elapsedMs".into());
        }
        match &self.phase {
            Phase::First(due) if due != shown => {
                return Err(format!("{shown} where the answer said {due}"));
            }
            Phase::Done => return Err(format!("{shown} after the terminal statusUpdate")),
            _ => {}
        }
        if rank(state) < self.rank {
            return Err(format!("back to {state} from {}", self.last_status));
        }
        if shown == "RUNNING" && self.last_status == "PAUSED" {
            return Err("RUNNING after PAUSED, where RESUMED is due".into());
        }
        if shown == "RESUMED" && self.last_status == "RESUMED" {
            return Err("RESUMED twice".into());
        }
        let created_at = params["createdAt"].as_str().map(str::to_owned);
        if self.created_at.is_some() && self.created_at != created_at {
            return Err("createdAt changed".into());
        }
        self.created_at = created_at;
        self.rank = rank(state);
        shown.clone_into(&mut self.last_status);
        self.phase = Phase::Open;
        self.questions.shown(params);
        if status::is_terminal(state) {
            self.questions.ended()?;
            self.end(params)?;
            self.phase = Phase::Done;
        }
        Ok(())
    }

    fn end(&self, params: &Value) -> Result<(), String> {
        // Only the bridge sends `lost`, and it does not know the whole output.
        if params["reason"] == "lost" {
            return Ok(());
        }
        let length = params["outputBytes"].as_u64().unwrap_or_default();
        let (Next::At(seen) | Next::Near(seen)) = self.next;
        if seen != length {
            return Err(format!(
                "the end says {length} bytes of output, {seen} were seen or announced as a gap"
            ));
        }
        if !self.whole {
            return Ok(());
        }
        let crc32 = format!("{:08x}", self.crc32.clone().finalize());
        if params["crc32"] != crc32.as_str() {
            return Err(format!(
                "crc32 {} of an output with {crc32}",
                params["crc32"]
            ));
        }
        let sha256 = crate::hex(self.sha256.clone().finish().as_ref());
        if !params["sha256"].is_null() && params["sha256"] != sha256.as_str() {
            return Err(format!(
                "sha256 {} of an output with {sha256}",
                params["sha256"]
            ));
        }
        Ok(())
    }
}
