//! A server that speaks the Messages API and follows the prompt; `cc_tests::model` has the rules.

use std::{io::Write, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context;
use cc_tests::model;
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;

/// Speaks the Messages API; the prompt decides the answer.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves (the default).
    Serve(Serve),
    /// Exits 0 when a server answers.
    Healthcheck {
        /// The URL to request.
        #[arg(long)]
        url: Option<String>,
        /// The port, without a URL.
        #[arg(long, env = "SCRIPTED_MODEL_PORT", default_value_t = 8004)]
        port: u16,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// The address to listen on.
    #[arg(long, env = "SCRIPTED_MODEL_HOST", default_value = "127.0.0.1")]
    host: String,
    /// The port; 0 chooses a free one.
    #[arg(long, env = "SCRIPTED_MODEL_PORT", default_value_t = 8004)]
    port: u16,
    /// The default pause between two deltas, in milliseconds.
    #[arg(long, env = "SCRIPTED_MODEL_DELAY_MS", default_value_t = 0)]
    delay_ms: u64,
    /// Answers 401 unless a request carries this key (may be given several times).
    #[arg(
        long = "accept-key",
        env = "SCRIPTED_MODEL_ACCEPT_KEY",
        value_delimiter = ','
    )]
    accept_keys: Vec<String>,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting")
        .and_then(|runtime| {
            runtime.block_on(async {
                match cli.command {
                    Some(Command::Healthcheck { url, port }) => {
                        healthcheck(
                            &url.unwrap_or_else(|| format!("http://127.0.0.1:{port}/health")),
                        )
                        .await
                    }
                    Some(Command::Serve(serve)) => run(serve).await,
                    None => run(cli.serve).await,
                }
            })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "scripted-model: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn healthcheck(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(3))
        .build()?;
    client.get(url).send().await?.error_for_status()?;
    Ok(())
}

async fn run(serve: Serve) -> anyhow::Result<()> {
    let Serve {
        host,
        port,
        delay_ms,
        accept_keys,
    } = serve;
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}; choose another --port"))?;
    let address: SocketAddr = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    let config = model::Config {
        delay: Duration::from_millis(delay_ms),
        accepted_keys: accept_keys,
    };
    model::serve(listener, config, stopped()).await?;
    Ok(())
}

/// Waits for SIGTERM or SIGINT: the server may be PID 1 of a container, where neither has an effect
/// by default.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
