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

/// A debug build on a busy machine takes its time.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(20);
/// What a failing test shows of a log.
const SHOWN_LINES: usize = 80;

/// What is started.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// For messages and the log's name.
    pub name: String,
    /// What is run.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment, nothing inherited but `PATH`.
    pub environment: Vec<(String, String)>,
    /// Where the log goes; appended to when it is started again.
    pub log: PathBuf,
}

/// A running service. Killed when dropped; its log is shown when the test fails.
#[derive(Debug)]
pub struct Service {
    options: ServiceOptions,
    child: Child,
    addr: SocketAddr,
    /// Where the log of this start begins.
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
    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// If it ends, or does not listen in time; its log is shown.
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

    /// Runs it to its end (it is expected to refuse): the exit status and the log.
    ///
    /// # Panics
    /// If it still runs after `patience`.
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
            self.lines().iter().find_map(listening)
        })
        .await;
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR/path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Its process id.
    ///
    /// # Panics
    /// Never: Linux has 22 bits of them.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id fits")
    }

    /// Its resident memory in bytes, its children aside.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        processes::resident_bytes(self.pid())
            .unwrap_or_else(|| panic!("{} is gone\n{}", self.options.name, self.log()))
    }

    /// The most resident memory that it ever had since its start, in bytes, its children aside.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        processes::peak_bytes(self.pid())
            .unwrap_or_else(|| panic!("{} is gone\n{}", self.options.name, self.log()))
    }

    /// The zombies it keeps.
    #[must_use]
    pub fn zombies(&self) -> usize {
        processes::zombies(self.pid()).len()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Its exit status, where it has ended by itself.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// kill -9, and reaps it.
    ///
    /// # Panics
    /// If it cannot be reaped.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child can be reaped");
    }

    /// SIGTERM, then waits for its end.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(STOP).await
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn wait_exit(&mut self, patience: Duration) -> ExitStatus {
        let name = self.options.name.clone();
        eventually(&format!("{name} to end"), patience, || {
            self.child.try_wait().ok().flatten()
        })
        .await
    }

    /// Starts it again, with the same arguments and directories, on the same port. It must have ended.
    ///
    /// # Panics
    /// If it does not listen in time.
    pub async fn start_again(&mut self) {
        let port = self.addr.port();
        for argument in &mut self.options.arguments {
            if argument == "--port=0" {
                *argument = format!("--port={port}");
            }
        }
        (self.child, self.log_from) = spawn(&self.options);
        self.wait_listening().await;
    }

    /// The whole log, of all starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.options.log).unwrap_or_default()
    }

    /// The log's lines of this start that are JSON.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let log = self.log();
        let from = usize::try_from(self.log_from).unwrap_or(0).min(log.len());
        log[from..]
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Lines of level error, and what a panic wrote.
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

    /// Asserts that nothing was logged as an error, and that nothing panicked.
    ///
    /// # Panics
    /// If something was.
    #[track_caller]
    pub fn assert_quiet(&self) {
        let complaints = self.complaints();
        assert!(
            complaints.is_empty(),
            "{} complained:\n{}",
            self.options.name,
            complaints.join("\n")
        );
    }

    /// Where its log is.
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

/// The address in the line that says so. tracing's JSON puts fields into `fields`, unless it is told to
/// flatten them.
fn listening(line: &Value) -> Option<SocketAddr> {
    let field = |name: &str| {
        line["fields"][name]
            .as_str()
            .or_else(|| line[name].as_str())
    };
    (field("message") == Some("listening"))
        .then(|| field("addr")?.parse().ok())
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
    async fn a_service_listens_complains_and_is_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = r#"echo '{"level":"INFO","fields":{"message":"listening","addr":"127.0.0.1:7"}}' >&2
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
    async fn one_that_refuses_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let (status, log) =
            Service::run_to_end(shell("echo no >&2; exit 64", folder.path()), START).await;
        assert_eq!((status.code(), log.as_str()), (Some(64), "no\n"));
    }

    #[test]
    fn both_ways_to_log_an_address() {
        let flat = serde_json::json!({"message": "listening", "addr": "127.0.0.1:9"});
        assert_eq!(listening(&flat).map(|addr| addr.port()), Some(9));
        assert_eq!(
            listening(&serde_json::json!({"fields": {"message": "other", "addr": "127.0.0.1:9"}})),
            None
        );
    }
}
