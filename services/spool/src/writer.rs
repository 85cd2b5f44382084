//! The one writer of an execution's output and events.

use std::sync::{Arc, atomic::Ordering};

use protocol::Patch;

use crate::{
    appender::Appender,
    entry::Entry,
    marks::{Mark, MarkSlots, Marks},
    patches::PatchLog,
    track::Appended,
};

/// How the CLI's stdout is kept for `/events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsKept {
    /// In a file of its own: format `text`.
    Raw,
    /// As the output itself and a list of patches: format `events`.
    InOutput,
}

impl EventsKept {
    pub(crate) fn kind(self) -> u8 {
        match self {
            Self::Raw => 1,
            Self::InOutput => 2,
        }
    }

    pub(crate) fn from_kind(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Raw),
            2 => Some(Self::InOutput),
            _ => None,
        }
    }
}

pub(crate) enum EventsSide {
    Raw(Appender),
    InOutput {
        log: Arc<PatchLog>,
        slots: MarkSlots,
        cap: u64,
    },
}

/// Appends what the CLI produces. Nothing here fails: what the disk does not take is counted, and said in [`Appended`].
///
/// Dropped without [`Writer::finish`], it aborts the readers when they have read what there is: a panic never looks
/// like a clean end.
pub struct Writer {
    entry: Entry,
    output: Appender,
    events: EventsSide,
}

impl Writer {
    pub(crate) fn new(entry: Entry, output: Appender, events: EventsSide) -> Self {
        Self {
            entry,
            output,
            events,
        }
    }

    /// Appends output. `text` must be whole characters of UTF-8; readers see all of it once this returns.
    ///
    /// On a full disk the events are freed first, then the oldest output.
    pub fn append(&mut self, text: &[u8]) -> Appended {
        debug_assert!(
            std::str::from_utf8(text).is_ok(),
            "output is appended in whole characters"
        );
        let Self {
            entry: _,
            output,
            events,
        } = self;
        output.append(text, &mut |room| match events {
            EventsSide::Raw(raw) => raw.free_for(room),
            EventsSide::InOutput { .. } => false,
        })
    }

    /// Appends what the CLI wrote, as it wrote it. Nothing to do, and nothing done, where the output holds the events.
    pub fn append_events(&mut self, raw: &[u8]) -> Appended {
        match &mut self.events {
            EventsSide::Raw(appender) => appender.append(raw, &mut |_| false),
            EventsSide::InOutput { .. } => Appended::default(),
        }
    }

    /// Notes where the output will differ from the CLI's bytes. To be called before the output it is about is appended,
    /// in order of offset, each `len` at least 1. Where it cannot be kept, `/events` begins behind it; `lost` counts
    /// the original bytes.
    pub fn append_patches(&mut self, patches: &[Patch]) -> Appended {
        debug_assert!(
            patches.iter().all(|patch| patch.len > 0),
            "a patch stands for output"
        );
        let (EventsSide::InOutput { log, slots, cap }, Some(last)) =
            (&mut self.events, patches.last())
        else {
            return Appended::default();
        };
        let kept = log.append(patches);
        if kept.is_ok() && log.bytes() <= *cap {
            return Appended::default();
        }
        let floor = log.floor_at(last.end());
        let mark = Mark {
            kept_from: floor.output,
            len: floor.events,
            kind: EventsKept::InOutput.kind(),
            ..Mark::default()
        };
        if let Err(error) = slots.mark_then_free(mark, || log.forget(floor)) {
            // Readers must not miss a patch, even if the disk did not take it.
            log.raise_floor(floor);
            let error = std::io::Error::from(error);
            tracing::warn!(%error, "the list of patches could not be emptied");
        }
        let lost = patches
            .iter()
            .map(|patch| patch.original.len() as u64)
            .sum();
        let disk_full = kept
            .err()
            .is_some_and(|error| crate::files::is_full(&error));
        Appended {
            freed: 0,
            lost,
            disk_full,
        }
    }

    /// How far the output goes now.
    pub fn marks(&self) -> Marks {
        self.output.now()
    }

    /// Publishes the end. Nothing is synced: the durable terminal status says what the end was.
    pub fn finish(mut self) {
        if let EventsSide::Raw(raw) = &mut self.events {
            raw.finish();
        }
        self.output.finish();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.output.now().ended {
            if let EventsSide::Raw(raw) = &mut self.events {
                raw.abort();
            }
            self.output.abort();
        }
        self.entry.inner.writing.store(false, Ordering::SeqCst);
        self.entry.note_size();
    }
}
