//! The writer of an execution's output and raw events (the exact stdout of the CLI).

use std::{io, sync::Arc};

use protocol::Patch;

use crate::{
    appender::{Appender, Cap},
    entry::{Entry, Inner, Tracks, WriterLease},
    events::{EventsState, EventsStorage},
    files::is_full,
    marks::{Mark, MarkSlots, Marks, TrackKind},
    patches::PatchLog,
    track::{Appended, Encoding},
};

/// The way in which a writer stores the raw events (the exact stdout of the CLI).
enum EventsSide {
    /// Appends the CLI's stdout to a file of its own.
    Raw(Appender),
    /// Appends only patches, which say where the output differs from the CLI's stdout. Readers
    /// rebuild the stdout from the output and the patches.
    InOutput {
        /// The patches, in the events file.
        log: Arc<PatchLog>,
        /// The places for checkpoints of the events in the record file.
        slots: MarkSlots,
        /// The most bytes of patches that are stored.
        cap: u64,
    },
}

/// The only writer of an execution's output and raw events. Its methods never fail, so that a full
/// disk does not end an execution; [`Appended`] reports the bytes that could not be written.
///
/// If the writer is dropped without [`Writer::finish`], its readers get the error `Aborted` after
/// the last byte. So a panic never looks like a complete output.
pub struct Writer {
    /// The right to be the only writer, released when the writer is dropped.
    _lease: WriterLease,
    /// Appends to the output file.
    output: Appender,
    /// Appends to the events file.
    events: EventsSide,
}

impl Entry {
    /// Makes the caller the only writer of this execution's output and raw events. After a crash,
    /// the writer continues after the last byte that readers saw. `kept` says how the raw events
    /// (the exact stdout of the CLI) are stored, and must be the same for all writers of an
    /// execution.
    ///
    /// # Errors
    /// `ResourceBusy` if another writer exists, `InvalidInput` if the execution has ended or `kept`
    /// differs from an earlier writer's, `NotFound` if it was deleted, or the error of the
    /// operating system.
    pub fn writer(&self, kept: EventsStorage) -> io::Result<Writer> {
        let (lease, (output, events)) = self.lease(|inner, tracks| {
            let (slots, _) = MarkSlots::load(Arc::clone(&inner.record), TrackKind::Output)?;
            let limits = inner.limits();
            let cap = Cap {
                bytes: limits.kept_bytes,
                lines: limits.kept_lines,
            };
            let track = Arc::clone(&tracks.output);
            let output = Appender::new(track, slots, Encoding::Utf8, cap, 0);
            let events = EventsSide::open(inner, tracks, kept, output.current_marks().len)?;
            Ok((output, events))
        })?;
        Ok(Writer {
            _lease: lease,
            output,
            events,
        })
    }
}

impl EventsSide {
    /// Opens the events file for writing. The first writer of an execution records on disk how the
    /// events are stored.
    ///
    /// # Errors
    /// `InvalidInput` if an earlier writer recorded another `kept`, or the error of the operating
    /// system.
    fn open(
        inner: &Inner,
        tracks: &Tracks,
        kept: EventsStorage,
        output_len: u64,
    ) -> io::Result<Self> {
        let (mut slots, mark) = MarkSlots::load(Arc::clone(&inner.record), TrackKind::Events)?;
        match EventsStorage::from_kind(mark.kind) {
            Some(stored) if stored != kept => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the events are already kept in another way",
                ));
            }
            Some(_) => {}
            None => {
                let mark = Mark {
                    kind: kept.kind(),
                    ..mark
                };
                slots.write(mark)?;
                tracks.begin_events(&inner.folder, kept, &mut slots, mark, output_len)?;
            }
        }
        let cap = inner.limits().events_bytes;
        let state = tracks.events.borrow().clone();
        match state {
            EventsState::Raw(track) => {
                let kind = kept.kind();
                let cap = Cap {
                    bytes: cap,
                    lines: 0,
                };
                let appender = Appender::new(track, slots, Encoding::Bytes, cap, kind);
                Ok(Self::Raw(appender))
            }
            EventsState::InOutput(log) => Ok(Self::InOutput { log, slots, cap }),
            EventsState::Unknown => Err(io::Error::other("the events have no kind")),
        }
    }
}

impl Writer {
    /// Appends `text` to the output that clients read. `text` must be whole UTF-8 characters.
    /// Readers see all of it once this returns.
    ///
    /// On a full disk, this first frees raw events, then the oldest output. The result says how
    /// many bytes were freed, and how many bytes of `text` could not be written.
    pub fn append(&mut self, text: &[u8]) -> Appended {
        debug_assert!(
            std::str::from_utf8(text).is_ok(),
            "output is appended in whole characters"
        );
        let Self {
            _lease: _,
            output,
            events,
        } = self;
        output.append(text, &mut |room| match events {
            EventsSide::Raw(raw) => raw.free_for(room),
            EventsSide::InOutput { .. } => false,
        })
    }

    /// Appends bytes of the CLI's exact stdout to the raw events, if they have a file of their own.
    /// Does nothing, and returns zeros, if the events are rebuilt from the output. The result says
    /// how many bytes were freed or could not be written.
    pub fn append_events(&mut self, raw: &[u8]) -> Appended {
        match &mut self.events {
            EventsSide::Raw(appender) => appender.append(raw, &mut |_| false),
            EventsSide::InOutput { .. } => Appended::default(),
        }
    }

    /// Records where the output will differ from the CLI's stdout, so that readers of `/events` get
    /// the exact bytes. Call this before appending that output, in order of offset, with each `len`
    /// at least 1.
    ///
    /// If the patches cannot be stored or exceed the size limit, `/events` begins after them, and
    /// `lost` in the result counts their original bytes. Does nothing if the events have a file of
    /// their own.
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
            kind: EventsStorage::InOutput.kind(),
            ..Mark::default()
        };
        if let Err(error) = slots.mark_then_free(mark, || log.forget(floor)) {
            // Readers must not skip a patch, even if it could not be written.
            log.raise_floor(floor);
            let error = io::Error::from(error);
            tracing::warn!(
                %error,
                "could not empty the list of patches to the CLI's stdout; `/events` begins after \
                 them"
            );
        }
        let lost = patches
            .iter()
            .map(|patch| patch.original.len() as u64)
            .sum();
        let disk_full = kept.err().is_some_and(|error| is_full(&error));
        Appended {
            freed: 0,
            lost,
            disk_full,
        }
    }

    /// Returns the present length, oldest stored offset and checksum of the output.
    pub fn marks(&self) -> Marks {
        self.output.current_marks()
    }

    /// Publishes that output and events are complete, so that readers return `None` after the last
    /// byte. Does not wait for the disk; the caller writes the terminal status next, which records
    /// the end durably.
    pub fn finish(mut self) {
        if let EventsSide::Raw(raw) = &mut self.events {
            raw.finish();
        }
        self.output.finish();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.output.current_marks().ended {
            if let EventsSide::Raw(raw) = &mut self.events {
                raw.abort();
            }
            self.output.abort();
        }
    }
}
