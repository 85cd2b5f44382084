//! Who is a child of whom: `/proc/PID/task/*/children` of every thread, or a scan of `/proc` where the kernel has no
//! such file (`CONFIG_PROC_CHILDREN`).

use std::{fs, sync::OnceLock};

use super::look::look;

/// The children of a process, zombies included. While they come and go the list can miss some (proc(5) promises it
/// only for stopped ones), so whoever needs all asks until two answers agree.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    static KERNEL_LISTS_CHILDREN: OnceLock<bool> = OnceLock::new();
    let own = std::process::id();
    if *KERNEL_LISTS_CHILDREN
        .get_or_init(|| fs::metadata(format!("/proc/{own}/task/{own}/children")).is_ok())
    {
        listed(parent)
    } else {
        scanned(parent)
    }
}

fn listed(parent: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        if let Ok(list) = fs::read_to_string(thread.path().join("children")) {
            found.extend(
                list.split_ascii_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    found
}

fn scanned(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| look(*pid).is_some_and(|stat| stat.parent == parent))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn both_ways_see_a_child_of_any_thread() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep is there");
        let pid = child.id();
        let own = std::process::id();
        let seen = (listed(own).contains(&pid), scanned(own).contains(&pid));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(seen, (true, true));
        assert!(
            !listed(own).contains(&pid) && !scanned(own).contains(&pid),
            "a reaped child is none"
        );
    }
}
