//! The program `claude-api`: parses the command line, sets up the log, recovers the executions that
//! were unfinished when the service last stopped, and serves HTTP ([`claude_api::server::run`]).
//!
//! If the first argument is `runner`, the program is a runner instead. A runner is a small process
//! that the service starts for each execution and each hook. It starts their program, such as the
//! Claude CLI, and kills the whole process tree at the end.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use claude_api::cli::Environment;
use claude_api::config::parse_all::{Parsed, parse_all};
use claude_api::config::{Cli, Command, EXIT_USAGE, LogFormat, ServeArgs, Settings};
use claude_api::engine::BadSettings;
use claude_api::health;
use claude_api::server::{self, Listeners};
use claude_api::service::Service;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long the exit of the process waits for threads that a slow or broken disk blocks. The wait
/// is short, because the records on disk survive a write that is cut off, as they survive a
/// SIGKILL.
const DISK_THREADS_WAIT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    // First, because a runner has no runtime, no configuration and no log of its own.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == "runner")
    {
        return runner::main();
    }
    allocator::return_freed_memory();
    let (cli, mistakes) = match parse_all::<Cli>(arguments()) {
        Parsed::Values(cli, mistakes) => (cli, mistakes),
        Parsed::Other(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        None => serve(cli.serve, mistakes),
        Some(Command::Serve(args)) => serve(*args, mistakes),
        Some(Command::Healthcheck(args)) => match health::ask(&args.url) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => fail(&message, 1),
        },
        Some(Command::Runner) => fail("`runner` must be the first argument", EXIT_USAGE),
    }
}

/// Returns the command line of this process without the subcommand `serve`, which is the default.
/// The flags of `serve` also exist at the top level, so clap parses them there with or without that
/// word.
fn arguments() -> Vec<std::ffi::OsString> {
    let mut args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == "serve") {
        args.remove(1);
    }
    args
}

/// Prints `claude-api: ` and the error `message` on stderr, for a person at a terminal. Returns
/// `code` as the exit code of the process.
#[allow(
    clippy::print_stderr,
    reason = "errors before the log is set up, for a person at a terminal"
)]
fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("claude-api: {message}");
    ExitCode::from(code)
}

/// Runs the service until SIGTERM or SIGINT stops it, and returns the exit code of the process: 0
/// after a stop, 64 (`EX_USAGE`) for a bad configuration, 1 for any other failure. `mistakes` are
/// the values on the command line that did not parse; they are reported together with those found
/// here.
fn serve(args: ServeArgs, mistakes: Vec<String>) -> ExitCode {
    let settings = match Settings::check(args, mistakes) {
        Ok(settings) => settings,
        Err(mistakes) => {
            return fail(
                &format!("bad configuration:\n  {}", mistakes.join("\n  ")),
                EXIT_USAGE,
            );
        }
    };
    init_log(&settings.args);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(claude_api::in_place::threads())
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("could not start the runtime: {error}"), 1),
    };
    let result = runtime.block_on(start(settings));
    // With a timeout: dropping the runtime would wait for every thread that waits for a disk.
    runtime.shutdown_timeout(DISK_THREADS_WAIT);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<BadSettings>() => fail(&error.to_string(), EXIT_USAGE),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Sets up the log on stderr, with the level and the format from `args`.
fn init_log(args: &ServeArgs) {
    let filter = args
        .log_level
        .parse::<tracing_subscriber::EnvFilter>()
        .unwrap_or_default();
    let format = match args.log_format {
        LogFormat::Json => telemetry::log::Format::Json,
        LogFormat::Pretty => telemetry::log::Format::Pretty,
    };
    telemetry::log::init(filter, format);
}

/// Raises this process's soft limit of open files (`RLIMIT_NOFILE`) to its hard limit. Each
/// execution and each reader needs a few descriptors; the usual soft limit of 1024 exists for
/// programs that use select(2). A failure is logged, and the service starts with fewer possible
/// connections.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(
            %error,
            "could not raise the soft limit of open files; there is room for fewer connections"
        );
    }
}

/// Binds the TCP sockets on which the service listens: `--port`, `--proxy-port` if it is given, and
/// `--credentials-port` if there is a service `credentials`. They are bound before anything else
/// runs, and as long as the process lives. So no command of the model can listen in their place.
///
/// # Errors
/// An address cannot be bound.
async fn listen(settings: &Settings) -> anyhow::Result<Listeners> {
    let args = &settings.args;
    let bind = async |port: u16, flag| {
        let bound = TcpListener::bind((args.host, port)).await;
        bound.with_context(|| {
            format!(
                "cannot listen on {}; is another claude-api running? choose another {flag}",
                SocketAddr::new(args.host, port)
            )
        })
    };
    let clients = bind(args.port, "--port").await?;
    let proxies = match args.network.proxy_port {
        Some(port) => Some(bind(port, "--proxy-port").await?),
        None => None,
    };
    let credentials = match settings.credentials {
        Some(_) => Some(bind(args.credentials.credentials_port, "--credentials-port").await?),
        None => None,
    };
    Ok(Listeners {
        clients,
        proxies,
        credentials,
    })
}

/// Binds the HTTP listeners, opens the service, recovers its executions, then serves until SIGTERM
/// or SIGINT.
///
/// # Errors
/// The address cannot be bound, the settings or the folders cannot be used, or the executions on
/// disk cannot be listed.
async fn start(settings: Settings) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let listeners = listen(&settings).await?;
    if let Err(problem) = runner::init_parent() {
        tracing::warn!(%problem, "could not protect processes completely; starting anyway");
    }
    let variables = std::env::vars_os()
        .filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let environment = Environment::new(variables, &settings.args.pass_env);
    // The running program, even if its file has been replaced since its start (proc(5)).
    let runners = runner::Runners::new("/proc/self/exe".into());
    if std::process::id() == 1 {
        let init = runners.clone();
        tokio::spawn(async move {
            if let Err(error) = init.reap_as_init().await {
                tracing::warn!(
                    %error,
                    "could not reap the processes that PID 1 adopts; the next sweep of orphans does"
                );
            }
        });
    }
    let opened =
        spool::blocking::run(move || Service::open(settings, environment, runners)).await?;
    let (service, warnings) = opened?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let recovering = Arc::clone(&service);
    let handle = tokio::runtime::Handle::current();
    spool::blocking::run(move || {
        let _runtime = handle.enter();
        recovering.recover()
    })
    .await??;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("received a signal to stop; refusing new executions");
    };
    let (clients, proxies) = listeners.addresses()?;
    let credentials = listeners.credentials.as_ref();
    let credentials = credentials.map(TcpListener::local_addr).transpose()?;
    tracing::info!(
        addr = %clients,
        proxy_addr = proxies.map(tracing::field::display),
        credentials_addr = credentials.map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"),
        spool = %service.engine.settings.args.spool_dir.display(),
        workspaces = %service.engine.settings.args.workspace_root.display(),
        cli = %service.engine.settings.args.claude_bin.display(),
        "listening"
    );
    let tracer = service.engine.tracer.clone();
    server::run(service, listeners, shutdown).await?;
    tracer.shutdown().await;
    tracing::info!("stopped; exiting");
    Ok(())
}
