//! The main loop of a runner process after the CLI was started: carries out commands of claude-api,
//! reaps dead processes, and kills the remaining processes at the end.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::Signal,
};

use super::{
    control::ControlSocket,
    live_table::{LiveTable, continue_stragglers, continue_tree, signal_child, signal_others},
    reap::{Ending, Reaped, reap},
};
use crate::{
    process::{State, children, descendants, own_pid, read_stat, unkillable},
    stop::{Root, RoundResult, StopWalk},
    sweep::Sweep,
    wire::{Action, Command, Event, Unkillable},
};

/// The time within which all processes of an execution must be suspended for a pause (2 s). After
/// it, the pause is reported as complete, with a warning that counts the others.
const WALK_LIMIT: Duration = Duration::from_secs(2);
/// The wait between two rounds of suspending processes (1 ms), in which signals take effect and
/// other commands are handled.
const ROUND_PAUSE: Duration = Duration::from_millis(1);

/// The interval between two [`Event::Sweeping`] reports to claude-api while killing the remaining
/// processes takes long (1 s).
const SWEEP_REPORT: Duration = Duration::from_secs(1);
/// How often the runner checks, before it ends, for children that died after the last wait (5
/// times).
const LAST_CHECKS: usize = 5;

/// The state of a runner process whose CLI was started. [`Supervisor::run`] ends when no process of
/// the execution is left.
pub(super) struct Supervisor {
    /// The socket to claude-api, for commands and reports.
    control: ControlSocket,
    /// Becomes readable when SIGCHLD arrives, which means that a child ended or stopped.
    wakeup: UnixStream,
    /// The process id of the CLI.
    cli: u32,
    /// How the CLI ended; `None` until it was reaped.
    ending: Option<Ending>,
    /// Whether the processes run or are suspended.
    motion: Motion,
    /// The time at which all processes are killed after a terminate; `None` before a terminate.
    kill_at: Option<Instant>,
    /// The progress of killing the remaining processes (the sweep); `None` before it begins.
    sweep: Option<Sweep>,
    /// The time of the next [`Event::Sweeping`]; `None` before the remaining processes are killed.
    report_at: Option<Instant>,
    /// The number of processes, without the CLI, that were reaped after SIGKILL ended them.
    killed: u32,
}

/// Whether the processes of the execution run, are being suspended for a pause, or are all
/// suspended.
enum Motion {
    /// No pause is requested.
    Running,
    /// The processes are being suspended (SIGSTOP) since the time `since`.
    Stopping { walk: StopWalk, since: Instant },
    /// All processes are suspended, or the attempt to suspend the rest was given up.
    Paused,
}

impl Supervisor {
    pub(super) fn new(control: ControlSocket, wakeup: UnixStream, cli: u32) -> Self {
        Self {
            control,
            wakeup,
            cli,
            ending: None,
            motion: Motion::Running,
            kill_at: None,
            sweep: None,
            report_at: None,
            killed: 0,
        }
    }

    /// Carries out commands and reaps children until no process of the execution is left or the
    /// rest cannot be killed. Sends [`Event::Done`] as the last event.
    ///
    /// # Errors
    /// The runner can no longer wait for commands and children, because poll(2) failed.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut pause = None;
        loop {
            self.wait(pause)?;
            for command in self.control.receive() {
                self.handle(command);
            }
            let reaped = self.reap_all();
            if self.control.ended()
                || self.ending.is_some()
                || self.kill_at.is_some_and(|at| at <= Instant::now())
            {
                self.begin_sweep();
            }
            pause = match self.sweep {
                Some(_) if reaped.is_none() => break,
                Some(ref sweep) if sweep.gives_up(Instant::now()) => break,
                Some(_) => Some(self.sweep_round()),
                None => self.walk_round().or_else(|| {
                    self.kill_at
                        .map(|at| at.saturating_duration_since(Instant::now()))
                }),
            };
        }
        let Ending { code, signal } = self.ending.unwrap_or(Ending {
            code: None,
            signal: None,
        });
        let unkillable = self.survivors();
        self.control.send_last(&Event::Done {
            code,
            signal,
            killed: self.killed,
            unkillable,
        });
        Ok(())
    }

    /// Returns the live processes that could not be killed; normally none. Also reaps children that
    /// died since the last wait, because they would become zombies of claude-api.
    fn survivors(&mut self) -> Vec<Unkillable> {
        for _ in 0..LAST_CHECKS {
            self.reap_all();
            let mut own_children = children(own_pid()).into_iter().filter_map(read_stat);
            if !own_children.any(|child| child.state == State::Zombie) {
                break;
            }
        }
        unkillable(descendants(own_pid()).iter().map(|stat| stat.id.pid))
    }

    /// Sleeps until a command arrives, a child ends or stops, or `limit` has passed. `None` sleeps
    /// without a limit.
    ///
    /// # Errors
    /// poll(2) failed.
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let mut wakeup = [
            PollFd::new(&self.wakeup, PollFlags::IN),
            PollFd::from_borrowed_fd(self.control.descriptor(), PollFlags::IN),
        ];
        // A closed socket would wake this loop forever.
        let watched = if self.control.ended() {
            &mut wakeup[..1]
        } else {
            &mut wakeup[..]
        };
        match poll(watched, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Empty the pipe before reading the children, so that a later death wakes this loop again.
        while matches!(self.wakeup.read(&mut [0; 256]), Ok(1..)) {}
        Ok(())
    }

    /// Carries out a command of claude-api. Ignores the command once the CLI has ended or the
    /// remaining processes are being killed.
    pub(super) fn handle(&mut self, command: Command) {
        if self.ending.is_some() || self.sweep.is_some() {
            return;
        }
        match command {
            // Only the first command can be a spec.
            Command::Run(_) => {}
            Command::Pause => self.pause(),
            Command::Resume => self.resume(),
            Command::Terminate { kill_after_ms } => {
                self.terminate(Duration::from_millis(kill_after_ms))
            }
            Command::Kill => {
                self.begin_sweep();
                self.sweep_round();
                self.signalled(Action::Kill);
            }
        }
    }

    /// Starts to suspend the process tree with SIGSTOP, the CLI first. Suspends no process once the
    /// tree was asked to terminate, because a suspended process cannot act on SIGTERM. Answers
    /// claude-api in both cases.
    fn pause(&mut self) {
        if self.kill_at.is_none() {
            signal_child(self.cli, Signal::STOP);
            if !matches!(self.motion, Motion::Stopping { .. }) {
                self.motion = Motion::Stopping {
                    walk: StopWalk::default(),
                    since: Instant::now(),
                };
            }
        }
        self.signalled(Action::Pause);
    }

    /// Continues all processes with SIGCONT after a pause, or while they are still being suspended.
    /// Does not signal them if no pause was requested. Answers claude-api in both cases.
    fn resume(&mut self) {
        let previous = std::mem::replace(&mut self.motion, Motion::Running);
        let stopped = !matches!(previous, Motion::Running);
        if stopped {
            continue_tree(own_pid());
        }
        self.signalled(Action::Resume);
        if stopped {
            continue_stragglers(own_pid());
        }
        self.control.send(&Event::Resumed);
    }

    /// Asks all processes to end with SIGTERM, and sets the time after which the rest is killed
    /// with SIGKILL. The CLI gets SIGTERM first, and can then end its tools itself. All other
    /// processes get it next, so that daemons outside the CLI's control can clean up too.
    ///
    /// If the processes are suspended, they then get SIGCONT, because SIGTERM stays pending in a
    /// suspended process. A repeated call can only shorten `kill_after`.
    fn terminate(&mut self, kill_after: Duration) {
        signal_child(self.cli, Signal::TERM);
        let previous = std::mem::replace(&mut self.motion, Motion::Running);
        let stopped = !matches!(previous, Motion::Running);
        if stopped {
            signal_child(self.cli, Signal::CONT);
        }
        self.signalled(Action::Terminate);
        let repeated = self.kill_at.is_some();
        // A grace beyond the clock's range is limited to a day.
        let at = Instant::now() + kill_after.min(Duration::from_secs(86_400));
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        if !repeated {
            signal_others(own_pid(), self.cli, Signal::TERM);
        }
        if stopped {
            continue_tree(own_pid());
            continue_stragglers(own_pid());
        }
    }

    /// Reports to claude-api that the first signal of a command was sent ([`Event::Signalled`]).
    fn signalled(&self, action: Action) {
        self.control.send(&Event::Signalled { action });
    }

    /// Reaps all dead children of the runner, and returns their number. `None` means that no child
    /// is left, dead or alive. If one of them is the CLI, sends [`Event::Exited`].
    fn reap_all(&mut self) -> Option<usize> {
        let mut count = 0;
        loop {
            match reap() {
                Reaped::NoneDead => return Some(count),
                Reaped::NoneLeft => return None,
                Reaped::Child { pid, ending } => {
                    count += 1;
                    let is_cli = pid == self.cli && self.ending.is_none();
                    if self.report_at.is_some() {
                        let ours = !is_cli && ending.signal == Some(Signal::KILL.as_raw());
                        self.killed += u32::from(ours);
                    }
                    if is_cli {
                        self.ending = Some(ending);
                        let Ending { code, signal } = ending;
                        self.control.send(&Event::Exited { code, signal });
                    }
                }
            }
        }
    }

    /// Begins to kill all remaining processes of the execution. Repeating the call changes nothing.
    fn begin_sweep(&mut self) {
        let now = Instant::now();
        self.report_at.get_or_insert(now + SWEEP_REPORT);
        self.sweep.get_or_insert_with(|| Sweep::new(now));
    }

    /// Runs one round of killing the remaining processes. Returns how long to wait for deaths
    /// before the next round.
    fn sweep_round(&mut self) -> Duration {
        let Some(mut sweep) = self.sweep.take() else {
            return ROUND_PAUSE;
        };
        let now = Instant::now();
        let mut table = LiveTable::reaping(|| self.reap_all().unwrap_or(0));
        let wait = sweep.round(now, own_pid(), &mut table);
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = Some(now + SWEEP_REPORT);
            let left = u32::try_from(descendants(own_pid()).len()).unwrap_or(u32::MAX);
            self.control.send(&Event::Sweeping { left });
        }
        self.sweep = Some(sweep);
        wait
    }

    /// Runs one round of suspending all processes for a pause. Returns the wait before the next
    /// round. `None` if no pause is in progress, or the pause was just completed or given up after
    /// 2 s.
    fn walk_round(&mut self) -> Option<Duration> {
        let (mut walk, since) = match std::mem::replace(&mut self.motion, Motion::Running) {
            Motion::Stopping { walk, since } => (walk, since),
            other => {
                self.motion = other;
                return None;
            }
        };
        let result = walk.round(
            Root::Below(own_pid()),
            &mut LiveTable::reaping(|| self.reap_all().unwrap_or(0)),
        );
        let took = since.elapsed();
        let processes = match result {
            RoundResult::Stopped { processes } => processes,
            RoundResult::Unsettled { active } if took >= WALK_LIMIT => {
                let message = format!(
                    "{active} processes could not be stopped within {} ms",
                    took.as_millis()
                );
                self.control
                    .send(&Event::warning("pause_incomplete", message));
                descendants(own_pid()).len().saturating_sub(active)
            }
            RoundResult::Unsettled { .. } => {
                self.motion = Motion::Stopping { walk, since };
                return Some(ROUND_PAUSE);
            }
        };
        self.motion = Motion::Paused;
        self.control.send(&Event::Paused {
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        });
        None
    }
}
