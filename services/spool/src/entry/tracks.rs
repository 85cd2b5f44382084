//! The open output and events files of an execution, shared by its writer and all its readers.

use std::{fs::File, io, path::Path, sync::Arc};

use tokio::sync::watch;

use crate::{
    events::{EventsState, EventsStorage},
    files::SparseFile,
    folder::{EVENTS, OUTPUT},
    marks::{Mark, MarkSlots, Marks, TrackKind},
    track::{Encoding, Track},
};

/// The open output and events files of an execution, with the lengths that readers follow. One
/// writer and all readers share them.
pub(crate) struct Tracks {
    /// The file with the output that clients read.
    pub(crate) output: Arc<Track>,
    /// The open events file, or `Unknown` until the first writer chooses how the events are stored.
    /// A channel, so that readers can wait for the choice.
    pub(crate) events: watch::Sender<EventsState>,
}

impl Tracks {
    /// Opens the output and events files in `folder`. After a crash, recovers their lengths and the
    /// output's checksum from the checkpoints in `record`. `terminal` means that the execution has
    /// ended, so that no more bytes will be appended.
    ///
    /// # Errors
    /// The error of the operating system if a file is missing or cannot be read.
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

    /// Opens the events file of an execution whose first writer has just chosen how to store the
    /// events (`kept`), and publishes it to waiting readers. `mark` is the newest checkpoint in
    /// `slots`.
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

    /// Publishes the end of output and events, so that readers return `None` after the last byte.
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

/// Opens the existing file `name` in `folder` for reading and writing.
fn open(folder: &Path, name: &str) -> io::Result<Box<dyn SparseFile>> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(folder.join(name))?;
    Ok(Box::new(file))
}
