//! Measurements of the runner, with generous bounds.

use std::time::{Duration, Instant};

use runner::Event;
use tokio::time::timeout;

use crate::{
    support::{LONG, pids, python, runners, scratch, shell, spec, wait_until},
    tests,
};

tests![
    a_start_takes_less_than_500_ms,
    a_pause_stops_a_small_tree,
    a_kill_sweeps_a_thousand_processes
];

async fn a_start_takes_less_than_500_ms() {
    let (mut called, mut spawned, mut first_byte) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..50 {
        let begun = Instant::now();
        let mut handle = runners()
            .start(spec("/bin/echo", &["x"]))
            .await
            .expect("started");
        called.push(begun.elapsed());
        assert!(matches!(
            timeout(LONG, handle.events.next()).await,
            Ok(Some(Event::Spawned { .. }))
        ));
        spawned.push(begun.elapsed());
        assert_eq!(handle.stdout.read(&mut [0; 8]).await.expect("read"), 2);
        first_byte.push(begun.elapsed());
        while timeout(LONG, handle.events.next())
            .await
            .expect("the runner ends")
            .is_some()
        {}
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!(
        "  start() {:?}, Spawned {:?}, first byte {:?} (medians of 50)",
        median(&mut called),
        median(&mut spawned),
        median(&mut first_byte)
    );
    assert!(median(&mut first_byte) < Duration::from_millis(500));
}

async fn a_pause_stops_a_small_tree() {
    let mut run = shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 600 & done; wait").await;
    run.spawned().await;
    let runner = run.control.runner_pid();
    let cli = crate::support::children(runner)[0].0;
    wait_until("all processes have started", || {
        crate::support::children(cli).len() == 9
    })
    .await;
    let begun = Instant::now();
    run.control.pause();
    run.signalled(runner::Action::Pause).await;
    let signalled = begun.elapsed();
    let (processes, took_us) = run.paused().await;
    println!(
        "  pause of {processes} processes: first signal {signalled:?}, all stopped {took_us} us"
    );
    assert_eq!(processes, 10);
    run.control.kill();
    run.end().await;
}

async fn a_kill_sweeps_a_thousand_processes() {
    let dir = scratch();
    let program = r#"
import os, sys, time
d = sys.argv[1]
for i in range(20):
    if os.fork() == 0:
        os.setsid()
        for j in range(49):
            if os.fork() == 0: break
        open(f"{d}/pid.{os.getpid()}", "w").close()
        time.sleep(600)
time.sleep(600)
"#;
    let mut run = python(program, dir.path(), &[]).await;
    run.spawned().await;
    wait_until("all processes have started", || {
        pids(dir.path()).len() == 1_000
    })
    .await;
    let begun = Instant::now();
    run.control.kill();
    let end = run.end().await;
    println!(
        "  kill to Done of {} processes: {:?}",
        end.killed + 1,
        begun.elapsed()
    );
    assert_eq!((end.killed, end.unkillable), (1_000, Vec::new()));
}
