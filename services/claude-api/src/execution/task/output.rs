//! The way of stdout: rendered, appended, published.

use protocol::Format;
use renderer::{EventsOutput, Fact, Rendered, Renderer};
use spool::{Appended, EventsKept, Patch, Writer};

/// Turns what the CLI writes into output and facts. Readers see bytes only after `append` returned.
pub(super) struct Output {
    renderer: Renderer,
    rendered: Rendered,
    events: Option<EventsOutput>,
    bytes: Vec<u8>,
    patches: Vec<renderer::Patch>,
    writer: Writer,
    lost: Appended,
}

impl Output {
    /// # Errors
    /// The spool cannot be written.
    pub(super) fn new(entry: &spool::Entry, format: Format) -> std::io::Result<Self> {
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
            lost: Appended::default(),
        })
    }

    /// Takes a chunk of stdout and gives the facts that it held.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<Fact> {
        self.writer.append_events(chunk);
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
            let patches: Vec<_> = self.patches.drain(..).map(patch).collect();
            self.writer.append_patches(&patches);
            self.writer.append(&self.bytes)
        } else if self.rendered.text.is_empty() {
            Appended::default()
        } else {
            self.writer.append(self.rendered.text.as_bytes())
        };
        self.bytes.clear();
        self.rendered.text.clear();
        self.lost.freed += appended.freed;
        self.lost.lost += appended.lost;
        self.lost.disk_full |= appended.disk_full;
        std::mem::take(&mut self.rendered.facts)
    }

    /// Whether the disk was full since the last call, and how much could not be written so far.
    pub(super) fn take_disk_full(&mut self) -> Option<u64> {
        std::mem::take(&mut self.lost.disk_full).then_some(self.lost.lost)
    }

    /// Publishes the end of the output and tells its marks.
    pub(super) fn finish(self) -> spool::Marks {
        let before = self.writer.marks();
        self.writer.finish();
        before
    }
}

fn patch(patch: renderer::Patch) -> Patch {
    let renderer::Patch {
        offset,
        len,
        original,
    } = patch;
    Patch {
        offset,
        len,
        original,
    }
}
