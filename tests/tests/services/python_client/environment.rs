//! The environments of the tests of the Python client, and the programs that run in them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Time limit of one program. The slowest takes 20 s on an idle machine.
const PYTHON: Duration = Duration::from_secs(180);

/// The folder of the client.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/python");

/// Two environments: the tools with the newest `websockets`, and the wheel with the oldest one.
#[derive(Debug)]
pub(super) struct Environment {
    tools: PathBuf,
    /// The Python of the environment with the installed wheel.
    installed: PathBuf,
}

/// What a program has written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) printed: String,
    pub(super) errors: String,
}

/// A Python program. It starts when its first line is read, or with [`Self::output`].
#[derive(Debug)]
pub(super) struct Script {
    command: Command,
    child: Option<Child>,
    reader: Option<BufReader<tokio::process::ChildStdout>>,
}

impl Environment {
    /// Returns the environments of this test process.
    pub(super) async fn get() -> &'static Self {
        static ENVIRONMENT: OnceCell<Environment> = OnceCell::const_new();
        ENVIRONMENT.get_or_init(Self::make).await
    }

    /// Builds a wheel, and installs it into a fresh environment without any network.
    async fn make() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib/python-client");
        let folder = run(&mut Command::new(script)).await.printed;
        let folder = Path::new(folder.trim());
        let tools = folder.join("tools/bin/python");
        // A static is never dropped, so the folder has a fixed place and replaces the last one.
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-client");
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh).expect("the old environment can be removed");
        }
        let dist = fresh.join("dist");
        let pip = |python: &Path, arguments: &[&str]| {
            let mut command = Command::new("python3");
            command.args(["-m", "pip", "--python"]).arg(python);
            command.args(arguments).args(["--quiet", "--no-index"]);
            command
        };
        let build = ["wheel", "--no-deps", "--no-build-isolation", CLIENT];
        run(pip(&tools, &build).arg("--wheel-dir").arg(&dist)).await;
        let venv = fresh.join("venv");
        let create = ["-m", "venv", "--without-pip"];
        run(Command::new("python3").args(create).arg(&venv)).await;
        let installed = venv.join("bin/python");
        let install = ["install", "cc-bridge"];
        let wheels = folder.join("wheels");
        let links = ["--find-links".as_ref(), dist.as_os_str()];
        let more_links = ["--find-links".as_ref(), wheels.as_os_str()];
        run(pip(&installed, &install).args(links).args(more_links)).await;
        Self { tools, installed }
    }

    /// Runs a tool in the folder of the client; it must succeed.
    pub(super) async fn tool(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.tools);
        run(command.arg("-m").args(arguments).current_dir(CLIENT)).await;
    }

    /// Returns a program that uses the installed wheel.
    pub(super) fn installed(&self, arguments: &[&str]) -> Script {
        Script::new(&self.installed, "tests", arguments)
    }

    /// Returns a program that uses the sources of the client.
    pub(super) fn with_sources(&self, arguments: &[&str]) -> Script {
        Script::new(&self.tools, "src:tests", arguments)
    }
}

impl Script {
    fn new(python: &Path, path: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(python);
        command
            .args(arguments)
            .current_dir(CLIENT)
            .env("PYTHONPATH", path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // The token file of the user who runs the tests must not count.
            .env("HOME", "/nonexistent")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in ["CCB_TOKEN", "CCB_TOKEN_FILE"] {
            command.env_remove(name);
        }
        Self {
            command,
            child: None,
            reader: None,
        }
    }

    pub(super) fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn start(&mut self) {
        if self.child.is_none() {
            let mut child = self.command.spawn().expect("Python starts");
            self.reader = child.stdout.take().map(BufReader::new);
            self.child = Some(child);
        }
    }

    /// Returns the next line that the program prints.
    pub(super) async fn line(&mut self) -> String {
        self.start();
        let mut line = String::new();
        let reader = self.reader.as_mut().expect("stdout is a pipe");
        let read = timeout(PYTHON, reader.read_line(&mut line)).await;
        let count = read.expect("a line in time").expect("stdout is readable");
        assert!(count > 0, "Python ended without a line");
        line.trim_end().to_owned()
    }

    /// Writes to the program's stdin.
    pub(super) async fn write(&mut self, text: &str) {
        let child = self.child.as_mut().expect("Python runs");
        let stdin = child.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(text.as_bytes()).await.expect("it is read");
    }

    /// Runs the program to its end; it must succeed. Returns what was not read before.
    pub(super) async fn output(mut self) -> Written {
        self.start();
        let child = self.child.take().expect("Python runs");
        let mut reader = self.reader.take().expect("stdout is a pipe");
        let mut printed = String::new();
        let both = async {
            tokio::join!(
                reader.read_to_string(&mut printed),
                child.wait_with_output()
            )
        };
        let (read, output) = timeout(PYTHON, both).await.expect("Python ends");
        read.expect("stdout is UTF-8");
        let output = output.expect("Python ends");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}\n{errors}");
        Written { printed, errors }
    }
}

/// Runs a command to its end; it must succeed.
async fn run(command: &mut Command) -> Written {
    command.kill_on_drop(true).stdin(Stdio::null());
    let output = timeout(PYTHON, command.output()).await;
    let output = output
        .expect("the command ends")
        .expect("the command starts");
    let written = Written {
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(output.status.success(), "{command:?}: {written:?}");
    written
}
