//! The program `credentials`: parses the arguments, sets up the log, and serves until SIGTERM or
//! SIGINT.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use clap::error::ErrorKind;
use credentials::BadUpstream;
use credentials::config::{Cli, Command, Config, Settings, Variables};
use credentials::watch;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The exit code for wrong arguments or settings: EX_USAGE in sysexits.h. Other failures exit with
/// 1.
const USAGE: u8 = 64;
/// The number of worker threads of the runtime. One core forwards more bytes than a network
/// carries.
const THREADS: usize = 2;
/// How long `credentials healthcheck` waits for each step of the check.
const HEALTHCHECK_TIME: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    // This comes before the environment, which has the credential, is read.
    let protected = protect_memory();
    allocator::return_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_information = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // A failure to write to stderr cannot be reported.
            let _ = error.print();
            return if is_information {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(USAGE)
            };
        }
    };
    match cli.command {
        None => serve(&cli.serve, protected),
        Some(Command::Serve(config)) => serve(&config, protected),
        Some(Command::Healthcheck { host, port, watch }) => exit_code(if watch {
            watch::watch(Path::new(watch::MARK), watch::PAUSE, || {
                healthcheck(&host, port)
            })
        } else {
            healthcheck(&host, port)
        }),
    }
}

/// Returns the exit code of a result. Prints an error to stderr.
fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("credentials: {error:#}");
            if error.is::<BadUpstream>() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Checks the settings, sets up the log, and runs the service until it stops.
fn serve(config: &Config, protected: rustix::io::Result<()>) -> ExitCode {
    let variables: Variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let settings = match config.check(&variables) {
        Ok(settings) => settings,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("credentials: {mistake}");
            }
            return ExitCode::from(USAGE);
        }
    };
    drop(variables);
    telemetry::log::init(EnvFilter::new(&config.log_level), settings.log_format);
    if let Err(error) = protected {
        tracing::warn!(
            %error,
            "could not protect the memory of credentials; a core dump may contain the credential"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    match runtime.context("could not start the runtime") {
        Ok(runtime) => exit_code(runtime.block_on(run(settings))),
        Err(error) => exit_code(Err(error)),
    }
}

/// Listens, and serves until SIGTERM or SIGINT.
///
/// # Errors
/// The address cannot be bound, or the service cannot start.
async fn run(settings: Settings) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let address = SocketAddr::new(settings.host, settings.port);
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (--host, --port); is another credentials running?")
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    credentials::run(listener, settings, shutdown).await
}

/// Protects the memory and the environment of this process (prctl(2), PR_SET_DUMPABLE): no other
/// process of the same user can read them, and the kernel writes no core dump.
fn protect_memory() -> rustix::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Raises the soft limit of open files (RLIMIT_NOFILE) to the hard limit. A request needs two
/// descriptors. A failure is only logged, because the service works with fewer descriptors too.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

/// Checks that the service on this machine is alive. A wildcard address (`0.0.0.0`, `::`) is
/// replaced by loopback.
///
/// # Errors
/// No answer arrives in time, or its status is not 200.
fn healthcheck(host: &str, port: u16) -> anyhow::Result<()> {
    let host = protocol::guard::listen_address(host)
        .map_err(|mistake| anyhow::anyhow!("--host {host:?}: {mistake}"))?;
    let host = match host {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(address) if address.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let mut stream = TcpStream::connect_timeout(&(host, port).into(), HEALTHCHECK_TIME)?;
    stream.set_read_timeout(Some(HEALTHCHECK_TIME))?;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1024).read_to_string(&mut answer)?;
    let line = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(line == "HTTP/1.1 200 OK", "the service answered {line:?}");
    Ok(())
}
