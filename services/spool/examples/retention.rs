//! Measures a pass of retention after many deleted executions: `cargo run --example retention --
//! TOMBSTONES ROWS`.
//!
//! Prints the time of the start and of five passes. The example writes the folder itself, because
//! accepting a million executions takes hours.

use std::{
    error::Error,
    fs::{self, File},
    time::{Duration, Instant, SystemTime},
};

use spool::{Owner, Spool, SpoolLimits};
use uuid::Uuid;

const LIMITS: SpoolLimits = SpoolLimits {
    kept_bytes: 1 << 30,
    kept_lines: 0,
    events_bytes: 1 << 30,
    retention: Duration::from_secs(7 * 24 * 3600),
    retention_bytes: 10 << 30,
};

#[expect(clippy::print_stdout, reason = "the example prints its result")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let tombstones = numbers.next().transpose()?.unwrap_or(100_000);
    let rows = numbers.next().transpose()?.unwrap_or(1_000_000);
    let dir = tempfile::tempdir()?;
    fs::create_dir_all(dir.path().join("tombstones"))?;
    for n in 0..tombstones {
        let name = Uuid::from_u128(u128::from(n)).hyphenated().to_string();
        File::create(dir.path().join("tombstones").join(name))?;
    }
    // Rows of deleted executions are zeros.
    fs::write(dir.path().join("index"), vec![0; 64 * rows as usize])?;
    let begun = Instant::now();
    let (spool, _) = Spool::open(dir.path(), LIMITS)?;
    println!("start: {:?}", begun.elapsed());
    spool.create(
        Uuid::from_u128(u128::MAX),
        b"body",
        [1; 32],
        b"{}",
        Owner::NONE,
    )?;
    for pass in 1..=5 {
        let begun = Instant::now();
        spool.expire(SystemTime::now())?;
        println!("pass {pass}: {:?}", begun.elapsed());
    }
    Ok(())
}
