//! Measures both hops; `cc_tests::bench` describes the measurements.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use cc_tests::bench::{self, Part, Size};
use cc_tests::harness::interrupted;
use clap::Parser;

/// Measures both hops with the stand-in CLI, next to a baseline that only moves bytes
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Exit code 0: measured (targets met or not); 1: a measurement failed,\n\
                  or --strict and a target was missed."
)]
struct Cli {
    /// Run a tenth of everything, as a smoke test
    #[arg(long)]
    quick: bool,
    /// Run only these parts (comma-separated)
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Also write the figures as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with code 1 when a target is missed
    #[arg(long)]
    strict: bool,
}

fn say(text: &str) {
    // A closed stderr has no reader.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let program = arguments.first().map_or("", String::as_str);
    if bench::is_cli(program, arguments.get(1).map(String::as_str)) {
        return bench::cli_main(&arguments[1..]);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match measure(&cli) {
        Ok(good) if good || !cli.strict => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting")?;
    let size = if cli.quick {
        Size::quick()
    } else {
        Size::full()
    };
    let report = runtime.block_on(async {
        tokio::select! {
            report = bench::run(size, &cli.only, say) => report,
            () = interrupted() => Err(anyhow::anyhow!("interrupted")),
        }
    })?;
    let mut out = std::io::stdout();
    writeln!(out, "\n{}\n{}", report.table(), report.json())?;
    if let Some(path) = &cli.json {
        std::fs::write(path, format!("{:#}\n", report.json()))
            .with_context(|| format!("{}", path.display()))?;
    }
    Ok(report
        .figures
        .iter()
        .all(|figure| figure.is_met() != Some(false)))
}
