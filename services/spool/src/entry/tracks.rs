//! The files of an entry: opened when first needed, shared by its writer and all its readers.

use std::{
    fs::File,
    io,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
};

use tokio::sync::watch;

use super::Entry;
use crate::{
    appender::{Appender, Cap},
    events::EventsState,
    files::Store,
    marks::{Mark, MarkSlots, Marks, Which},
    patches::{Floor, PatchLog},
    track::{Shape, Track},
    writer::{EventsKept, EventsSide},
};

pub(super) struct Tracks {
    pub(super) output: Arc<Track>,
    pub(super) events: watch::Sender<EventsState>,
}

impl Entry {
    pub(super) fn events_side(
        &self,
        tracks: &Tracks,
        kept: EventsKept,
        output_len: u64,
    ) -> io::Result<EventsSide> {
        let (mut slots, mark) = MarkSlots::load(Arc::clone(&self.inner.record), Which::Events)?;
        if EventsKept::from_kind(mark.kind).is_some_and(|before| before != kept) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the events are kept in another way",
            ));
        }
        let cap = self.inner.spool.limits.events_bytes;
        if EventsKept::from_kind(mark.kind).is_none() {
            let mark = Mark {
                kind: kept.kind(),
                ..mark
            };
            slots.write(mark)?;
            let state = self.open_events(kept, &mut slots, mark, output_len, false)?;
            tracks.events.send_replace(state);
        }
        let state = tracks.events.borrow().clone();
        match state {
            EventsState::Raw(track) => Ok(EventsSide::Raw(Appender::new(
                track,
                slots,
                Shape::Bytes,
                Cap {
                    bytes: cap,
                    lines: 0,
                },
                kept.kind(),
            ))),
            EventsState::InOutput(log) => Ok(EventsSide::InOutput { log, slots, cap }),
            EventsState::Unknown => Err(io::Error::other("the events have no kind")),
        }
    }

    pub(super) fn open_events(
        &self,
        kept: EventsKept,
        slots: &mut MarkSlots,
        mark: Mark,
        output_len: u64,
        ended: bool,
    ) -> io::Result<EventsState> {
        let store = self.open_store("events")?;
        Ok(match kept {
            EventsKept::Raw => {
                let track = Track::load(store, slots, mark, Shape::Bytes, ended)?;
                EventsState::Raw(Arc::new(track))
            }
            EventsKept::InOutput => {
                let floor = Floor {
                    output: mark.kept_from,
                    // Earlier versions wrote no length here.
                    events: if mark.len == 0 {
                        mark.kept_from
                    } else {
                        mark.len
                    },
                };
                let log = PatchLog::load(store, floor, output_len, ended)?;
                EventsState::InOutput(Arc::new(log))
            }
        })
    }

    pub(super) fn tracks(&self) -> io::Result<Arc<Tracks>> {
        let mut guard = self.lock_tracks();
        self.load(&mut guard)
    }

    pub(super) fn load(&self, tracks: &mut Option<Arc<Tracks>>) -> io::Result<Arc<Tracks>> {
        if let Some(loaded) = tracks {
            return Ok(Arc::clone(loaded));
        }
        self.here()?;
        let terminal = self.is_terminal();
        let (mut slots, mark) = MarkSlots::load(Arc::clone(&self.inner.record), Which::Output)?;
        let store = self.open_store("output")?;
        let output = Track::load(store, &mut slots, mark, Shape::Text, terminal)?;
        let marks = output.now();
        let (mut slots, mark) = MarkSlots::load(Arc::clone(&self.inner.record), Which::Events)?;
        let events = match EventsKept::from_kind(mark.kind) {
            Some(kept) => self.open_events(kept, &mut slots, mark, marks.len, marks.ended)?,
            None => EventsState::Unknown,
        };
        let loaded = Arc::new(Tracks {
            output: Arc::new(output),
            events: watch::Sender::new(events),
        });
        *tracks = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// A terminal status without a writer is the end of the output: queued ones that were cancelled, interrupted ones.
    pub(super) fn end_readers(&self) {
        let guard = self.lock_tracks();
        if self.inner.writing.load(Ordering::SeqCst) {
            return;
        }
        let Some(tracks) = &*guard else { return };
        let end = |marks: &mut Marks| {
            marks.ended = true;
            marks.aborted = false;
        };
        if let EventsState::Raw(track) = &*tracks.events.borrow() {
            track.marks.send_modify(end);
        }
        tracks.output.marks.send_modify(end);
    }

    pub(super) fn open_store(&self, name: &str) -> io::Result<Box<dyn Store>> {
        Ok(Box::new(
            File::options()
                .read(true)
                .write(true)
                .open(self.inner.folder.join(name))?,
        ))
    }

    pub(super) fn lock_tracks(&self) -> MutexGuard<'_, Option<Arc<Tracks>>> {
        self.inner
            .tracks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
