//! One service as a real process.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{eventually, processes};

/// The time for a start: a debug build on a busy machine is slow.
const START: Duration = Duration::from_secs(30);
/// The time for a stop after SIGTERM.
const STOP: Duration = Duration::from_secs(20);
/// How many lines of the log a failing test prints.
const SHOWN_LINES: usize = 80;

/// The program of a service, and how to start it.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The name in messages.
    pub name: String,
    /// The program to run.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment; only `PATH` is inherited.
    pub environment: Vec<(String, String)>,
    /// The log file; a new start appends to it.
    pub log: PathBuf,
}

/// A running service. Dropping it kills the process; a failing test prints the log.
#[derive(Debug)]
pub struct Service {
    options: ServiceOptions,
    child: Child,
    addr: SocketAddr,
    /// The offset in the log file at which the log of this start begins.
    log_from: u64,
}

fn spawn(options: &ServiceOptions) -> (Child, u64) {
    let log_from = fs::metadata(&options.log).map_or(0, |meta| meta.len());
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&options.log)
        .expect("the log can be written");
    let child = Command::new(&options.program)
        .args(&options.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(
            options
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", options.program.display()));
    (child, log_from)
}

impl Service {
    /// Starts a service and waits until it listens.
    ///
    /// # Panics
    /// If the service ends, or does not listen in time; the message holds the log.
    pub async fn start(options: ServiceOptions) -> Self {
        let (child, log_from) = spawn(&options);
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut service = Self {
            options,
            child,
            addr: nowhere,
            log_from,
        };
        service.wait_listening().await;
        service
    }

    /// Runs a service that should refuse to start; returns its exit status and its log.
    ///
    /// # Panics
    /// If the service still runs after `patience`.
    pub async fn run_to_end(options: ServiceOptions, patience: Duration) -> (ExitStatus, String) {
        let (child, log_from) = spawn(&options);
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut service = Self {
            options,
            child,
            addr: nowhere,
            log_from,
        };
        let status = service.wait_exit(patience).await;
        (status, service.log())
    }

    async fn wait_listening(&mut self) {
        let name = self.options.name.clone();
        self.addr = eventually(&format!("{name} to listen"), START, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{name} ended at its start: {status}\n{}", self.log());
            }
            self.lines().iter().find_map(|line| address(line, "addr"))
        })
        .await;
    }

    /// Returns the address that the service listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of claude-api's port for the service `credentials`.
    ///
    /// # Panics
    /// If this service has no such port.
    #[must_use]
    pub fn credentials_addr(&self) -> SocketAddr {
        let lines = self.lines();
        let addr = lines
            .iter()
            .find_map(|line| address(line, "credentials_addr"));
        addr.unwrap_or_else(|| panic!("no control port\n{}", self.log()))
    }

    /// Returns `http://ADDR/path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Returns its process id.
    ///
    /// # Panics
    /// Never: Linux process ids have at most 22 bits.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id fits")
    }

    /// Returns its resident memory in bytes, without its children.
    ///
    /// # Panics
    /// If the process is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        processes::resident_bytes(self.pid())
            .unwrap_or_else(|| panic!("{} is gone\n{}", self.options.name, self.log()))
    }

    /// Returns its peak resident memory since its start in bytes, without its children.
    ///
    /// # Panics
    /// If the process is gone.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        processes::peak_bytes(self.pid())
            .unwrap_or_else(|| panic!("{} is gone\n{}", self.options.name, self.log()))
    }

    /// Returns the number of its zombie children.
    #[must_use]
    pub fn zombies(&self) -> usize {
        processes::zombies(self.pid()).len()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid()) {
            // The process may have ended by itself.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Returns its exit status if it has ended by itself.
    ///
    /// # Panics
    /// If the wait for the child fails.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Kills the process with SIGKILL and reaps it.
    ///
    /// # Panics
    /// If the process cannot be reaped.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child can be reaped");
    }

    /// Sends SIGTERM and waits for the end of the process.
    ///
    /// # Panics
    /// If the process does not end in time.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(STOP).await
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// If the process does not end in time.
    pub async fn wait_exit(&mut self, patience: Duration) -> ExitStatus {
        let name = self.options.name.clone();
        eventually(&format!("{name} to end"), patience, || {
            self.child.try_wait().ok().flatten()
        })
        .await
    }

    /// Starts an ended service again, with the same arguments, directories and ports.
    ///
    /// # Panics
    /// If the service does not listen in time.
    pub async fn start_again(&mut self) {
        let port = self.addr.port();
        for argument in &mut self.options.arguments {
            match argument.as_str() {
                "--port=0" => *argument = format!("--port={port}"),
                "--credentials-port=0" => {
                    let lines = lines_from(&self.options.log, self.log_from);
                    let addr = lines
                        .iter()
                        .find_map(|line| address(line, "credentials_addr"));
                    let port = addr.expect("a control port").port();
                    *argument = format!("--credentials-port={port}");
                }
                _ => {}
            }
        }
        (self.child, self.log_from) = spawn(&self.options);
        self.wait_listening().await;
    }

    /// Returns the log of all starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.options.log).unwrap_or_default()
    }

    /// Returns the JSON lines of this start's log.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        lines_from(&self.options.log, self.log_from)
    }

    /// Returns the log lines of level error, and those of panics.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let is_bad = |line: &&str| match serde_json::from_str::<Value>(line) {
            Ok(value) => value["level"]
                .as_str()
                .is_some_and(|level| level.eq_ignore_ascii_case("error")),
            Err(_) => line.contains("panicked at"),
        };
        log.lines().filter(is_bad).map(str::to_owned).collect()
    }

    /// Asserts that the service logged no error and did not panic.
    ///
    /// # Panics
    /// If it did.
    #[track_caller]
    pub fn assert_quiet(&self) {
        let complaints = self.complaints();
        assert!(
            complaints.is_empty(),
            "{} logged errors:\n{}",
            self.options.name,
            complaints.join("\n")
        );
    }

    /// Returns the path of its log.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.options.log
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            use std::io::Write;
            let name = &self.options.name;
            let _ = writeln!(
                std::io::stderr(),
                "--- the log of {name}:\n{}\n--- end",
                shown.join("\n")
            );
        }
    }
}

/// Returns the JSON lines of a log, from this offset.
fn lines_from(log: &Path, from: u64) -> Vec<Value> {
    let log = fs::read_to_string(log).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(0).min(log.len());
    log[from..]
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Returns the address in this field of the log line `listening`. tracing's JSON puts fields into
/// `fields`, unless it is configured to flatten them.
fn address(line: &Value, name: &str) -> Option<SocketAddr> {
    let field = |name: &str| {
        line["fields"][name]
            .as_str()
            .or_else(|| line[name].as_str())
    };
    (field("message") == Some("listening"))
        .then(|| field(name)?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> ServiceOptions {
        ServiceOptions {
            name: "shell".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            log: folder.join("log"),
        }
    }

    #[tokio::test]
    async fn a_service_listens_logs_an_error_and_is_killed_when_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = r#"exec >&2
            echo '{"level":"INFO","fields":{"message":"listening","addr":"127.0.0.1:7"}}'
            echo '{"level":"ERROR","fields":{"message":"oh"}}' >&2; exec sleep 100"#;
        let service = Service::start(shell(script, folder.path())).await;
        assert_eq!(service.addr().port(), 7);
        eventually("the complaint", Duration::from_secs(5), || {
            (service.complaints().len() == 1).then_some(())
        })
        .await;
        let pid = service.pid();
        drop(service);
        assert!(!processes::is_alive(pid));
    }

    #[tokio::test]
    async fn a_service_that_refuses_to_start_returns_its_code_and_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let (status, log) =
            Service::run_to_end(shell("echo no >&2; exit 64", folder.path()), START).await;
        assert_eq!((status.code(), log.as_str()), (Some(64), "no\n"));
    }

    #[test]
    fn an_address_is_read_from_flat_and_from_nested_fields() {
        let flat = serde_json::json!({"message": "listening", "addr": "127.0.0.1:9"});
        assert_eq!(address(&flat, "addr").map(|addr| addr.port()), Some(9));
        assert_eq!(
            address(
                &serde_json::json!({"fields": {"message": "other", "addr": "127.0.0.1:9"}}),
                "addr"
            ),
            None
        );
    }
}
