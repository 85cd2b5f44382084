use std::fs::File;

use super::*;

fn record(json: &[u8]) -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(dir.path().join("record"))
        .unwrap();
    file.set_len(slot_at(SLOTS)).unwrap();
    let first = Version {
        number: 1,
        terminal: false,
        durable: true,
        json: json.to_vec(),
    };
    file.write_all_at(&first.encode(), SLOTS_AT).unwrap();
    (dir, file)
}

fn whole(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; slot_at(SLOTS) as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_write_cut_at_any_byte_leaves_the_previous_status() {
    let (_dir, file) = record(b"{\"state\":\"queued\"}");
    let mut slots = Slots::load(&file).unwrap();
    let statuses: Vec<Vec<u8>> = (0..6)
        .map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(n * 7)).into_bytes())
        .collect();
    let mut older = slots.read(&file).unwrap();
    for (n, newer) in statuses.iter().enumerate() {
        let before = whole(&file);
        slots.write(&file, newer, n % 3 == 0, n == 5).unwrap();
        let after = whole(&file);
        let changed: Vec<usize> = (0..after.len())
            .filter(|at| before[*at] != after[*at])
            .collect();
        assert!(!changed.is_empty());
        for cut in changed {
            let mut torn = after[..cut].to_vec();
            torn.extend_from_slice(&before[cut..]);
            file.write_all_at(&torn, 0).unwrap();
            let loaded = Slots::load(&file).unwrap();
            assert_eq!(loaded.read(&file).unwrap(), older, "cut at {cut}");
            assert!(!loaded.terminal());
        }
        file.write_all_at(&after, 0).unwrap();
        assert_eq!(&Slots::load(&file).unwrap().read(&file).unwrap(), newer);
        older.clone_from(newer);
    }
    assert!(Slots::load(&file).unwrap().terminal());
}

#[test]
fn a_durable_status_is_never_overwritten_by_a_status_without_fsync() {
    let (_dir, file) = record(b"durable");
    let mut slots = Slots::load(&file).unwrap();
    for n in 0..10 {
        slots
            .write(&file, format!("{n}").as_bytes(), false, false)
            .unwrap();
        assert_eq!(read_slot(&file, 0).unwrap().unwrap().json, b"durable");
    }
    // A power cut may lose every slot that was not synced.
    for slot in 1..SLOTS {
        file.write_all_at(&[0xff; 64], slot_at(slot)).unwrap();
    }
    assert_eq!(Slots::load(&file).unwrap().read(&file).unwrap(), b"durable");
}

#[test]
fn a_terminal_status_stays_terminal_and_a_too_large_one_is_refused() {
    let (_dir, file) = record(b"a");
    let mut slots = Slots::load(&file).unwrap();
    slots.write(&file, b"end", true, true).unwrap();
    slots
        .write(&file, b"end with digest", false, false)
        .unwrap();
    let loaded = Slots::load(&file).unwrap();
    assert!(loaded.terminal());
    assert!(
        slots
            .write(&file, &vec![b'x'; STATUS_BYTES_MAX + 1], true, true)
            .is_err()
    );
    slots
        .write(&file, &vec![b'x'; STATUS_BYTES_MAX], true, true)
        .unwrap();
    assert_eq!(slots.read(&file).unwrap().len(), STATUS_BYTES_MAX);
}

#[test]
fn first_slots_equal_those_of_an_accepted_record() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(crate::layout::BODY_AT).unwrap();
    let first = Version {
        number: 1,
        terminal: false,
        durable: true,
        json: b"{}".to_vec(),
    };
    file.write_all_at(&first.encode(), SLOTS_AT).unwrap();
    assert_eq!(Slots::load(&file).unwrap(), Slots::first());
}
