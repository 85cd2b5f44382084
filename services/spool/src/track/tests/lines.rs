//! Tests of the line limit against a simple model: all appended bytes and the end of each line.

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Append(String),
    /// A kill and the next start.
    Start,
}

fn op() -> impl Strategy<Value = Op> {
    let line = prop_oneof![
        4 => "[aü字😀]{0,12}\n?",
        2 => "(a\n){0,30}",
        1 => (0_usize..3000).prop_map(|n| "😀".repeat(n)),
    ];
    let text = proptest::collection::vec(line, 1..8).prop_map(|lines| lines.concat());
    prop_oneof![9 => text.prop_map(Op::Append), 1 => Just(Op::Start)]
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Returns how many lines more than the limit may be kept.
fn slack(lines: u64) -> u64 {
    (lines / 32).max(1) - 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_limit_of_lines_and_few_more_are_kept(
        ops in proptest::collection::vec(op(), 1..80),
        lines in prop_oneof![1_u64..8, 30_u64..34, 60_u64..200],
        bytes in prop_oneof![Just(u64::MAX), 2_000_u64..40_000],
        punches in any::<bool>(),
    ) {
        let disk = Arc::new(Mutex::new(Disk { room: usize::MAX, used: 0 }));
        let file = Fake::new(&disk, punches);
        let record = record();
        let cap = Cap { bytes, lines };
        let open = || capped(&file, &record, TrackKind::Output, Encoding::Utf8, cap);
        let (mut track, mut out) = open();
        let mut all = Vec::new();
        for op in ops {
            match op {
                Op::Append(text) => {
                    out.append(text.as_bytes(), &mut |_| false);
                    all.extend_from_slice(text.as_bytes());
                }
                Op::Start => (track, out) = open(),
            }
            check(&track, &all, bytes);
            let kept_from = track.current_marks().kept_from as usize;
            let kept = newlines(&all[kept_from..]);
            prop_assert!(kept <= lines + slack(lines), "{kept} of {lines} lines are kept");
            if bytes == u64::MAX {
                prop_assert!(kept >= lines.min(newlines(&all)), "{kept} of {lines} lines are kept");
                let begins_line = kept_from == 0 || all[kept_from - 1] == b'\n';
                prop_assert!(begins_line, "the kept bytes begin with a line");
            }
        }
    }
}

#[test]
fn blocks_of_dropped_lines_are_freed() {
    let disk = Arc::new(Mutex::new(Disk {
        room: usize::MAX,
        used: 0,
    }));
    let file = Fake::new(&disk, true);
    let cap = Cap {
        bytes: u64::MAX,
        lines: 100,
    };
    let (track, mut out) = capped(&file, &record(), TrackKind::Output, Encoding::Utf8, cap);
    for n in 0..100_000_u64 {
        out.append(format!("{n:>99}\n").as_bytes(), &mut |_| false);
        // 102 lines of 100 bytes, and the blocks in which they begin and end.
        assert!(disk.lock().unwrap().used <= 4, "after {n}");
    }
    let Marks { len, kept_from, .. } = track.current_marks();
    assert_eq!(len, 10_000_000);
    assert!((10_000..=10_200).contains(&(len - kept_from)));
}
