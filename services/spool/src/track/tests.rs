//! Tests of appending, freeing, a full disk and crashes, against a model and on a disk in memory.

use std::{
    collections::HashSet,
    fs::File,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;

use super::*;

use crate::{
    appender::{Appender, Cap},
    files::BLOCK,
    marks::{MarkSlots, TrackKind},
};

mod lines;

/// Opens a record read-only: marks cannot be written, as after a kill before the write.
pub(crate) fn read_only(path: &std::path::Path) -> File {
    File::open(path).unwrap()
}

/// A disk with `room` blocks, shared by several files.
#[derive(Default)]
struct Disk {
    room: usize,
    used: usize,
}

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    blocks: HashSet<u64>,
}

/// A file on a [`Disk`].
#[derive(Clone)]
struct Fake {
    disk: Arc<Mutex<Disk>>,
    contents: Arc<Mutex<Contents>>,
    punches: bool,
}

impl Fake {
    fn new(disk: &Arc<Mutex<Disk>>, punches: bool) -> Self {
        Self {
            disk: Arc::clone(disk),
            contents: Arc::default(),
            punches,
        }
    }

    fn free_blocks(&self, contents: &mut Contents, free: impl Fn(u64) -> bool) {
        let previous = contents.blocks.len();
        contents.blocks.retain(|block| !free(*block));
        self.disk.lock().unwrap().used -= previous - contents.blocks.len();
    }
}

impl SparseFile for Fake {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut contents = self.contents.lock().unwrap();
        let mut disk = self.disk.lock().unwrap();
        let mut written = 0;
        while written < bytes.len() {
            let offset = at + written as u64;
            if !contents.blocks.contains(&(offset / BLOCK)) {
                if disk.used >= disk.room {
                    break;
                }
                disk.used += 1;
                contents.blocks.insert(offset / BLOCK);
            }
            let n = ((BLOCK - offset % BLOCK) as usize).min(bytes.len() - written);
            let end = offset as usize + n;
            if contents.bytes.len() < end {
                contents.bytes.resize(end, 0);
            }
            contents.bytes[offset as usize..end].copy_from_slice(&bytes[written..written + n]);
            written += n;
        }
        if written == 0 {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(written)
        }
    }

    fn read_at(&self, into: &mut Vec<u8>, at: u64) -> io::Result<usize> {
        let contents = self.contents.lock().unwrap();
        let from = contents.bytes.len().min(at as usize);
        let n = (into.capacity() - into.len()).min(contents.bytes.len() - from);
        into.extend_from_slice(&contents.bytes[from..from + n]);
        Ok(n)
    }

    fn read_cached(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let contents = self.contents.lock().unwrap();
        let from = contents.bytes.len().min(at as usize);
        let n = into.len().min(contents.bytes.len() - from);
        into[..n].copy_from_slice(&contents.bytes[from..from + n]);
        Ok(n)
    }

    fn punch(&self, from: u64, to: u64) -> io::Result<()> {
        if !self.punches {
            return Err(io::ErrorKind::Unsupported.into());
        }
        assert_eq!(
            (from % BLOCK, to % BLOCK),
            (0, 0),
            "whole blocks are cheap to free"
        );
        let mut contents = self.contents.lock().unwrap();
        let end = contents.bytes.len().min(to as usize);
        contents.bytes[from as usize..end].fill(0);
        self.free_blocks(&mut contents, |block| {
            block * BLOCK >= from && (block + 1) * BLOCK <= to
        });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut contents = self.contents.lock().unwrap();
        contents.bytes.resize(len as usize, 0);
        self.free_blocks(&mut contents, |block| block * BLOCK >= len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.lock().unwrap().bytes.len() as u64)
    }
}

/// Creates a record in memory: synced marks would wait for the disk thousands of times.
fn record() -> Arc<File> {
    let file = rustix::fs::memfd_create("record", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(file);
    file.set_len(4096).unwrap();
    Arc::new(file)
}

fn appender(
    file: &Fake,
    record: &Arc<File>,
    kind: TrackKind,
    encoding: Encoding,
    bytes: u64,
) -> (Arc<Track>, Appender) {
    capped(file, record, kind, encoding, Cap { bytes, lines: 0 })
}

fn capped(
    file: &Fake,
    record: &Arc<File>,
    kind: TrackKind,
    encoding: Encoding,
    cap: Cap,
) -> (Arc<Track>, Appender) {
    let (mut slots, mark) = MarkSlots::load(Arc::clone(record), kind).unwrap();
    let track = Track::load(Box::new(file.clone()), &mut slots, mark, encoding, false);
    let track = Arc::new(track.unwrap());
    (
        Arc::clone(&track),
        Appender::new(track, slots, encoding, cap, 0),
    )
}

#[derive(Debug, Clone)]
enum Op {
    Append(String),
    Events(usize),
    Room(usize),
    /// A kill during a write of the text, after this many bytes.
    Kill(String, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let text = prop_oneof![
        proptest::collection::vec(any::<char>(), 1..20).prop_map(String::from_iter),
        (
            1_usize..6000,
            prop_oneof![Just('a'), Just('ü'), Just('字'), Just('😀')]
        )
            .prop_map(|(n, character)| std::iter::repeat_n(character, n).collect()),
    ];
    prop_oneof![
        6 => text.clone().prop_map(Op::Append),
        3 => (1_usize..9000).prop_map(Op::Events),
        1 => (0_usize..30).prop_map(Op::Room),
        1 => (text, 0_usize..9000).prop_map(|(text, cut)| Op::Kill(text, cut)),
    ]
}

fn check(track: &Track, all: &[u8], cap: u64) {
    let Marks {
        len,
        kept_from,
        crc32,
        ..
    } = track.current_marks();
    assert_eq!(len, all.len() as u64);
    assert_eq!(
        crc32,
        crc32fast::hash(all),
        "the crc covers all bytes, kept or not"
    );
    assert!(
        kept_from <= len && len - kept_from <= cap,
        "{kept_from} {len} {cap}"
    );
    let kept = read_up_to(&*track.file, kept_from, (len - kept_from) as usize).unwrap();
    assert!(
        kept == all[kept_from as usize..],
        "the kept bytes are a suffix"
    );
    assert!(
        std::str::from_utf8(&kept).is_ok(),
        "the kept bytes begin at a character"
    );
    assert_eq!(
        track.file.len().unwrap(),
        len,
        "the file is as long as the output"
    );
}

/// Checks that a disk with room frees no more than needed: at the cap one step, up to the next
/// character. Without hole punching, everything is freed.
fn check_freed(before: Marks, after: Marks, cap: u64, punches: bool) {
    let most = if after.len - before.kept_from <= cap {
        before.kept_from
    } else if punches {
        before.kept_from.max(after.len - cap + cap / 32 + 3)
    } else {
        after.len
    };
    assert!(
        after.kept_from <= most,
        "{before:?} {after:?} {cap}: too much is freed"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_kept_bytes_are_always_a_correct_suffix(
        ops in proptest::collection::vec(op(), 1..60),
        cap in 5_000_u64..60_000,
        room in 2_usize..60,
        punches in any::<bool>(),
    ) {
        let disk = Arc::new(Mutex::new(Disk { room, used: 0 }));
        let (output, events) = (Fake::new(&disk, punches), Fake::new(&disk, punches));
        let record = record();
        let open = |cap| appender(&output, &record, TrackKind::Output, Encoding::Utf8, cap);
        let (mut track, mut out) = open(cap);
        let (_, mut raw) = appender(&events, &record, TrackKind::Events, Encoding::Bytes, cap);
        let mut all: Vec<u8> = Vec::new();
        for op in ops {
            match op {
                Op::Append(text) => {
                    let before = track.current_marks();
                    let done = out.append(text.as_bytes(), &mut |room| raw.free_for(room));
                    all.extend_from_slice(text.as_bytes());
                    let after = track.current_marks();
                    prop_assert!(done.lost == 0 || done.lost == text.len() as u64);
                    prop_assert!(done.lost == 0 || after.kept_from == after.len);
                    prop_assert!(done.lost == 0 || done.disk_full);
                    if !done.disk_full {
                        check_freed(before, after, cap, punches);
                    }
                    prop_assert_eq!(done.freed, after.kept_from.min(before.len) - before.kept_from);
                    if done.disk_full && raw.current_marks().len > raw.current_marks().kept_from {
                        prop_assert_eq!(after.kept_from, before.kept_from, "events go first");
                    }
                }
                Op::Events(n) => {
                    let kept_from = track.current_marks().kept_from;
                    raw.append(&vec![b'e'; n], &mut |_| false);
                    let current = track.current_marks().kept_from;
                    prop_assert_eq!(current, kept_from, "events never cost output");
                }
                Op::Room(room) => disk.lock().unwrap().room = room,
                Op::Kill(text, cut) => {
                    let before = track.current_marks();
                    let cut = cut.min(text.len());
                    let written = if cut == 0 { 0 } else {
                        output.write_at(&text.as_bytes()[..cut], all.len() as u64).unwrap_or(0)
                    };
                    // Whole characters of the unfinished write may stay; no reader has seen the
                    // rest.
                    let whole = (0..=written).rev().find(|at| text.is_char_boundary(*at)).unwrap();
                    all.extend_from_slice(&text.as_bytes()[..whole]);
                    (track, _) = open(u64::MAX);
                    check(&track, &all, u64::MAX);
                    let loaded = track.current_marks();
                    prop_assert_eq!(loaded.kept_from, before.kept_from, "a kill frees nothing");
                    (_, raw) = appender(&events, &record, TrackKind::Events, Encoding::Bytes, cap);
                    (track, out) = open(cap);
                    // The next append frees whatever the crash left beyond the cap.
                    let done = out.append(b"x", &mut |_| false);
                    all.push(b'x');
                    // Without hole punching, the start does not know what was freed before the
                    // kill, so everything may be freed again.
                    if punches && !done.disk_full {
                        check_freed(loaded, track.current_marks(), cap, punches);
                    }
                }
            }
            check(&track, &all, cap);
        }
    }

    #[test]
    fn a_power_cut_at_any_byte_leaves_a_correct_length_and_crc(
        texts in proptest::collection::vec(
            proptest::collection::vec(any::<char>(), 1..40).prop_map(String::from_iter),
            1..20,
        ),
        finished in any::<bool>(),
    ) {
        let all = texts.concat();
        for cut in 0..=all.len() {
            let disk = Arc::new(Mutex::new(Disk { room: 1000, used: 0 }));
            let file = Fake::new(&disk, true);
            let record = record();
            let (_, mut out) = appender(&file, &record, TrackKind::Output, Encoding::Utf8, 1 << 20);
            for text in &texts {
                out.append(text.as_bytes(), &mut |_| false);
            }
            if finished {
                out.finish();
            }
            file.set_len(cut as u64).unwrap();
            let loaded = MarkSlots::load(Arc::clone(&record), TrackKind::Output);
            let (mut slots, mark) = loaded.unwrap();
            let track = Track::load(Box::new(file), &mut slots, mark, Encoding::Utf8, false);
            let track = track.unwrap();
            let whole = (0..=cut).rev().find(|at| all.is_char_boundary(*at)).unwrap();
            if !finished {
                check(&track, &all.as_bytes()[..whole], u64::MAX);
            } else {
                check(&track, all.as_bytes(), u64::MAX);
                let freed = if cut == all.len() { 0 } else { all.len() as u64 };
                let Marks { kept_from, ended, .. } = track.current_marks();
                prop_assert_eq!(kept_from, freed, "without its end, nothing is a suffix");
                prop_assert!(ended);
            }
        }
    }
}

#[test]
fn the_cap_frees_blocks_in_steps() {
    let disk = Arc::new(Mutex::new(Disk {
        room: usize::MAX,
        used: 0,
    }));
    let file = Fake::new(&disk, true);
    let cap = 64 * BLOCK;
    let (track, mut out) = appender(&file, &record(), TrackKind::Output, Encoding::Utf8, cap);
    let mut frees = 0;
    for _ in 0..1000 {
        frees += u64::from(out.append(&[b'a'; 1024], &mut |_| false).freed > 0);
        assert!(disk.lock().unwrap().used as u64 <= cap / BLOCK + 2);
    }
    let Marks { len, kept_from, .. } = track.current_marks();
    assert!(
        len - kept_from > cap - cap / 16,
        "not more than a step is freed"
    );
    assert!(frees < 120, "{frees} holes for 1000 appends");
}

#[test]
fn appends_to_a_full_disk_are_counted_and_recovered() {
    let disk = Arc::new(Mutex::new(Disk { room: 0, used: 0 }));
    let file = Fake::new(&disk, true);
    let record = record();
    let (track, mut out) = appender(&file, &record, TrackKind::Output, Encoding::Utf8, 1 << 20);
    let done = out.append("nothing of this".as_bytes(), &mut |_| false);
    assert_eq!(
        done,
        Appended {
            freed: 0,
            lost: 15,
            disk_full: true
        }
    );
    disk.lock().unwrap().room = 10;
    out.append(" is kept".as_bytes(), &mut |_| false);
    check(&track, b"nothing of this is kept", 1 << 20);
    assert_eq!(track.current_marks().kept_from, 15);
    let (track, _) = appender(&file, &record, TrackKind::Output, Encoding::Utf8, 1 << 20);
    check(&track, b"nothing of this is kept", 1 << 20);
    assert_eq!(track.current_marks().kept_from, 15);
}

/// A failure between the mark and the hole never makes the next start return a hole as output.
#[test]
fn nothing_is_freed_or_appended_while_the_mark_cannot_be_written() {
    for punches in [true, false] {
        let disk = Arc::new(Mutex::new(Disk { room: 10, used: 0 }));
        let file = Fake::new(&disk, punches);
        let path = tempfile::NamedTempFile::new().unwrap();
        path.as_file().set_len(4096).unwrap();
        let record = Arc::new(read_only(path.path()));
        let (track, mut out) = appender(&file, &record, TrackKind::Output, Encoding::Utf8, 1 << 20);
        let mut all = vec![b'a'; 10 * BLOCK as usize];
        out.append(&all, &mut |_| false);
        // The disk is full, then has room; the mark is missing in both cases.
        for room in [10, 100] {
            disk.lock().unwrap().room = room;
            let block = [b'b'; BLOCK as usize];
            let done = out.append(&block, &mut |_| false);
            all.extend_from_slice(&block);
            assert_eq!(done.lost, BLOCK, "room for {room}");
            let marks = track.current_marks();
            assert_eq!(
                (marks.len, marks.kept_from),
                (all.len() as u64, all.len() as u64)
            );
            assert_eq!(marks.crc32, crc32fast::hash(&all));
        }
        let (reopened, _) = appender(&file, &record, TrackKind::Output, Encoding::Utf8, 1 << 20);
        check(&reopened, &all[..10 * BLOCK as usize], 1 << 20);
        // The record is writable again: the next append writes the mark, and later bytes are kept.
        let record = File::options()
            .read(true)
            .write(true)
            .open(path.path())
            .unwrap();
        let record = Arc::new(record);
        let (slots, _) = MarkSlots::load(Arc::clone(&record), TrackKind::Output).unwrap();
        out.use_slots(slots);
        out.append(b"lost too", &mut |_| false);
        out.append(b"kept", &mut |_| false);
        all.extend_from_slice(b"lost tookept");
        check(&track, &all, 1 << 20);
        let (reopened, _) = appender(&file, &record, TrackKind::Output, Encoding::Utf8, 1 << 20);
        check(&reopened, &all, 1 << 20);
        assert_eq!(reopened.current_marks().kept_from, all.len() as u64 - 4);
    }
}
