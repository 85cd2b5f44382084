//! The output of a running execution. It is rendered from the CLI's stdout, appended to files in
//! the spool, and then visible to readers.

use protocol::{Format, Patch};
use renderer::{EventsOutput, Fact, Rendered, Renderer};
use spool::{Appended, EventsStorage, Writer};

use crate::execution::lost::Lost;
use crate::metrics::OutputCounters;

/// The capacity in bytes to which the buffers of rendered output are shrunk after each chunk. A
/// long line may have grown them much further, and the execution may hold them for hours.
const KEPT_CAPACITY_BYTES: usize = 256 << 10;

/// Writes the output of one execution: renders the CLI's stdout, appends the result to the spool,
/// and counts the bytes that a full disk could not store. Readers see bytes only after they are
/// written.
pub(super) struct Output {
    /// Turns the CLI's stream of JSON events into text and facts.
    renderer: Renderer,
    /// The text and the facts of the current chunk.
    rendered: Rendered,
    /// The renderer for `"format": "events"`, whose output is the CLI's own event lines. `None` for
    /// the format `text`.
    events: Option<EventsOutput>,
    /// The event lines of the current chunk, in the format `events`.
    bytes: Vec<u8>,
    /// The differences between the event lines in the output and the CLI's stdout, from which
    /// `/events` restores the latter.
    patches: Vec<Patch>,
    /// The writer of the execution's files in the spool.
    writer: Writer,
    /// Whether the disk was full since the last call of [`Self::take_disk_full`].
    disk_full: bool,
    /// The bytes that could not be written so far.
    lost: Lost,
    /// Whether there was any output.
    has_begun: bool,
    /// The counters of produced and lost bytes in `/metrics`.
    counters: OutputCounters,
}

impl Output {
    /// Opens the files of an execution in the spool, to write its output in this format. `counters`
    /// are the counters of `/metrics` that are increased.
    ///
    /// # Errors
    /// The files cannot be opened or written.
    pub(super) fn new(
        entry: &spool::Entry,
        format: Format,
        counters: OutputCounters,
    ) -> std::io::Result<Self> {
        let kept = match format {
            Format::Text => EventsStorage::Raw,
            Format::Events => EventsStorage::InOutput,
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

    /// Renders a chunk of the CLI's stdout and appends the result to the spool. Returns the facts
    /// that the chunk reports, such as a retry or a result. Bytes that do not fit on the disk are
    /// counted as lost. Blocks on the disk.
    ///
    /// Calls `announce` with the facts before any reader can see the chunk. So the answer of a
    /// reader to a request in it never arrives too early.
    pub(super) fn push(&mut self, chunk: &[u8], announce: impl FnOnce(&[Fact])) -> Vec<Fact> {
        self.renderer.push(chunk, &mut self.rendered);
        announce(&self.rendered.facts);
        let kept = self.writer.append_events(chunk);
        self.note_events(kept);
        if let Some(events) = &mut self.events {
            events.push(chunk, &mut self.bytes, &mut self.patches);
        }
        self.flush()
    }

    /// Renders and appends the rest at the end of stdout, such as a last line without a newline.
    /// Returns the facts in it. Blocks on the disk.
    pub(super) fn end(&mut self) -> Vec<Fact> {
        self.renderer.finish(&mut self.rendered);
        if let Some(events) = &mut self.events {
            events.finish(&mut self.bytes, &mut self.patches);
        }
        self.flush()
    }

    /// Appends the rendered output to the spool, counts produced and lost bytes, and returns the
    /// facts.
    fn flush(&mut self) -> Vec<Fact> {
        let appended = if self.events.is_some() {
            // Patches first: a reader of `/events` must never see output whose patch is not there
            // yet.
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

    /// Counts the bytes of events that a full disk could not store.
    fn note_events(&mut self, appended: Appended) {
        // Events beyond their limit are lost, too, but that does not mean a full disk.
        if appended.disk_full {
            self.lost.events += appended.lost;
            self.counters.dropped_events.inc_by(appended.lost);
            self.disk_full = true;
        }
    }

    /// Returns whether there was any output so far.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Returns the total of lost bytes if the disk was full since the last call of this function,
    /// otherwise `None`.
    pub(super) fn take_disk_full(&mut self) -> Option<Lost> {
        std::mem::take(&mut self.disk_full).then_some(self.lost)
    }

    /// Tells readers that the output has ended. Returns its final marks: the length, the oldest
    /// byte that is kept, and the CRC-32.
    pub(super) fn finish(self) -> spool::Marks {
        let marks = self.writer.marks();
        self.writer.finish();
        marks
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spool::{Spool, SpoolLimits};
    use uuid::Uuid;

    use super::*;

    /// Opens an output whose text can be written, but whose events cannot.
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
        let entry = spool
            .create(id, b"body", [1; 32], b"{}", spool::Owner::NONE)
            .unwrap();
        let events = dir.join("executions").join(id.to_string()).join("events");
        std::fs::remove_file(&events).unwrap();
        // full(4): every write fails with ENOSPC.
        std::os::unix::fs::symlink("/dev/full", &events).unwrap();
        Output::new(&entry, Format::Text, OutputCounters::default()).unwrap()
    }

    #[test]
    fn a_long_line_leaves_no_large_buffer() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = without_events(dir.path());
        let text = "x\\n".repeat(1 << 20);
        let block = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
        let line = format!("{{\"type\":\"assistant\",\"message\":{block}}}\n");
        for chunk in line.as_bytes().chunks(64 << 10) {
            output.push(chunk, |_| {});
        }
        assert_eq!(output.writer.marks().len, 2 << 20);
        assert_eq!(output.counters.produced.get(), 2 << 20);
        assert!(output.rendered.text.capacity() <= KEPT_CAPACITY_BYTES);
    }

    #[test]
    fn lost_events_are_reported_even_when_the_text_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = without_events(dir.path());
        assert_eq!(output.take_disk_full(), None);
        output.push(b"not JSON\n", |_| {});
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
        assert_eq!(output.take_disk_full(), None, "it is reported once");
    }
}
