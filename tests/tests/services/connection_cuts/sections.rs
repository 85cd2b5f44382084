//! Output in sections, so that no cut can be too late: a section begins only when all cuts before
//! the previous section have been made.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use cc_tests::harness::eventually;

use super::PATIENCE;

pub(super) const SECTIONS: u64 = 20;
const SECTION_DELTAS: u64 = 615;
const DELTA_BYTES: usize = 4096;
/// 3 MB/s: slow enough that the viewers are at the live end between two cuts.
const DELTAS_PER_SECOND: u64 = 700;
/// Characters of two and of four bytes, so that cuts also fall into characters.
const WORD: &str = "\u{e9}\u{1f600}";
/// The stand-in's text blocks end at this size as JSON, and the blocks of an answer are joined by a
/// blank line.
const BLOCK_BYTES: usize = 1 << 20;

/// Returns the output that the directives of the prompt promise.
pub(super) fn expected() -> String {
    let room = DELTA_BYTES - 14;
    let mut filling = WORD.repeat(room / WORD.len());
    filling.push_str(&"x".repeat(room - filling.len()));
    let (mut all, mut block) = (String::new(), 0);
    for delta in 0..SECTIONS * SECTION_DELTAS {
        if block == 0 && delta > 0 {
            all.push_str("\n\n");
        }
        let number = delta % SECTION_DELTAS + 1;
        all.push_str(&format!("{number:012} {filling}\n"));
        // The newline is two characters in JSON.
        block += DELTA_BYTES + 1;
        if block >= BLOCK_BYTES {
            block = 0;
        }
    }
    all
}

/// Gate that opens the sections of the output.
pub(super) struct Gate {
    folder: PathBuf,
    /// Output byte of the next cut, for each cutter: a viewer, or the hop to claude-api.
    due: Vec<AtomicU64>,
}

impl Gate {
    /// Creates the gate for so many cutters; its files are in `folder`.
    pub(super) fn new(folder: PathBuf, cutters: usize) -> Self {
        Self {
            folder,
            due: (0..cutters).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn file(&self, section: u64) -> PathBuf {
        self.folder.join(format!("section-{section}"))
    }

    /// Returns the prompt for the stand-in.
    pub(super) fn prompt(&self) -> String {
        let section = |number| {
            let file = self.file(number);
            format!(
                "@wait {}\n@volume {SECTION_DELTAS} {DELTA_BYTES} {WORD}\n",
                file.display()
            )
        };
        let sections: String = (0..SECTIONS).map(section).collect();
        format!("@rate {DELTAS_PER_SECOND}\n{sections}")
    }

    /// Notes that the next cut of `cutter` is at this byte.
    pub(super) fn next_cut(&self, cutter: usize, at: u64) {
        self.due[cutter].store(at, Ordering::SeqCst);
    }

    /// Opens each section when no cut is due before the previous section.
    pub(super) async fn open_sections(&self, section_bytes: u64) {
        for number in 0..SECTIONS {
            let bytes = number.saturating_sub(1) * section_bytes;
            eventually("the cuts before a section", PATIENCE, || {
                let due = self.due.iter().map(|at| at.load(Ordering::SeqCst)).min();
                due.filter(|due| *due >= bytes)
            })
            .await;
            std::fs::write(self.file(number), "").expect("a file can be written");
        }
    }
}
