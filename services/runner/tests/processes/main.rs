//! Tests of runners with real trees of processes. This program is also the runner: it starts itself
//! again with the argument `runner`, so it has no libtest harness.
//! `cargo test -p runner --test processes NAME` runs the tests whose names contain NAME.

// Without libtest, the lint does not recognise this as a test. The output is the report.
#![allow(clippy::print_stdout)]

mod death;
mod life;
mod measure;
mod sandbox;
mod support;
mod tree;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Instant,
};

use support::Test;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments == ["runner"] {
        return runner::main();
    }
    runner::init_parent().expect("the test program becomes a subreaper");
    let filter = arguments
        .iter()
        .find(|argument| !argument.starts_with('-'))
        .cloned()
        .unwrap_or_default();
    let tests: Vec<Test> = [
        life::tests(),
        tree::tests(),
        death::tests(),
        measure::tests(),
        sandbox::tests(),
    ]
    .concat();
    let mut failed = Vec::new();
    for (name, test) in tests.into_iter().filter(|(name, _)| name.contains(&filter)) {
        let begun = Instant::now();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test())));
        println!(
            "{name} ... {} ({} ms)",
            if result.is_ok() { "ok" } else { "FAILED" },
            begun.elapsed().as_millis()
        );
        if result.is_err() {
            failed.push(name);
            runtime.block_on(async { support::runners().sweep_orphans().await });
        }
        // Check this while the runtime exists: its tasks reap the runners.
        runtime.block_on(support::assert_no_children_left());
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}
