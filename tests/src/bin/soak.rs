//! Runs both services under random faults; `cc_tests::soak` describes the run.

use std::{io::Write, path::PathBuf, process::ExitCode};

use cc_tests::{
    harness::interrupted,
    soak::{self, Options, PRINCIPALS, Plant},
};
use clap::{Parser, ValueEnum};

/// Runs both services with random clients and random faults, and checks every message
#[derive(Debug, Parser)]
#[command(
    name = "soak",
    after_help = "The clients belong to three principals. No message to one of them may show\n\
                  anything of another.\n\n\
                  Exit code 0: no violation; 1: a violation, or too few faults in the time;\n\
                  64: bad arguments; 130: interrupted."
)]
struct Cli {
    /// The number of faults
    #[arg(long, default_value_t = 3000)]
    faults: u64,
    /// The time limit for the faults, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The seed of all random choices [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// The number of concurrent clients
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// The limit for the resident memory of both services together, in MiB
    #[arg(long, default_value_t = 128)]
    memory_mib: u64,
    /// Starts the services without tokens: all clients are one principal, which sees everything.
    /// By default the clients belong to three principals
    #[arg(long)]
    no_tokens: bool,
    /// An injected bug that the run must find
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// The folder for logs after a violation [default: a temporary folder named after the seed]
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// The exit code after an interrupt, as shells report SIGINT.
const INTERRUPTED: u8 = 130;
/// The number of printed violations; all are in the folder of the logs.
const SHOWN: usize = 10;

/// Formats the option for an injected bug.
fn plant(plant: Plant) -> String {
    let value = plant.to_possible_value();
    value.map_or_else(String::new, |value| {
        format!(" --plant {}", value.get_name())
    })
}

/// Checks options that depend on each other.
///
/// # Errors
/// The mistake, and what to do.
fn check(cli: &Cli) -> Result<(), String> {
    if !cli.no_tokens && cli.clients < PRINCIPALS {
        return Err(format!(
            "--clients {}: each of the {PRINCIPALS} principals needs a client; increase it, or use \
             --no-tokens",
            cli.clients
        ));
    }
    match cli.plant {
        Some(bug) if cli.no_tokens && bug.needs_principals() => Err(format!(
            "{}: only a run with principals has this bug; leave --no-tokens out",
            plant(bug).trim()
        )),
        _ => Ok(()),
    }
}

fn say(text: &str) {
    // A closed stdout has no reader.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    if let Err(mistake) = check(&cli) {
        say(&format!("soak: {mistake}"));
        return ExitCode::from(64);
    }
    let seed = cli.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let options = Options {
        faults: cli.faults,
        seconds: cli.seconds,
        seed,
        clients: cli.clients,
        tokens: !cli.no_tokens,
        memory_bytes: cli.memory_mib << 20,
        plant: cli.plant,
        keep: cli.keep.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("cc-soak-{seed}-{}", std::process::id()))
        }),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("soak: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = soak::run(&options, say) => Some(outcome),
            () = interrupted() => None,
        }
    });
    let Some(outcome) = outcome else {
        // Dropping the runtime drops the tasks that hold the services, which ends these.
        drop(runtime);
        say(&format!("interrupted, seed {seed}"));
        return ExitCode::from(INTERRUPTED);
    };
    for violation in outcome.violations.iter().take(SHOWN) {
        say(&format!("\n--- {violation}"));
    }
    say(&outcome.notes);
    // A violation may have ended the run early.
    let few = outcome.faults < options.faults && outcome.violations.is_empty();
    say(&format!(
        "{} faults, {} violations, seed {seed}",
        outcome.faults,
        outcome.violations.len()
    ));
    if few {
        say(&format!(
            "only {} of {} faults were made in {} s: increase --seconds",
            outcome.faults, options.faults, options.seconds
        ));
    }
    if few || !outcome.violations.is_empty() {
        say(&format!(
            "repeat the run: scripts/soak --faults {} --seconds {} --seed {seed} --clients {} \
             --memory-mib {}{}{}",
            options.faults,
            options.seconds,
            options.clients,
            cli.memory_mib,
            if cli.no_tokens { " --no-tokens" } else { "" },
            options.plant.map(plant).unwrap_or_default()
        ));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
