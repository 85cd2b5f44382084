//! Prints MB/s from append to reader: `cargo run --release -p spool --example throughput`.

use std::time::{Duration, Instant};

use spool::{EventsStorage, Owner, Spool, SpoolLimits};
use uuid::Uuid;

const READ_BYTES: usize = 64 << 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir_in(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()))?;
    let limits = SpoolLimits {
        kept_bytes: 1 << 30,
        kept_lines: 0,
        events_bytes: 1 << 30,
        retention: Duration::from_secs(3600),
        retention_bytes: 1 << 40,
    };
    let (spool, warnings) = Spool::open(dir.path(), limits)?;
    let mut report = format!("{warnings:?}\n");
    for (piece, total) in [(64 << 10, 512_usize << 20), (100, 64 << 20)] {
        for readers in [0, 1, 10] {
            let entry = spool.create(Uuid::now_v7(), b"{}", [0; 32], b"{}", Owner::NONE)?;
            let mut writer = entry.writer(EventsStorage::Raw)?;
            let tasks: Vec<_> = (0..readers)
                .map(|_| {
                    let entry = entry.clone();
                    tokio::spawn(async move {
                        let mut reader = entry.reader(0)?;
                        let mut read = 0;
                        while let Some(bytes) = reader.next(READ_BYTES).await? {
                            read += bytes.len();
                        }
                        Ok::<_, spool::ReadError>(read)
                    })
                })
                .collect();
            let start = Instant::now();
            let written = spool::blocking::run(move || {
                let text = vec![b'x'; piece];
                for _ in 0..total / piece {
                    writer.append(&text);
                }
                writer.finish();
                start.elapsed()
            })
            .await?;
            for task in tasks {
                assert_eq!(task.await??, total / piece * piece);
            }
            let rate = |took: Duration| total as f64 / 1e6 / took.as_secs_f64();
            report += &format!(
                "append of {piece} bytes, {readers} readers: written at {:.0} MB/s, \
                 all read at {:.0} MB/s each\n",
                rate(written),
                rate(start.elapsed()),
            );
            spool.end(&entry, b"{}")?;
            spool.delete(entry.id())?;
        }
    }
    let start = Instant::now();
    for _ in 0..100 {
        spool.create(Uuid::now_v7(), b"{}", [0; 32], b"{}", Owner::NONE)?;
    }
    report += &format!("acceptance: {:?} each", start.elapsed() / 100);
    #[expect(clippy::print_stdout, reason = "the example prints its result")]
    {
        println!("{report}");
    }
    Ok(())
}
