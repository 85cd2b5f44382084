//! A filter of system calls (seccomp(2)). It refuses the calls by which a tool could affect other
//! processes of the same user in ways that Landlock does not prevent, such as changing their
//! limits. The filter is inherited by all processes of the execution, and they cannot leave it.
//!
//! A refused call fails with EPERM ("Operation not permitted"). A call of another architecture than
//! the runner's ends its process (SIGSYS), because its call numbers differ.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// System calls for System V shared memory, semaphores and message queues, and for POSIX message
/// queues. These objects belong to a user, not to a process, and their ids can be guessed. So the
/// list has every call that uses an id, not only the calls that create one.
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

/// System calls that change how a process is scheduled. Their first argument is the process id; 0
/// means the caller. `sched_setaffinity` is not included, because thread libraries call it with the
/// id of their own thread.
const SCHEDULING: [libc::c_long; 3] = [
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
];

/// System calls that change the priority of a process, a group or a user. Their first argument is
/// the kind of target, and the second its id. Each call has the value that means a process; process
/// 0 is the caller.
const TARGET_KIND: [(libc::c_long, libc::c_uint); 2] = [
    (libc::SYS_setpriority, libc::PRIO_PROCESS),
    // IOPRIO_WHO_PROCESS of ioprio_set(2), which libc does not define.
    (libc::SYS_ioprio_set, 1),
];

/// The bit that marks a system call of the x32 ABI. Linux on x86-64 may accept each call also by
/// its x32 number, so the filter has rules for both numbers; otherwise it could be bypassed.
const X32: libc::c_long = 0x4000_0000;

/// Whether this kernel and this architecture support filters of system calls that return an error.
/// False if the kernel's list of filter actions cannot be read.
pub(super) fn is_supported() -> bool {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    TargetArch::try_from(ARCH).is_ok()
        && actions.is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"))
}

/// Compiles the filter of system calls (BPF program) for one execution. With `allow_ipc`, the calls
/// in [`USER_IPC`] (shared memory, semaphores and queues) stay allowed.
///
/// # Errors
/// The filter could not be compiled, for example because the architecture is not supported.
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
    compile()
        .map_err(|error| io::Error::other(format!("could not compile the seccomp filter: {error}")))
}

/// Returns the refused system calls with their rules, by call number. A call is refused if one of
/// its rules matches. A call with an empty list is always refused; a call that is not in the map is
/// allowed.
fn rules(allow_ipc: bool) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules = BTreeMap::new();
    if !allow_ipc {
        rules.extend(USER_IPC.map(|call| (call, Vec::new())));
    }
    let is_not_caller =
        |argument| condition(argument, SeccompCmpOp::Ne, SeccompCmpArgLen::Dword, 0);
    for call in SCHEDULING {
        rules.insert(call, vec![SeccompRule::new(vec![is_not_caller(0)?])?]);
    }
    for (call, process) in TARGET_KIND {
        let group = condition(0, SeccompCmpOp::Ne, SeccompCmpArgLen::Dword, process.into())?;
        let refused = [is_not_caller(1)?, group].map(|condition| SeccompRule::new(vec![condition]));
        rules.insert(call, refused.into_iter().collect::<Result<_, _>>()?);
    }
    // Reading the limits of another process stays allowed: the third argument is set only to change
    // them.
    let set = condition(2, SeccompCmpOp::Ne, SeccompCmpArgLen::Qword, 0)?;
    let limits = SeccompRule::new(vec![is_not_caller(0)?, set])?;
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

/// Creates a condition on one argument of a system call: `argument` is its position from 0, and
/// `length` how many of its bits are compared with `value`.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    length: SeccompCmpArgLen,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, length, operator, value)
}
