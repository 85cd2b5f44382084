//! `ccb` on a terminal of its own (a pseudo-terminal), with a person who types.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The time in which a text must appear on the terminal.
const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal with `ccb` on it.
pub(crate) struct Terminal {
    master: Arc<OwnedFd>,
    /// Everything that was written to the terminal so far.
    screen: Arc<Mutex<Vec<u8>>>,
    /// The length of the screen up to which [`Self::wait_for`] has read.
    read: usize,
    child: Child,
}

impl Terminal {
    /// Starts `ccb` with stdin, stdout and stderr on a new terminal, on which this was typed
    /// before.
    pub(crate) fn start(command: &Command, typed: &str) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let master = Arc::new(master);
        resize(&master, 80, 30);
        rustix::io::write(&master, typed.as_bytes()).unwrap();
        // setsid makes the terminal the one of the new process, so that /dev/tty names it.
        let standard = command.as_std();
        #[expect(clippy::disallowed_methods, reason = "a test ends what it starts")]
        let mut session = Command::new("setsid");
        session
            .args(["--ctty", "--wait"])
            .arg(standard.get_program());
        session.args(standard.get_args());
        for (name, value) in standard.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let open = || Stdio::from(slave.try_clone().unwrap());
        session.stdin(open()).stdout(open()).stderr(open());
        let child = session.kill_on_drop(true).spawn().unwrap();
        drop(slave);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (reader, shown) = (Arc::clone(&master), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            // Reading from a terminal without writers ends in an error.
            while let Ok(n @ 1..) = rustix::io::read(&reader, &mut some) {
                shown.lock().unwrap().extend_from_slice(&some[..n]);
            }
        });
        Self {
            master,
            screen,
            read: 0,
            child,
        }
    }

    /// Types a text.
    pub(crate) fn type_in(&self, text: &str) {
        rustix::io::write(&self.master, text.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        resize(&self.master, columns, rows);
    }

    /// Returns everything that was shown, with newlines as they were written.
    pub(crate) fn screen(&self) -> String {
        let bytes = self.screen.lock().unwrap().clone();
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }

    /// Waits until this text appears behind the text of the last call.
    pub(crate) async fn wait_for(&mut self, text: &str) {
        let find = async {
            loop {
                let screen = self.screen();
                if let Some(at) = screen[self.read..].find(text) {
                    self.read += at + text.len();
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let found = timeout(PATIENCE, find).await;
        assert!(found.is_ok(), "{text:?} is missing in {}", self.screen());
    }

    /// Waits for the end, and returns the exit code.
    pub(crate) async fn exit_code(&mut self) -> i32 {
        let status = timeout(PATIENCE, self.child.wait()).await;
        status.expect("ccb hangs").unwrap().code().unwrap()
    }
}

fn resize(master: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).unwrap();
}
