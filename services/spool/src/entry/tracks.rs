//! The open output and events of an entry, shared by its writer and all its readers.

use std::{fs::File, io, path::Path, sync::Arc};

use tokio::sync::watch;

use crate::{
    events::{EventsState, EventsStorage},
    files::SparseFile,
    folder::{EVENTS, OUTPUT},
    marks::{Mark, MarkSlots, Marks, TrackKind},
    track::{Encoding, Track},
};

/// The open output and events of an entry, with the extents that readers follow. One writer and all
/// readers share them.
pub(crate) struct Tracks {
    pub(crate) output: Arc<Track>,
    pub(crate) events: watch::Sender<EventsState>,
}

impl Tracks {
    /// Opens the output and events in `folder`, and recovers their lengths after a crash from the
    /// marks in `record`. `terminal` means that no more bytes will be appended.
    pub(crate) fn load(folder: &Path, record: &Arc<File>, terminal: bool) -> io::Result<Self> {
        let (mut slots, mark) = MarkSlots::load(Arc::clone(record), TrackKind::Output)?;
        let file = open(folder, OUTPUT)?;
        let output = Track::load(file, &mut slots, mark, Encoding::Utf8, terminal)?;
        let marks = output.current_marks();
        let (mut slots, mark) = MarkSlots::load(Arc::clone(record), TrackKind::Events)?;
        let events = match EventsStorage::from_kind(mark.kind) {
            Some(kept) => {
                let file = open(folder, EVENTS)?;
                EventsState::load(file, kept, &mut slots, mark, marks.len, marks.ended)?
            }
            None => EventsState::Unknown,
        };
        Ok(Self {
            output: Arc::new(output),
            events: watch::Sender::new(events),
        })
    }

    /// Opens the events of an entry whose first writer has just chosen how to keep them (`kept`),
    /// and publishes them to waiting readers. `mark` is the newest checkpoint in `slots`.
    pub(crate) fn begin_events(
        &self,
        folder: &Path,
        kept: EventsStorage,
        slots: &mut MarkSlots,
        mark: Mark,
        output_len: u64,
    ) -> io::Result<()> {
        let file = open(folder, EVENTS)?;
        let state = EventsState::load(file, kept, slots, mark, output_len, false)?;
        self.events.send_replace(state);
        Ok(())
    }

    /// Publishes the clean end of output and events: readers return None after the last byte.
    pub(super) fn end(&self) {
        let end = |marks: &mut Marks| {
            marks.ended = true;
            marks.aborted = false;
        };
        if let EventsState::Raw(track) = &*self.events.borrow() {
            track.marks.send_modify(end);
        }
        self.output.marks.send_modify(end);
    }
}

fn open(folder: &Path, name: &str) -> io::Result<Box<dyn SparseFile>> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(folder.join(name))?;
    Ok(Box::new(file))
}
