//! The `bridge` binary: parses the arguments, sets up the logs, and serves until SIGTERM or SIGINT.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bridge::config::{Cli, Command, Config, Settings};
use bridge::server::Listeners;
use bridge::upstream::errors::printable;
use clap::Parser;
use clap::error::ErrorKind;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// The exit code for wrong arguments or settings: 64, which is EX_USAGE in sysexits.h. Other
/// failures exit with 1.
const USAGE: u8 = 64;
/// How long `bridge healthcheck` waits for the bridge's HTTP answer. After this time the check
/// fails with exit code 1.
const HEALTHCHECK_TIME: Duration = Duration::from_secs(4);

fn main() -> ExitCode {
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
        None => serve(&cli.serve),
        Some(Command::Serve(config)) => serve(&config),
        Some(Command::Healthcheck { url, port }) => {
            let url = url.unwrap_or_else(|| format!("http://127.0.0.1:{port}/health/live"));
            exit_code(healthcheck(&url))
        }
    }
}

/// Returns the exit code 0 for success. For an error, prints it to stderr and returns 1.
fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bridge: {}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Checks the settings, sets up the logs, and runs the bridge until it stops. Wrong settings are
/// printed to stderr, and the exit code is then 64.
fn serve(config: &Config) -> ExitCode {
    let settings = match config.check() {
        Ok(settings) => settings,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("bridge: {}", printable(&mistake));
            }
            return ExitCode::from(USAGE);
        }
    };
    // rmcp logs a disconnected client as an error, and whole requests, prompts included, at debug.
    let filter = EnvFilter::new(format!("rmcp=off,{}", config.log_level));
    telemetry::log::init(filter, settings.log_format);
    protect_memory();
    exit_code(run(config, settings))
}

/// Listens on the address from the settings, and serves until SIGTERM or SIGINT.
///
/// # Errors
/// Returns an error if the address cannot be bound, or if the bridge cannot start.
#[tokio::main]
async fn run(config: &Config, settings: Settings) -> anyhow::Result<()> {
    raise_descriptor_limit();
    // The settings' check has already parsed the address.
    let host =
        protocol::guard::listen_address(&config.host).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let listener = listen(host, settings.port, "--host, --port").await?;
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut int = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let listeners = Listeners {
        clients: listener,
        proxies: match settings.proxy_port {
            Some(port) => Some(listen(host, port, "--host, --proxy-port").await?),
            None => None,
        },
    };
    bridge::run(listeners, config, settings, shutdown).await
}

/// Opens the socket on which the bridge listens. `flags` are the flags of the address and the port.
///
/// # Errors
/// Returns an error if the address cannot be bound.
async fn listen(host: IpAddr, port: u16, flags: &str) -> anyhow::Result<TcpListener> {
    let addr = SocketAddr::new(host, port);
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr} ({flags}); is another bridge running?"))
}

/// Protects the tokens of clients in the memory of this process (prctl(2), PR_SET_DUMPABLE). Other
/// processes of the same user cannot read that memory, and the kernel writes no core dump of it. A
/// failure is only logged, because the bridge works without it.
fn protect_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(
            %error,
            "could not protect the memory of the bridge; a core dump may have tokens of clients"
        );
    }
}

/// Raises the soft limit of open files (RLIMIT_NOFILE) to the hard limit. Each session needs one
/// descriptor, and each view of an execution needs two more. A failure is only logged, because the
/// bridge works with fewer descriptors too.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(
            %error,
            "could not raise the limit of open files; fewer sessions and views may fit"
        );
    }
}

/// Requests the liveness page of a running bridge at `url`.
///
/// # Errors
/// Returns an error if no answer arrives within 4 s, or if its HTTP status is not 200.
#[tokio::main(flavor = "current_thread")]
async fn healthcheck(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(HEALTHCHECK_TIME)
        .build()?;
    let status = client.get(url).send().await?.status();
    anyhow::ensure!(status == 200, "{url} answered {status}");
    Ok(())
}
