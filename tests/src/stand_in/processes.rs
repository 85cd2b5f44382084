//! The processes that a run leaves behind: the stand-in starts itself with a role. Each has the
//! session id as an argument, and ends by itself after [`LIFE`], in case a test does not end it.

use std::{
    io::Write,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

const LIFE: Duration = Duration::from_secs(300);
const PACE: Duration = Duration::from_millis(10);
/// The number of children of one process of a tree.
const FAN: u64 = 4;

/// The first argument of such a process.
pub(super) const ROLE: &str = "__role";

fn start(
    role: &str,
    session: &str,
    more: &[String],
    prepare: impl FnOnce(&mut Command) -> &mut Command,
) {
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let mut command = Command::new(program);
    command
        .args([ROLE, role, session])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Err(error) = prepare(&mut command).spawn() {
        let _ = writeln!(
            std::io::stderr(),
            "stand-in: cannot start a {role}: {error}"
        );
    }
}

/// Starts a daemon: its own session, a double fork, a cleared environment, nothing inherited.
pub(super) fn daemon(session: &str, file: Option<&str>) {
    start(
        "daemon-parent",
        session,
        &[file.unwrap_or_default().to_owned()],
        |command| command.env_clear(),
    );
}

/// Starts a tree of processes; the first one has its own session.
pub(super) fn tree(session: &str, count: u64, file: Option<&str>) {
    if count > 0 {
        let more = [count.to_string(), file.unwrap_or_default().to_owned()];
        start("tree-leader", session, &more, |command| command);
    }
}

/// Starts a grandchild that keeps stdout open.
pub(super) fn hold_stdout(session: &str, time: Duration) {
    start(
        "holder-parent",
        session,
        &[time.as_secs_f64().to_string()],
        |command| command.stdout(Stdio::inherit()),
    );
}

/// Runs a process with a role. `arguments`: role, session, then the role's own arguments.
pub(super) fn play(arguments: &[String]) -> ExitCode {
    let word = |at: usize| arguments.get(at).map_or("", String::as_str);
    let (role, session, first) = (word(0), word(1), word(2));
    match role {
        "daemon-parent" => {
            own_session();
            start("daemon", session, &[first.to_owned()], |command| {
                command.env_clear()
            });
        }
        "daemon" => count_in(first, LIFE),
        "tree-leader" => {
            own_session();
            grow(session, first.parse().unwrap_or(1), word(3));
        }
        "tree" => grow(session, first.parse().unwrap_or(1), word(3)),
        "holder-parent" => {
            own_session();
            start("holder", session, &[first.to_owned()], |command| {
                command.stdout(Stdio::inherit())
            });
        }
        "holder" => std::thread::sleep(
            Duration::try_from_secs_f64(first.parse().unwrap_or(0.0)).unwrap_or(LIFE),
        ),
        _ => return ExitCode::from(64),
    }
    ExitCode::SUCCESS
}

fn own_session() {
    // This fails only for the leader of a group, which a new child is not.
    let _ = rustix::process::setsid();
}

fn grow(session: &str, count: u64, file: &str) {
    let mut rest = count - 1;
    for left in (1..=FAN).rev() {
        let share = rest.div_ceil(left);
        if share > 0 {
            start(
                "tree",
                session,
                &[share.to_string(), String::new()],
                |command| command,
            );
        }
        rest -= share;
    }
    count_in(file, LIFE);
}

/// Writes an increasing number to the file, or sleeps without a file.
fn count_in(file: &str, life: Duration) {
    if file.is_empty() {
        return std::thread::sleep(life);
    }
    let end = Instant::now() + life;
    let mut count = 0_u64;
    while Instant::now() < end {
        count += 1;
        // A reader must never see an empty file: the number has a fixed length.
        if let Ok(mut out) = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(file)
        {
            let _ = out.write_all(format!("{count:010}").as_bytes());
        }
        std::thread::sleep(PACE);
    }
}
