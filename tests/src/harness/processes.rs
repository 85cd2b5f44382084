//! Reads the processes of this machine from `/proc` (proc(5)).

use std::{fs, path::Path, time::Duration};

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// `R`, `S`, `D`, `T` (stopped), `Z` (zombie) ...
    pub state: char,
    /// Its arguments, joined by spaces.
    pub arguments: String,
}

fn read(pid: i32) -> Option<Process> {
    let folder = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name is in parentheses and may hold any characters, parentheses too.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let arguments = fs::read(folder.join("cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments)
        .replace('\0', " ")
        .trim_end()
        .to_owned();
    Some(Process {
        pid,
        parent,
        state,
        arguments,
    })
}

/// Returns all processes.
#[must_use]
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

/// The state of a process, as in [`Process::state`]; `None` when it is gone.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    Some(read(pid)?.state)
}

/// Whether a process exists and is no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    read(pid).is_some_and(|process| process.state != 'Z')
}

/// Returns the processes whose arguments or environment hold the marker, except zombies and this
/// process.
#[must_use]
pub fn marked(marker: &str) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found = all();
    found.retain(|process| {
        let environment = || {
            let environment =
                fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(marker)
        };
        process.pid != own
            && process.state != 'Z'
            && (process.arguments.contains(marker) || environment())
    });
    found
}

/// The zombies whose parent is this process.
#[must_use]
pub fn zombies(parent: i32) -> Vec<Process> {
    all()
        .into_iter()
        .filter(|process| process.state == 'Z' && process.parent == parent)
        .collect()
}

/// The descendants of a process.
#[must_use]
pub fn descendants(root: i32) -> Vec<Process> {
    let everybody = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in everybody.iter().filter(|process| process.parent == parent) {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

/// Returns the targets of a process's open descriptors, sorted.
///
/// # Errors
/// If the process is gone, or this user may not read its descriptors.
pub fn descriptors(pid: i32) -> std::io::Result<Vec<String>> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let mut targets: Vec<String> = open
        .flatten()
        .filter_map(target)
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    targets.sort_unstable();
    Ok(targets)
}

/// Returns the resident memory of a process in bytes; `None` when it is gone.
#[must_use]
pub fn resident_bytes(pid: i32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

/// Returns the peak resident memory of a process in bytes; `None` when it is gone.
#[must_use]
pub fn peak_bytes(pid: i32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: i32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Waits until no process with the marker is left.
///
/// # Panics
/// If a process is left after `patience`; the message names it.
pub async fn assert_none_marked(marker: &str, patience: Duration) {
    let end = std::time::Instant::now() + patience;
    loop {
        let left = marked(marker);
        if left.is_empty() {
            return;
        }
        assert!(
            std::time::Instant::now() < end,
            "after {patience:?} these processes are left: {left:#?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_marked_process_is_listed_until_it_ends_and_then_is_a_zombie() {
        let marker = uuid::Uuid::new_v4().to_string();
        let mut by_argument = Command::new("sh")
            .args(["-c", "read x", &marker])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut by_environment = Command::new("cat")
            .env("MARK", &marker)
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat starts");
        assert_eq!(marked(&marker).len(), 2);
        let pid = i32::try_from(by_argument.id()).expect("a pid");
        assert!(is_alive(pid) && resident_bytes(pid) <= peak_bytes(pid));
        assert!(resident_bytes(pid).is_some());
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(descendants(own).iter().any(|process| process.pid == pid));
        by_argument.kill().expect("kills");
        super::super::eventually("a zombie", Duration::from_secs(5), || {
            zombies(own).into_iter().find(|zombie| zombie.pid == pid)
        })
        .await;
        assert!(!is_alive(pid));
        by_argument.wait().expect("reaps");
        drop(by_environment.stdin.take());
        by_environment.wait().expect("ends");
        assert_none_marked(&marker, Duration::from_secs(5)).await;
    }
}
