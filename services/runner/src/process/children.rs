//! Lists the children of a process. Reads `/proc/PID/task/*/children` of every thread, or scans all
//! of `/proc` if the kernel was built without these files (`CONFIG_PROC_CHILDREN`).

use std::{fs, sync::OnceLock};

use super::read::read_stat;

/// Lists the ids of the children of the process `parent`, including zombies. Empty if `parent` does
/// not exist.
///
/// Children that start or end during the call may be missing, because proc(5) guarantees the list
/// only for stopped processes. A caller that needs all of them repeats the call until two results
/// agree.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    /// Whether this kernel has the `children` files; checked once.
    static KERNEL_LISTS_CHILDREN: OnceLock<bool> = OnceLock::new();
    let own = std::process::id();
    if *KERNEL_LISTS_CHILDREN
        .get_or_init(|| fs::metadata(format!("/proc/{own}/task/{own}/children")).is_ok())
    {
        list_from_task_files(parent)
    } else {
        scan_proc(parent)
    }
}

/// Lists the children of the process `parent` from the `children` files of its threads. Empty if it
/// does not exist.
fn list_from_task_files(parent: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
        return Vec::new();
    };
    let mut pids = Vec::new();
    for thread in threads.flatten() {
        if let Ok(list) = fs::read_to_string(thread.path().join("children")) {
            pids.extend(
                list.split_ascii_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    pids
}

/// Lists the children of the process `parent` by reading the parent of every process in `/proc`.
fn scan_proc(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| read_stat(*pid).is_some_and(|stat| stat.parent == parent))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn both_methods_list_a_child_of_any_thread() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep exists");
        let pid = child.id();
        let own = std::process::id();
        let seen = (
            list_from_task_files(own).contains(&pid),
            scan_proc(own).contains(&pid),
        );
        child.kill().expect("own child");
        child.wait().expect("own child");
        assert_eq!(seen, (true, true));
        assert!(
            !list_from_task_files(own).contains(&pid) && !scan_proc(own).contains(&pid),
            "a reaped child is not listed"
        );
    }
}
