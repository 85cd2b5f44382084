//! Both services under fire. See `cc_tests::soak`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use cc_tests::{
    harness::interrupted,
    soak::{self, Options, Plant},
};
use clap::{Parser, ValueEnum};

/// Random clients and random faults on both hops, every message checked
#[derive(Debug, Parser)]
#[command(
    name = "soak",
    after_help = "Exit code 0: no violation; 1: one, or too few faults in the time; 64: bad arguments;\n130: interrupted."
)]
struct Cli {
    /// Faults to make
    #[arg(long, default_value_t = 3000)]
    faults: u64,
    /// The longest time for them, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Where all choices come from; a random one when not given
    #[arg(long)]
    seed: Option<u64>,
    /// Clients at once
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// What both services may have resident together, in MiB
    #[arg(long, default_value_t = 128)]
    memory_mib: u64,
    /// A bug put in on purpose, to see it found
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// Where logs go when something was violated; default a folder under the temporary ones, by the seed
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// As a shell says it of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
/// The others are in the folder of the logs.
const SHOWN: usize = 10;

/// As it was asked for.
fn plant(plant: Plant) -> String {
    let value = plant.to_possible_value();
    value.map_or_else(String::new, |value| {
        format!(" --plant {}", value.get_name())
    })
}

fn say(text: &str) {
    // Nobody reads: then nobody misses it.
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
    let seed = cli.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let options = Options {
        faults: cli.faults,
        seconds: cli.seconds,
        seed,
        clients: cli.clients,
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
        // What still holds the services is dropped with the runtime, and they end with it.
        drop(runtime);
        say(&format!("interrupted, seed {seed}"));
        return ExitCode::from(INTERRUPTED);
    };
    for violation in outcome.violations.iter().take(SHOWN) {
        say(&format!("\n--- {violation}"));
    }
    say(&outcome.notes);
    // What was violated may have ended the run.
    let few = outcome.faults < options.faults && outcome.violations.is_empty();
    say(&format!(
        "{} faults, {} violations, seed {seed}",
        outcome.faults,
        outcome.violations.len()
    ));
    if few {
        say(&format!(
            "only {} of {} faults were made in {} s: give it more --seconds",
            outcome.faults, options.faults, options.seconds
        ));
    }
    if few || !outcome.violations.is_empty() {
        say(&format!(
            "to repeat it: scripts/soak --faults {} --seconds {} --seed {seed} --clients {} --memory-mib {}{}",
            options.faults,
            options.seconds,
            options.clients,
            cli.memory_mib,
            options.plant.map(plant).unwrap_or_default()
        ));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
