//! One client's view of one execution, joined over all its connections.

use std::{collections::HashSet, sync::Arc, time::Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::execution::Execution;

/// One client's view of one execution: the output that a user has after reconnects. The `Checker`
/// checks the order within a connection.
pub(super) struct View {
    pub(super) execution: Arc<Execution>,
    /// The offset of the next missing byte.
    pub(super) reach: u64,
    /// Whether all output from offset 0 was received, without a gap.
    whole: bool,
    crc32: crc32fast::Hasher,
    /// Whether this connection views the execution, or has requested that.
    pub(super) active: bool,
    pub(super) ended: bool,
    /// `onSlow: "skip"`: the bridge may make gaps too.
    pub(super) skip: bool,
    last_gap: u64,
    /// Whether the next output is the first after an attach from an offset.
    pub(super) resumed: bool,
    /// When the present view of this connection began; `None` before its answer.
    pub(super) attached_at: Option<Instant>,
    /// The same on the clock of claude-api.
    pub(super) began: Timestamp,
    /// The questions that the present view has announced.
    pub(super) announced: HashSet<String>,
    /// Those of them whose end it has told.
    pub(super) closed: HashSet<String>,
}

impl View {
    pub(super) fn new(execution: Arc<Execution>, skip: bool) -> Self {
        Self {
            execution,
            reach: 0,
            whole: true,
            crc32: crc32fast::Hasher::new(),
            active: false,
            ended: false,
            skip,
            last_gap: 0,
            resumed: false,
            attached_at: None,
            began: Timestamp::MIN,
            announced: HashSet::new(),
            closed: HashSet::new(),
        }
    }

    /// Handles the answer to an attach: the output begins at this offset, or a few bytes before it.
    pub(super) fn attached(&mut self, offset: Option<u64>) {
        let offset = offset.unwrap_or(0);
        self.attached_at = Some(Instant::now());
        self.began = Timestamp::now();
        self.announced.clear();
        self.closed.clear();
        self.resumed = offset > 0;
        self.ended = false;
        if offset > self.reach {
            self.reach = offset;
            self.whole = false;
        }
    }

    /// Checks and adds output; returns its length in bytes.
    pub(super) fn output(&mut self, params: &Value) -> Result<u64, String> {
        let offset = params["offset"].as_u64().unwrap_or_default();
        let content = params["content"].as_str().unwrap_or_default().as_bytes();
        self.resumed = false;
        self.execution.content(offset, content)?;
        if offset > self.reach {
            return Err(format!(
                "joined over all connections, bytes {} to {offset} are missing",
                self.reach
            ));
        }
        let fresh = usize::try_from(self.reach - offset).unwrap_or(usize::MAX);
        if let Some(fresh) = content.get(fresh..) {
            self.crc32.update(fresh);
            self.reach += fresh.len() as u64;
        }
        Ok(content.len() as u64)
    }

    /// Handles a gap.
    pub(super) fn gap(&mut self, params: &Value) {
        let to = params["to"].as_u64().unwrap_or_default();
        if to > self.reach {
            self.reach = to;
            self.whole = false;
        }
        if !self.skip {
            self.last_gap = self.last_gap.max(to);
        }
    }

    /// Checks the terminal statusUpdate.
    pub(super) fn end(&mut self, status: &Value) -> Result<(), String> {
        self.ended = true;
        self.active = false;
        if status["reason"] == "lost" {
            return Ok(());
        }
        let length = status["outputBytes"].as_u64().unwrap_or_default();
        if self.reach != length {
            return Err(format!(
                "I2: {} bytes were received or in a gap, but `outputBytes` is {length}",
                self.reach
            ));
        }
        // The deletion of a viewed execution makes a gap up to its end.
        let deleted = self.execution.facts().deleted;
        if !deleted
            && status["keptFrom"]
                .as_u64()
                .is_some_and(|kept| self.last_gap > kept)
        {
            return Err(format!(
                "a gap up to {}, but the output from {} on is kept",
                self.last_gap, status["keptFrom"]
            ));
        }
        let crc32 = format!("{:08x}", self.crc32.clone().finalize());
        if self.whole && status["crc32"] != crc32.as_str() {
            return Err(format!(
                "I3: crc32 {}, but the joined output has {crc32}",
                status["crc32"]
            ));
        }
        Ok(())
    }
}
