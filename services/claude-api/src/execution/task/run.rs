//! The run of an execution: the loop that waits for commands of clients, reports of the runner,
//! stdout, stderr and timers, and handles one at a time.

mod before_hook;
mod client;
mod clock;
mod count;
mod drain;
mod events;
mod questions;
mod running;
mod start;
mod waits;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{State, Status};
use runner::{Action, Handle};
use tokio::io::AsyncWriteExt;
use tokio_util::task::AbortOnDropHandle;

use super::output::Output;
use crate::cli;
use crate::credentials::{Charges, Held};
use crate::execution::ending::{self, Ended, FinishedRun};
use crate::execution::machine::Machine;
use crate::execution::owner::Owner;
use crate::execution::progress::Timers;
use crate::execution::verdict::EndedBy;
use crate::registry::Ticket;
use crate::registry::record::begin;
use crate::times::millis;
use before_hook::{NoStart, run_before_hook};
use running::{Counted, Running};
use start::start;
use waits::{Sample, changed, finished, sleep_until};

/// The maximum number of bytes of one read from the CLI's stdout. Each read costs a write to the
/// disk and wakes the readers, so a larger chunk is cheaper. A pipe holds up to twice as much
/// ([`start`]).
const CHUNK_BYTES: usize = 128 * 1024;
/// The longest time for which an execution counts as starting. Only a limited number of executions
/// may start at the same time, and a silent CLI must not keep the others waiting.
const START_LIMIT: Duration = Duration::from_secs(10);
/// The longest time for which the loop of a busy execution runs before it yields to other tasks on
/// its thread. A yield after every chunk made the output slower.
const YIELD_AFTER: Duration = Duration::from_millis(1);

/// Runs an execution that has its permit (the right to run): writes the status `running`, runs the
/// before hook, starts the CLI, and follows it until its process tree is gone. Returns the terminal
/// status, which the caller writes to disk. If a step before the start fails, the CLI is not
/// started.
pub(super) async fn run(owner: &mut Owner, mut status: Status, ticket: &Ticket) -> Ended {
    // `running` is on disk before a process exists: after a kill of the service the execution is
    // interrupted, and never runs a second time.
    if status.state == State::Queued {
        begin(&mut status, owner.times.now());
        if let Err(error) = owner.record(&status, true).await {
            tracing::error!(
                execution = %status.execution_id,
                %error,
                "could not write the status `running` to the spool; the execution fails without a \
                 start of the CLI"
            );
            let reason = format!("the spool cannot be written: {error}");
            return ending::failed_to_start(owner, status, EndedBy::Itself, &reason);
        }
    }
    owner.engine.metrics.started(&status);
    let started = Instant::now();
    owner.show(&status, Duration::ZERO, Some(started));
    let idle = Duration::from_millis(owner.accepted.idle_timeout_ms);
    let deadline = owner
        .accepted
        .body
        .deadline_seconds
        .map(Duration::from_secs_f64);
    let deadline_at = deadline.and_then(|deadline| started.checked_add(deadline));
    match run_before_hook(owner, &mut status, started, deadline_at, ticket).await {
        Ok(()) => {}
        Err(no_start) => {
            status.duration_ms = Some(millis(started.elapsed()));
            return match no_start {
                NoStart::Ended(ended_by, reason) => {
                    ending::failed_to_start(owner, status, ended_by, &reason)
                }
                NoStart::Refused(failure) => ending::refused(owner, status, failure),
            };
        }
    }
    let limits = &owner.engine.settings.limits;
    let mut timers = Timers::new(
        started,
        Duration::from_millis(limits.stalled_ms),
        idle,
        deadline,
    );
    // The time of the hook counts towards the deadline, but is no silence of the CLI.
    timers.output(Instant::now());
    let takes_input = cli::takes_input(&owner.accepted.body);
    let tool_limit = owner.engine.tool_limit();
    let mut machine = Machine::new(
        status,
        timers,
        owner.times,
        limits,
        tool_limit,
        owner.input.is_some(),
        takes_input,
    );
    if owner.prompt_bytes == 0 {
        machine.begin_input_wait(Instant::now());
    }
    let counters = owner.engine.metrics.output.clone();
    let in_place = Arc::clone(&owner.engine.in_place);
    let output = in_place.run(|| Output::new(&owner.entry, owner.accepted.body.format, counters));
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            let (status, reason) = (machine.status().clone(), error.to_string());
            return ending::failed_to_start(owner, status, EndedBy::Itself, &reason);
        }
    };
    let (handle, message) = match start(owner, ticket).await {
        Ok(started) => started,
        Err((ended_by, reason)) => {
            in_place.run(|| output.finish());
            let status = machine.status().clone();
            return ending::failed_to_start(owner, status, ended_by, &reason);
        }
    };
    let running = Running::new(owner, machine, output, handle, message);
    let finished = running.drive(ticket).await;
    ending::ended(owner, finished).await
}

/// The event that woke the loop of a running execution ([`Running::drive`]).
enum Step {
    /// A report of the runner; `None` if the runner died.
    Runner(Option<runner::Event>),
    /// A client or the service's stop has sent a command.
    Wish,
    /// The number of bytes that were read from stdout; 0 at its end.
    Stdout(std::io::Result<usize>),
    /// The number of bytes that were read from stderr; 0 at its end.
    Stderr(std::io::Result<usize>),
    /// The task that writes stdin has ended, so stdin is closed.
    StdinClosed,
    /// The CPU time of the process tree was measured; `None` if the measurement panicked.
    Sampled(Option<Sample>),
    /// A write of the status to the spool has ended; `None` if it panicked.
    Recorded(Option<std::io::Result<()>>),
    /// The charges of the CLI's grant have changed.
    Charged(Charges),
    /// The questions of the execution, or the requests that wait for the client, have changed.
    Prompts,
    /// A time limit may have passed, or a command must be sent again.
    Clock,
}

impl<'a> Running<'a> {
    /// Prepares the loop for a runner that was just started. Starts the task that writes `message`,
    /// the prompt, to stdin, and sends commands that arrived before the start.
    fn new(
        owner: &'a mut Owner,
        machine: Machine,
        output: Output,
        handle: Handle,
        message: Vec<u8>,
    ) -> Self {
        let Handle {
            mut stdin,
            stdout,
            stderr,
            control,
            events,
        } = handle;
        let gate = owner.input.clone();
        if let Some(gate) = &gate {
            gate.open();
        }
        let mut wished = owner.wishes.subscribe();
        let prompt = tokio::spawn(async move {
            // The prompt waits while the execution is paused from before its start: a short run
            // would end before the signal of the pause. An error means that no control can arrive
            // any more.
            let _ = wished
                .wait_for(|wish| !wish.paused || wish.end.is_some())
                .await;
            // A failed write needs no handling: the exit of the CLI tells the cause.
            let _ = stdin.write_all(&message).await;
            drop(message);
            if let Some(gate) = gate {
                gate.feed(&mut stdin).await;
            }
        });
        let prompt = AbortOnDropHandle::new(prompt);
        let grace = Duration::from_millis(owner.engine.settings.limits.kill_ms);
        let commands = control.clone();
        owner.wishes.run(Box::new(move |action| match action {
            Action::Pause => commands.pause(),
            Action::Resume => commands.resume(),
            Action::Terminate => commands.terminate(grace),
            Action::Kill => commands.kill(),
        }));
        let mut wish = owner.wishes.subscribe();
        // Controls from before the start count as well.
        wish.mark_changed();
        let charges = owner.held.as_ref().map(Held::charges);
        let questions = owner.questions.as_ref();
        let client = owner.client.as_ref();
        let prompt_changes = questions
            .map(|questions| questions.changes())
            .or_else(|| client.map(|client| client.changes()));
        Self {
            charges,
            prompt_changes,
            leaves_permit: false,
            dropped_updates: 0,
            owner,
            machine,
            output,
            stdout,
            stderr,
            control,
            events,
            prompt,
            wish,
            runner_failure: None,
            unkillable: Vec::new(),
            last_shown: Instant::now(),
            recorded_cost: None,
            asked: false,
            sample: None,
            recording: None,
            status_due: false,
            begun_due: false,
            counted: Counted::default(),
        }
    }

    /// Runs the loop until the runner has made its last report or has died and all output is in the
    /// spool. Returns the facts from which the terminal status is made.
    async fn drive(mut self, ticket: &Ticket) -> FinishedRun {
        let mut out = vec![0; CHUNK_BYTES];
        let mut err = vec![0; 8 * 1024];
        let (mut out_open, mut err_open) = (true, true);
        let mut starting = true;
        let mut yielded = Instant::now();
        let mut woke_others = false;
        loop {
            let wake = self.wake_time();
            let stdin_open = self.machine.stdin_is_open();
            let step = async {
                tokio::select! {
                    // The runner's few reports are first, so that a flood of output never delays
                    // them. The other branches take turns at random, so that a branch that is
                    // always ready starves none. Deadlines and wishes are checked after every step;
                    // their branches only wake the loop.
                    biased;
                    event = self.events.next() => Step::Runner(event),
                    step = async {
                        tokio::select! {
                            _ = self.wish.changed() => Step::Wish,
                            charges = changed(&mut self.charges) => Step::Charged(charges),
                            () = changed(&mut self.prompt_changes) => Step::Prompts,
                            sampled = finished(&mut self.sample) => Step::Sampled(sampled),
                            recorded = finished(&mut self.recording) => Step::Recorded(recorded),
                            n = self.stdout.read(&mut out), if out_open => Step::Stdout(n),
                            n = self.stderr.read(&mut err), if err_open => Step::Stderr(n),
                            _ = &mut self.prompt, if stdin_open => Step::StdinClosed,
                            () = sleep_until(wake) => Step::Clock,
                        }
                    } => step,
                }
            };
            let (step, waited) = with_waiting(step).await;
            // Without a wait the task did not yield since its last step. A task that the last step
            // woke may be next on this thread, and this step's write may hang in the disk. A
            // wake-up that lets another execution start must not be delayed by that. Readers of the
            // output may be late by `YIELD_AFTER`.
            let yields = woke_others || yielded.elapsed() >= YIELD_AFTER;
            if !waited && yields {
                tokio::task::yield_now().await;
            }
            if waited || yields {
                yielded = Instant::now();
            }
            woke_others = !matches!(step, Step::Stdout(_) | Step::Stderr(_));
            match step {
                Step::Runner(event) => {
                    self.event(event).await;
                    if self.machine.is_finished() {
                        break;
                    }
                }
                Step::Wish => {}
                Step::Stdout(Ok(n)) if n > 0 => self.append_stdout(&out[..n]),
                Step::Stdout(_) => out_open = false,
                Step::Stderr(Ok(n)) if n > 0 => self.machine.stderr(&err[..n]),
                Step::Stderr(_) => err_open = false,
                Step::StdinClosed => {
                    self.machine.stdin_closed(Instant::now());
                    if let Some(client) = &self.owner.client {
                        client.close();
                    }
                }
                Step::Sampled(sampled) => {
                    self.sample = None;
                    if let Some((at, used)) = sampled {
                        self.machine.cpu_sample(at, used);
                    }
                }
                Step::Recorded(recorded) => {
                    self.recording = None;
                    if let Some(Err(error)) = recorded {
                        tracing::warn!(
                            execution = %self.machine.status().execution_id,
                            %error,
                            "could not write the status of a running execution to the spool; the \
                             status is written again after a later change"
                        );
                    }
                }
                Step::Charged(charges) => self.machine.charged(&charges),
                // Every step shows the open prompts at its end.
                Step::Prompts => {}
                Step::Clock => self.sample_cpu(),
            }
            let paused = self.machine.is_paused();
            let late = self.machine.running_time(Instant::now()) >= START_LIMIT;
            if starting && (self.machine.has_output() || !out_open || paused || late) {
                starting = false;
                woke_others = true;
                ticket.started();
            }
            self.finish_step(ticket);
        }
        self.drain(out_open, err_open, &mut out).await;
        self.finish().await
    }

    /// Renders a chunk of the CLI's stdout, appends the result to the spool, and applies the facts
    /// in it to the status and the metrics.
    fn append_stdout(&mut self, chunk: &[u8]) {
        let now = Instant::now();
        self.machine.output(now);
        let running = self.machine.running_time(now);
        let (client, gate) = (self.owner.client.as_deref(), self.owner.input.as_deref());
        let announce = |facts: &[renderer::Fact]| client::announce(client, gate, facts, running);
        let output = &mut self.output;
        let in_place = &self.owner.engine.in_place;
        let facts = in_place.run(|| output.push(chunk, announce));
        self.count(&facts, now);
        self.apply_facts(facts, now);
    }

    /// Applies facts from the CLI's output to the status. Reports a full disk, if a write found
    /// one.
    fn apply_facts(&mut self, facts: Vec<renderer::Fact>, now: Instant) {
        for fact in facts {
            if let renderer::Fact::Init { .. } = &fact {
                self.begun_due = true;
            }
            self.question(&fact, now);
            self.note_session_state(&fact, now);
            self.machine.fact(fact, now);
        }
        if let Some(lost) = self.output.take_disk_full() {
            self.owner.engine.readiness.disk_full();
            self.machine.disk_full(lost);
        }
    }
}

/// Awaits `work`. Returns its result, and whether it was pending at least once, so that this task
/// has yielded to others.
async fn with_waiting<T>(work: impl Future<Output = T>) -> (T, bool) {
    let mut work = std::pin::pin!(work);
    let mut waited = false;
    let done = std::future::poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        waited |= polled.is_pending();
        polled
    });
    (done.await, waited)
}

#[cfg(test)]
mod tests;
