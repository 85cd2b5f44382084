//! The way of stdout: rendered, appended, published.

use protocol::{Format, Patch};
use renderer::{EventsOutput, Fact, Rendered, Renderer};
use spool::{Appended, EventsKept, Writer};

use crate::execution::lost::Lost;
use crate::metrics::OutputCounters;

/// The largest buffer kept between two chunks (256 KiB): a long line may have grown it much
/// further.
const KEPT_CAPACITY_BYTES: usize = 256 << 10;

/// Turns what the CLI writes into output and facts. Readers see bytes only after `append` returned.
pub(super) struct Output {
    renderer: Renderer,
    rendered: Rendered,
    events: Option<EventsOutput>,
    bytes: Vec<u8>,
    patches: Vec<Patch>,
    writer: Writer,
    /// Since the last look.
    disk_full: bool,
    lost: Lost,
    /// Whether there was any output.
    has_begun: bool,
    /// The counters of `/metrics`.
    counters: OutputCounters,
}

impl Output {
    /// # Errors
    /// The spool cannot be written.
    pub(super) fn new(
        entry: &spool::Entry,
        format: Format,
        counters: OutputCounters,
    ) -> std::io::Result<Self> {
        let kept = match format {
            Format::Text => EventsKept::Raw,
            Format::Events => EventsKept::InOutput,
        };
        Ok(Self {
            renderer: Renderer::new(format == Format::Text),
            rendered: Rendered::default(),
            events: (format == Format::Events).then(EventsOutput::default),
            bytes: Vec::new(),
            patches: Vec::new(),
            writer: entry.writer(kept)?,
            disk_full: false,
            lost: Lost::default(),
            has_begun: false,
            counters,
        })
    }

    /// Takes a chunk of stdout and gives the facts that it held.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<Fact> {
        let kept = self.writer.append_events(chunk);
        self.note_events(kept);
        self.renderer.push(chunk, &mut self.rendered);
        if let Some(events) = &mut self.events {
            events.push(chunk, &mut self.bytes, &mut self.patches);
        }
        self.flush()
    }

    /// stdout has ended.
    pub(super) fn end(&mut self) -> Vec<Fact> {
        self.renderer.finish(&mut self.rendered);
        if let Some(events) = &mut self.events {
            events.finish(&mut self.bytes, &mut self.patches);
        }
        self.flush()
    }

    fn flush(&mut self) -> Vec<Fact> {
        let appended = if self.events.is_some() {
            // Patches first: a reader of `/events` must never see output whose patch is still to come.
            let kept = self.writer.append_patches(&self.patches);
            self.patches.clear();
            self.note_events(kept);
            self.writer.append(&self.bytes)
        } else if self.rendered.text.is_empty() {
            Appended::default()
        } else {
            self.writer.append(self.rendered.text.as_bytes())
        };
        let produced = match &self.events {
            Some(_) => self.bytes.len(),
            None => self.rendered.text.len(),
        };
        self.counters.produced.inc_by(produced as u64);
        self.has_begun |= produced > 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY_BYTES);
        self.rendered.text.clear();
        self.rendered.text.shrink_to(KEPT_CAPACITY_BYTES);
        if appended.lost > 0 {
            self.lost.output += appended.lost;
            self.counters.dropped_output.inc_by(appended.lost);
        }
        self.disk_full |= appended.disk_full;
        std::mem::take(&mut self.rendered.facts)
    }

    fn note_events(&mut self, appended: Appended) {
        // What is over their cap is lost too, which is no news of the disk.
        if appended.disk_full {
            self.lost.events += appended.lost;
            self.counters.dropped_events.inc_by(appended.lost);
            self.disk_full = true;
        }
    }

    /// Whether there was any output so far.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the disk was full since the last call, and how much could not be written so far.
    pub(super) fn take_disk_full(&mut self) -> Option<Lost> {
        std::mem::take(&mut self.disk_full).then_some(self.lost)
    }

    /// Publishes the end of the output and tells its marks.
    pub(super) fn finish(self) -> spool::Marks {
        let before = self.writer.marks();
        self.writer.finish();
        before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spool::{Spool, SpoolLimits};
    use uuid::Uuid;

    use super::*;

    /// An output of which the disk takes the text, and of its events nothing.
    fn without_events(dir: &std::path::Path) -> Output {
        let limits = SpoolLimits {
            kept_bytes: 1 << 20,
            kept_lines: 0,
            events_bytes: 1 << 20,
            retention: Duration::from_secs(3600),
            retention_bytes: 1 << 40,
        };
        let (spool, _) = Spool::open(dir, limits).unwrap();
        let id = Uuid::from_u128(1);
        let entry = spool.create(id, b"body", [1; 32], b"{}").unwrap();
        let events = dir.join("executions").join(id.to_string()).join("events");
        std::fs::remove_file(&events).unwrap();
        // full(4): every write fails with ENOSPC.
        std::os::unix::fs::symlink("/dev/full", &events).unwrap();
        Output::new(&entry, Format::Text, OutputCounters::default()).unwrap()
    }

    #[test]
    fn a_long_line_leaves_no_long_buffer() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = without_events(dir.path());
        let text = "x\\n".repeat(1 << 20);
        let block = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
        let line = format!("{{\"type\":\"assistant\",\"message\":{block}}}\n");
        for chunk in line.as_bytes().chunks(64 << 10) {
            output.push(chunk);
        }
        assert_eq!(output.writer.marks().len, 2 << 20);
        assert_eq!(output.counters.produced.get(), 2 << 20);
        assert!(output.rendered.text.capacity() <= KEPT_CAPACITY_BYTES);
    }

    #[test]
    fn events_that_found_no_room_are_told_though_all_of_the_text_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = without_events(dir.path());
        assert_eq!(output.take_disk_full(), None);
        output.push(b"not JSON\n");
        let lost = Lost {
            output: 0,
            events: 9,
        };
        assert_eq!(output.take_disk_full(), Some(lost));
        let OutputCounters {
            produced,
            dropped_output,
            dropped_events,
        } = &output.counters;
        let counted = [produced, dropped_output, dropped_events].map(|counter| counter.get());
        assert_eq!(counted, [0, 0, 9]);
        assert_eq!(output.take_disk_full(), None, "it is told once");
    }
}
