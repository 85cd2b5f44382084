//! The main loop of a runner after the CLI was started: carries out commands, reaps the dead, and
//! kills what is left at the end.

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

/// The time within which all processes of an execution must be stopped for a pause (2 s). After it,
/// the pause is reported as done, with a warning.
const WALK_LIMIT: Duration = Duration::from_secs(2);
/// The wait between two rounds of stopping processes (1 ms): time for signals to take effect and
/// for other commands.
const ROUND_PAUSE: Duration = Duration::from_millis(1);

/// The interval between two [`Event::Sweeping`] reports while the killing of the last processes
/// takes long.
const SWEEP_REPORT: Duration = Duration::from_secs(1);
/// How often the runner checks, before it ends, for children that died after the last wait.
const LAST_CHECKS: usize = 5;

/// The state of a runner whose CLI was started. [`Supervisor::run`] ends when no process is left.
pub(super) struct Supervisor {
    control: ControlSocket,
    wakeup: UnixStream,
    cli: u32,
    ending: Option<Ending>,
    motion: Motion,
    /// When all processes are killed after a terminate; None before a terminate.
    kill_at: Option<Instant>,
    sweep: Option<Sweep>,
    /// When the next [`Event::Sweeping`] is sent; None before the final killing (the sweep) begins.
    report_at: Option<Instant>,
    /// The number of processes, without the CLI, that were reaped after our SIGKILL.
    killed: u32,
}

/// Whether the processes of the execution run, are being stopped for a pause, or are paused.
enum Motion {
    Running,
    Stopping { walk: StopWalk, since: Instant },
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

    /// Runs until no process of the execution is left, or the rest cannot be killed. Sends
    /// [`Event::Done`] as the last event.
    ///
    /// # Errors
    /// The runner can no longer wait for events (poll(2) failed).
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

    /// Returns the live processes that could not be killed. Also reaps children that died since the
    /// last wait: they would become zombies of claude-api.
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

    /// Sleeps until a command arrives, a child ends or stops, or `limit` has passed.
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

    /// Carries out a command of claude-api. Does nothing once the CLI has ended or everything is
    /// being killed.
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

    /// Begins to stop all processes. After a terminate nothing is stopped: a stopped CLI could not
    /// end.
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

    /// Continues all processes after a pause, or during the attempt to stop them.
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

    /// Asks all processes to end, and sets the time at which the rest is killed. Sends TERM to the
    /// CLI first, which then ends its tools itself. All other processes get TERM next, so that
    /// daemons outside the CLI's control can clean up too. Then sends CONT, because TERM stays
    /// pending in a stopped process. A repeated call can only shorten the time.
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

    fn signalled(&self, action: Action) {
        self.control.send(&Event::Signalled { action });
    }

    /// Reaps all dead children, and returns their number; `None` if no child is left. Reports the
    /// end of the CLI.
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

    /// Begins to kill everything that is left. Repeating the call changes nothing.
    fn begin_sweep(&mut self) {
        let now = Instant::now();
        self.report_at.get_or_insert(now + SWEEP_REPORT);
        self.sweep.get_or_insert_with(|| Sweep::new(now));
    }

    /// Runs one round of killing everything that is left, and returns how long to wait for a death
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

    /// Runs one round of stopping all processes for a pause, and returns the wait before the next
    /// round. None if nothing is being stopped, or the pause is complete or given up.
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
