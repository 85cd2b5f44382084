//! A real terminal with a program on it: tmux, which obeys escape sequences and wraps lines as the
//! terminals of people do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cc_tests::harness::{binary, eventually};
use tempfile::TempDir;

/// The time in which a text must appear, or the program must end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal of 80 columns and 24 rows. It ends when it is dropped.
pub(super) struct Tmux {
    program: PathBuf,
    /// Holds the socket, the program's stdin, and everything that was written to the terminal.
    folder: TempDir,
}

impl Tmux {
    /// Starts `ccb` with these words on a new terminal. stdin is a file with this text.
    pub(super) async fn ccb(words: &str, stdin: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("stdin"), stdin).expect("a file");
        let program = tokio::task::spawn_blocking(program).await;
        let tmux = Self {
            program: program.expect("a path"),
            folder,
        };
        let path = |name| tmux.folder.path().join(name).display().to_string();
        // The program starts when everything that it writes is recorded. The shell has a trap for
        // Ctrl-C, so that it survives its child. It writes the exit code, because tmux may lose it.
        let command = format!(
            "until test -e '{}'; do sleep 0.05; done; trap : INT; '{}' {words} <'{}'; \
             echo $? >'{}'",
            path("go"),
            binary("ccb").display(),
            path("stdin"),
            path("code"),
        );
        let settings = "start-server ; set -g remain-on-exit on ; set -g status off ; \
                        set -g history-limit 50000 ; new-session -d -x 80 -y 24";
        let settings: Vec<_> = settings.split_whitespace().collect();
        tmux.run(&[&settings[..], &["sh", "-c", &command]].concat());
        tmux.run(&["pipe-pane", "-o", &format!("cat >'{}'", path("raw"))]);
        std::fs::write(path("go"), "").expect("a file");
        tmux
    }

    /// Runs a command of tmux, which must succeed. Returns what it prints.
    fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().expect("tmux starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {words:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let socket = self.folder.path().join("socket");
        let mut command = Command::new(&self.program);
        command.args(["-u", "-f", "/dev/null", "-S"]).arg(socket);
        command.args(words).env("HOME", "/nonexistent");
        for name in ["TMUX", "XDG_CONFIG_HOME", "CCB_TOKEN", "CCB_TOKEN_FILE"] {
            command.env_remove(name);
        }
        command
    }

    /// Types a text, and then Enter.
    pub(super) fn type_line(&self, text: &str) {
        if !text.is_empty() {
            self.run(&["send-keys", "-l", text]);
        }
        self.key("Enter");
    }

    /// Presses a key, by its name in tmux, such as `C-c`.
    pub(super) fn key(&self, name: &str) {
        self.run(&["send-keys", name]);
    }

    pub(super) fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.run(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// Returns the rows that a person sees, without empty ones at the end.
    pub(super) fn screen(&self) -> Vec<String> {
        let text = self.run(&["capture-pane", "-p"]);
        text.trim_end().lines().map(str::to_owned).collect()
    }

    /// Returns the whole text, with the rows that were scrolled away. Lines that the terminal has
    /// wrapped are joined.
    pub(super) fn history(&self) -> String {
        self.run(&["capture-pane", "-p", "-J", "-S", "-"])
    }

    /// Returns the title of the terminal, which an escape sequence could change.
    pub(super) fn title(&self) -> String {
        self.run(&["display", "-p", "#{pane_title}"])
    }

    /// Returns the bytes that were written to the terminal.
    pub(super) fn raw(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("raw")).expect("the record")
    }

    /// Waits until the screen matches. Returns it.
    pub(super) async fn wait(
        &self,
        what: &str,
        matches: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if matches(&screen) {
                return screen;
            }
            let shown = screen.join("\n");
            assert!(
                std::time::Instant::now() < end,
                "{what} is missing:\n{shown}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the last row is a prompt that ends so, and this text is on the screen.
    pub(super) async fn wait_prompt(&self, text: &str, prompt: &str) -> Vec<String> {
        let matches = |screen: &[String]| {
            let joined: String = screen.concat();
            joined.contains(text) && joined.trim_end().ends_with(prompt)
        };
        self.wait(&format!("{text:?} with the prompt {prompt:?}"), matches)
            .await
    }

    /// Waits for the end of the program. Returns its exit code.
    pub(super) async fn exit_code(&self) -> i32 {
        let path = self.folder.path().join("code");
        let code = || {
            let code = std::fs::read_to_string(&path).ok()?;
            // The file exists before its line is complete.
            Some(code.strip_suffix('\n')?.parse().expect("an exit code"))
        };
        eventually("the end of ccb", PATIENCE, code).await
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // A second panic would hide the first one.
        if std::thread::panicking() {
            let shown = self.command(&["capture-pane", "-p", "-S", "-"]).output();
            let shown = shown.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("the terminal:\n{}", shown.unwrap_or_default());
        }
        let _ = self.command(&["kill-server"]).output();
    }
}

/// Returns the path of the tmux that `scripts/lib/tmux` finds or prepares.
fn program() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib/tmux");
    let output = Command::new(script).output().expect("the script starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "no tmux: {errors}");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
