//! System calls that reach another process of the same user in ways that Landlock does not know. A
//! seccomp filter (seccomp(2)) refuses them; like the domain it is inherited, and none can leave it.
//!
//! A refused call fails with "Operation not permitted". Calls of another architecture than the
//! runner's end their process (SIGSYS), because the numbers of calls differ there.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Memory, queues and semaphores of System V, and queues of POSIX: they belong to a user, not to a
/// process, and their numbers can be guessed. Each call that takes a number is named, not only
/// those that make one.
const USER_IPC: [libc::c_long; 13] = [
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Calls that change how the process of their first argument is scheduled; 0 is the caller. Not
/// `sched_setaffinity`: libraries for threads call it with the number of a thread of their own.
const SCHEDULING: [libc::c_long; 3] = [
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
];

/// Calls whose first argument says what the second one names: a process, a group or a user. With the
/// value that means a process; 0 of it is the caller.
const TARGET_KIND: [(libc::c_long, libc::c_uint); 2] = [
    (libc::SYS_setpriority, libc::PRIO_PROCESS),
    // ioprio_set(2); libc has no name for it.
    (libc::SYS_ioprio_set, 1),
];

/// Linux on x86-64 may accept each call also by its number for x32, which is the number with this
/// bit. Without rules for them the filter could be passed by.
const X32: libc::c_long = 0x4000_0000;

/// Says whether this kernel and architecture have such filters.
pub(super) fn is_supported() -> bool {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    TargetArch::try_from(ARCH).is_ok()
        && actions.is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"))
}

/// The filter of an execution. With `allow_ipc` the calls of [`USER_IPC`] stay open.
///
/// # Errors
/// The filter could not be compiled.
pub(super) fn filter(allow_ipc: bool) -> io::Result<BpfProgram> {
    let compile = || {
        let filter = SeccompFilter::new(
            rules(allow_ipc)?,
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            TargetArch::try_from(ARCH)?,
        )?;
        BpfProgram::try_from(filter)
    };
    compile().map_err(|error| io::Error::other(format!("no filter could be made: {error}")))
}

/// What is refused, by the number of the call; any one rule of a call is enough.
fn rules(allow_ipc: bool) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules = BTreeMap::new();
    if !allow_ipc {
        rules.extend(USER_IPC.map(|call| (call, Vec::new())));
    }
    let other = |argument| condition(argument, SeccompCmpOp::Ne, SeccompCmpArgLen::Dword, 0);
    for call in SCHEDULING {
        rules.insert(call, vec![SeccompRule::new(vec![other(0)?])?]);
    }
    for (call, process) in TARGET_KIND {
        let group = condition(0, SeccompCmpOp::Ne, SeccompCmpArgLen::Dword, process.into())?;
        let refused = [other(1)?, group].map(|one| SeccompRule::new(vec![one]));
        rules.insert(call, refused.into_iter().collect::<Result<_, _>>()?);
    }
    // Reading the limits of another process stays open: there is a second pointer only to set them.
    let set = condition(2, SeccompCmpOp::Ne, SeccompCmpArgLen::Qword, 0)?;
    let limits = SeccompRule::new(vec![other(0)?, set])?;
    rules.insert(libc::SYS_prlimit64, vec![limits]);
    if ARCH == "x86_64" {
        let x32: Vec<_> = rules
            .iter()
            .map(|(call, rules)| (call | X32, rules.clone()))
            .collect();
        rules.extend(x32);
    }
    Ok(rules)
}

fn condition(
    argument: u8,
    how: SeccompCmpOp,
    length: SeccompCmpArgLen,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, length, how, value)
}
