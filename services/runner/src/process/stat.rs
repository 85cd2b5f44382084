//! Parsers of `/proc/PID/stat`, and of the pending signals in `/proc/PID/status` (proc_pid_stat(5),
//! proc_pid_status(5)).

/// The identity of a process: its id and its start time. A later process may get the same id, but
/// has another start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    /// The process id.
    pub(crate) pid: u32,
    /// The start time, in clock ticks since the boot (field 22 of `/proc/PID/stat`).
    pub(crate) start_ticks: u64,
}

/// The state of a process, reduced to what matters for suspending and killing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Running, or asleep and able to run at any time (R, S, I and others in proc(5)).
    Active,
    /// In an uninterruptible wait (D), for a disk or as a vfork parent until its child calls exec.
    Waiting,
    /// Suspended by a signal such as SIGSTOP (T) or by a tracer (t).
    Stopped,
    /// Dead, but not reaped by its parent yet (Z, X).
    Zombie,
}

/// The facts about one process that this crate uses from `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process id and the start time.
    pub(crate) id: Identity,
    /// The process id of the parent.
    pub(crate) parent: u32,
    /// The name of the process (`comm`), at most 15 bytes. Bytes that are not UTF-8 are replaced.
    pub(crate) command: String,
    /// The state, reduced to what matters for suspending and killing.
    pub(crate) state: State,
    /// The state letter as in the file, such as `D`, for reports.
    pub(crate) letter: char,
    /// The number of threads of the process.
    pub(crate) threads: u64,
    /// The CPU time (user and system) of the process and of the children that it has reaped, in
    /// clock ticks.
    pub(crate) cpu_ticks: u64,
}

impl Stat {
    /// Parses the content of `/proc/PID/stat`. `None` if it is malformed. The process name may
    /// contain any bytes, also spaces and parentheses.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        // The name is in parentheses and may itself contain spaces and parentheses; the last one
        // closes it.
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(line.get(..open)?)
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let command = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        // Field numbers start at 3 here, as in the manual.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let number = |index: usize| field(index).and_then(|text| text.parse::<u64>().ok());
        let signed = |index: usize| field(index).and_then(|text| text.parse::<i64>().ok());
        let letter = field(3)?.chars().next()?;
        let state = match letter {
            'T' | 't' => State::Stopped,
            'D' => State::Waiting,
            'Z' | 'X' | 'x' => State::Zombie,
            _ => State::Active,
        };
        let reaped = u64::try_from(signed(16)?.max(0) + signed(17)?.max(0)).ok()?;
        Some(Self {
            id: Identity {
                pid,
                start_ticks: number(22)?,
            },
            parent: field(4)?.parse().ok()?,
            command,
            state,
            letter,
            threads: number(20)?,
            cpu_ticks: number(14)? + number(15)? + reaped,
        })
    }

    /// Whether `other` is the same process (id and start time) and still has the same parent.
    pub(crate) fn is_same_with_parent(&self, other: &Self) -> bool {
        self.id == other.id && self.parent == other.parent
    }
}

/// Whether SIGSTOP (signal 19) is pending in the content of `/proc/PID/status`. Checks `ShdPnd`,
/// the mask of signals that are pending for the whole process. False if the line is missing or
/// malformed.
pub(super) fn stop_is_pending(status: &str) -> bool {
    /// The bit of SIGSTOP (signal 19) in a mask of signals.
    const SIGSTOP_BIT: u64 = 1 << 18;
    status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & SIGSTOP_BIT != 0)
}

/// Whether SIGSTOP or SIGKILL is pending in the content of `/proc/PID/status`. SIGKILL (signal 9)
/// is also searched in `SigPnd`, the mask of a thread, because the kernel puts it there too.
pub(super) fn halt_is_pending(status: &str) -> bool {
    /// The bit of SIGKILL (signal 9) in a mask of signals.
    const SIGKILL_BIT: u64 = 1 << 8;
    let killed = status
        .lines()
        .filter_map(|line| {
            line.strip_prefix("SigPnd:")
                .or_else(|| line.strip_prefix("ShdPnd:"))
        })
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & SIGKILL_BIT != 0);
    killed || stop_is_pending(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "4242 (a) b (c) R 17 4242 4242 0 -1 4194560 900 0 0 0 7 5 3 2 20 0 6 0 987654 1000 200 1 1";

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = Stat::parse(LINE.as_bytes()).expect("a stat line");
        assert_eq!(
            stat.id,
            Identity {
                pid: 4242,
                start_ticks: 987_654
            }
        );
        assert_eq!(stat.command, "a) b (c");
        assert_eq!((stat.parent, stat.threads, stat.cpu_ticks), (17, 6, 17));
        assert_eq!(stat.state, State::Active);
    }

    #[test]
    fn every_state_letter_is_mapped() {
        let state_of = |letter: &str| {
            Stat::parse(LINE.replace(" R 17", &format!(" {letter} 17")).as_bytes()).map(|s| s.state)
        };
        for letter in ["T", "t"] {
            assert_eq!(state_of(letter), Some(State::Stopped));
        }
        for letter in ["Z", "X"] {
            assert_eq!(state_of(letter), Some(State::Zombie));
        }
        for letter in ["R", "S", "I"] {
            assert_eq!(state_of(letter), Some(State::Active));
        }
        assert_eq!(state_of("D"), Some(State::Waiting));
    }

    #[test]
    fn a_name_need_not_be_utf8_and_a_short_line_is_rejected() {
        let mut line = LINE.as_bytes().to_vec();
        line[6] = 0xff;
        assert!(Stat::parse(&line).is_some());
        assert_eq!(Stat::parse(b"12 (x) R 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn only_sigstop_in_shdpnd_is_a_pending_stop() {
        assert!(stop_is_pending(
            "SigPnd:\t0000000000000000\nShdPnd:\t0000000000040000\n"
        ));
        assert!(!stop_is_pending(
            "SigPnd:\t0000000000040000\nShdPnd:\t0000000000020000\n"
        ));
        assert!(!stop_is_pending(""));
    }

    #[test]
    fn a_pending_kill_or_stop_is_a_pending_halt() {
        for status in [
            "SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n",
            "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n",
            "ShdPnd:\t0000000000040000\n",
        ] {
            assert!(halt_is_pending(status), "{status}");
        }
        assert!(!halt_is_pending("SigPnd:\t0000000000040000\n"));
    }
}
