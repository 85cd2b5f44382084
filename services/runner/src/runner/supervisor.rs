//! The loop of a runner whose CLI has been started.

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
    control::Control,
    freeze::{LiveTable, continue_stragglers, continue_tree, signal_child, signal_others},
    reap::{Ending, Reaped, reap},
};
use crate::{
    process::{State, children, descendants, look, own_pid, unkillable},
    stop::{Root, StopWalk, Verdict},
    sweep::Sweep,
    wire::{Action, Command, Event, Unkillable},
};

/// How long a tree may take to stand still before that is reported as a warning and the pause counts all the same.
const WALK_LIMIT: Duration = Duration::from_secs(2);
/// Between two rounds of a walk: time for signals to take effect and for other commands.
const ROUND_PAUSE: Duration = Duration::from_millis(1);

/// The interval of the reports of a long sweep.
const SWEEP_REPORT: Duration = Duration::from_secs(1);
/// How many times the children are checked for one that died after the last wait.
const LAST_LOOKS: usize = 5;

pub(super) struct Supervisor {
    control: Control,
    wakeup: UnixStream,
    cli: u32,
    ending: Option<Ending>,
    motion: Motion,
    /// When the kill grace ends, once TERM was sent.
    kill_at: Option<Instant>,
    sweep: Option<Sweep>,
    /// When the next [`Event::Sweeping`] is due; none before the sweep begins.
    report_at: Option<Instant>,
    /// Processes that were reaped after our SIGKILL, the CLI aside.
    killed: u32,
}

enum Motion {
    Running,
    Stopping { walk: StopWalk, since: Instant },
    Paused,
}

impl Supervisor {
    pub(super) fn new(control: Control, wakeup: UnixStream, cli: u32) -> Self {
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

    /// Until nothing is left.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut pause = None;
        loop {
            self.wait(pause)?;
            for command in self.control.receive() {
                self.obey(command);
            }
            let left = self.reap_all();
            if self.control.ended()
                || self.ending.is_some()
                || self.kill_at.is_some_and(|at| at <= Instant::now())
            {
                self.begin_sweep();
            }
            pause = match self.sweep {
                Some(_) if left.is_none() => break,
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
        let unkillable = self.left();
        self.control.send_last(&Event::Done {
            code,
            signal,
            killed: self.killed,
            unkillable,
        });
        Ok(())
    }

    /// Returns the live processes that are left. Reaps a child that died since the last wait: it
    /// would become a zombie of claude-api.
    fn left(&mut self) -> Vec<Unkillable> {
        for _ in 0..LAST_LOOKS {
            self.reap_all();
            let mut left = children(own_pid()).into_iter().filter_map(look);
            if !left.any(|child| child.state == State::Zombie) {
                break;
            }
        }
        unkillable(descendants(own_pid()).iter().map(|stat| stat.id.pid))
    }

    /// Sleeps until a command, the death or stop of a child, or the time given.
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let mut wakeup = [
            PollFd::new(&self.wakeup, PollFlags::IN),
            PollFd::from_borrowed_fd(self.control.descriptor(), PollFlags::IN),
        ];
        // After its end the socket would wake us for ever.
        let watched = if self.control.ended() {
            &mut wakeup[..1]
        } else {
            &mut wakeup[..]
        };
        match poll(watched, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Emptied before the children are looked at, so that a later death wakes us again.
        while matches!(self.wakeup.read(&mut [0; 256]), Ok(1..)) {}
        Ok(())
    }

    pub(super) fn obey(&mut self, command: Command) {
        if self.ending.is_some() || self.sweep.is_some() {
            return;
        }
        match command {
            // Only the first message is a spec.
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

    /// After TERM a pause is no longer possible: it would keep the CLI from ending.
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

    fn resume(&mut self) {
        let was = std::mem::replace(&mut self.motion, Motion::Running);
        let stopped = !matches!(was, Motion::Running);
        if stopped {
            continue_tree(own_pid());
        }
        self.signalled(Action::Resume);
        if stopped {
            continue_stragglers(own_pid());
        }
        self.control.send(&Event::Resumed);
    }

    /// TERM to the CLI first, which then ends its tools in its own way, then to all the others, so that what has left
    /// the CLI's reach can clean up too; then CONT, as TERM waits in a stopped process. Whatever is left when the CLI
    /// has ended, or after the grace, is killed. A repeated one can shorten the grace, never lengthen it.
    fn terminate(&mut self, kill_after: Duration) {
        signal_child(self.cli, Signal::TERM);
        let was = std::mem::replace(&mut self.motion, Motion::Running);
        let stopped = !matches!(was, Motion::Running);
        if stopped {
            signal_child(self.cli, Signal::CONT);
        }
        self.signalled(Action::Terminate);
        let again = self.kill_at.is_some();
        // A grace beyond the clock's range means never, which is a day here.
        let at = Instant::now() + kill_after.min(Duration::from_secs(86_400));
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        if !again {
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

    /// Reaps all dead children: how many, or `None` when there is no child left at all.
    fn reap_all(&mut self) -> Option<usize> {
        let mut count = 0;
        loop {
            match reap() {
                Reaped::NoneDead => return Some(count),
                Reaped::NoneLeft => return None,
                Reaped::One { pid, ending } => {
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

    fn begin_sweep(&mut self) {
        let now = Instant::now();
        self.report_at.get_or_insert(now + SWEEP_REPORT);
        self.sweep.get_or_insert_with(|| Sweep::new(now));
    }

    /// Runs one round of the sweep; returns how long to wait for a death before the next round.
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

    /// One round towards a standing tree; how long to wait before the next, if there is one.
    fn walk_round(&mut self) -> Option<Duration> {
        let (mut walk, since) = match std::mem::replace(&mut self.motion, Motion::Running) {
            Motion::Stopping { walk, since } => (walk, since),
            other => {
                self.motion = other;
                return None;
            }
        };
        let verdict = walk.round(
            Root::Below(own_pid()),
            &mut LiveTable::reaping(|| self.reap_all().unwrap_or(0)),
        );
        let took = since.elapsed();
        let processes = match verdict {
            Verdict::Still { processes } => processes,
            Verdict::Again { active } if took >= WALK_LIMIT => {
                let message = format!(
                    "{active} processes could not be stopped within {} ms",
                    took.as_millis()
                );
                self.control
                    .send(&Event::warning("pause_incomplete", message));
                descendants(own_pid()).len().saturating_sub(active)
            }
            Verdict::Again { .. } => {
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
