//! A running execution: one loop over controls, the runner's events, stdout, stderr and the clock.

use std::time::{Duration, Instant};

use protocol::{State, Status};
use runner::{Action, Event, Events, Handle, Stderr, Stdout, Unkillable};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::output::Output;
use super::{Owner, blocking, now};
use crate::admission::Ticket;
use crate::cli;
use crate::execution::accepted::{Accepted, CliProcess};
use crate::execution::ending::{self, End};
use crate::execution::live::{Control, Request};
use crate::execution::machine::{Due, Machine};
use crate::execution::policy::was_asked;
use crate::execution::timers::Timers;
use crate::execution::verdict::EndedBy;

/// How much of stdout is taken at once, bytes: the usual capacity of a pipe (pipe(7)).
const CHUNK_BYTES: usize = 64 * 1024;
/// The capacity wished for the stdout pipe, bytes: the CLI cuts its output at a full pipe when it ends.
const PIPE_BYTES: usize = 256 * 1024;
/// How long after the kill grace the runner may take for its sweep before it is killed itself.
const RUNNER_GRACE: Duration = Duration::from_secs(4);
/// A runner answers every command at once; one that was stopped does not, and is killed after this.
const RUNNER_ANSWER: Duration = Duration::from_millis(500);
/// The longest that a start holds its slot: a silent CLI must not keep others from starting.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How often, and how long, a start is tried again when the machine is short of descriptors or processes.
const START_RETRY: (Duration, u32) = (Duration::from_millis(250), 120);

/// Runs the execution to its end.
pub(super) async fn run(owner: &mut Owner, mut status: Status, ticket: &Ticket) {
    status.state = State::Running;
    status.started_at = Some(now());
    status.activity = Some(renderer::Activity::Starting.to_string());
    status.queue_position = None;
    // On disk before a process exists: after a kill of the service it is interrupted, never run again.
    if let Err(error) = owner.record(&status, true).await {
        tracing::error!(execution = %status.execution_id, %error, "the spool did not take `running`");
        return ending::failed_to_start(
            owner,
            status,
            &format!("the spool cannot be written: {error}"),
        )
        .await;
    }
    let started = Instant::now();
    owner.show(&status, Duration::ZERO, Some(started));
    let limits = &owner.service.settings.limits;
    let idle = Duration::from_millis(owner.accepted.idle_timeout_ms);
    let deadline = owner
        .accepted
        .body
        .deadline_seconds
        .map(Duration::from_secs_f64);
    let timers = Timers::new(
        started,
        Duration::from_millis(limits.stalled_ms),
        idle,
        deadline,
    );
    let closes_stdin = cli::closes_stdin(&owner.accepted.body);
    let tool_limit = owner.service.tool_limit();
    let machine = Machine::new(status, timers, limits, tool_limit, !closes_stdin);
    let output = match Output::new(&owner.entry, owner.accepted.body.format) {
        Ok(output) => output,
        Err(error) => {
            return ending::failed_to_start(owner, machine.status, &error.to_string()).await;
        }
    };
    let (handle, message) = match start(owner).await {
        Ok(started) => started,
        Err(error) => {
            output.finish();
            return ending::failed_to_start(owner, machine.status, &error).await;
        }
    };
    let end = Running::new(owner, machine, output, handle, message)
        .drive(ticket)
        .await;
    ending::ended(owner, end).await;
}

/// Starts the CLI; also gives the first message for its stdin.
async fn start(owner: &mut Owner) -> Result<(Handle, Vec<u8>), String> {
    let entry = owner.entry.clone();
    let readiness = owner.service.readiness.clone();
    let (message, credential) = blocking(move || {
        // The prompt was on disk only since the acceptance.
        let accepted: Accepted = serde_json::from_slice(&entry.body()?)?;
        let message = cli::first_message(&accepted.body, &accepted.conversation);
        Ok((message, readiness.credential()))
    })
    .await
    .map_err(|e| format!("its body: {e}"))?;
    owner.credential = Some(credential);
    let service = &owner.service;
    let accepted = &owner.accepted;
    let root = service.settings.args.workspace_root.clone();
    let own = service.settings.args.default_workspace.clone();
    let name = accepted.body.workspace.clone();
    let conversations = service.conversations.clone();
    let conversation = accepted.conversation.clone();
    let config_dir = service.environment.config_dir();
    let (cwd, kind) = blocking(move || {
        let cwd = cli::workspace(&root, own.as_deref(), &name)?;
        Ok((cwd, conversations.kind(&conversation, &config_dir)))
    })
    .await
    .map_err(|e| format!("workspace {:?}: {e}", accepted.body.workspace))?;
    let spec = runner::Spec {
        program: service.settings.args.claude_bin.clone(),
        args: cli::arguments(
            &accepted.body,
            &accepted.permissions,
            &accepted.conversation,
            kind,
        ),
        env: service.environment.with(&accepted.body.env),
        cwd,
        stdout_pipe_bytes: PIPE_BYTES,
    };
    let mut tries = 0;
    loop {
        match service.runners.start(spec.clone()).await {
            Ok(handle) => return Ok((handle, message)),
            // Short of descriptors or processes for a moment: no reason to fail an accepted execution.
            Err(error) if is_shortage(&error) && tries < START_RETRY.1 => {
                tries += 1;
                tokio::time::sleep(START_RETRY.0).await;
            }
            Err(error) => return Err(format!("its runner: {error}")),
        }
    }
}

fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM]
        .contains(&Errno::from_io_error(error).unwrap_or(Errno::INVAL))
}

struct Running<'a> {
    owner: &'a mut Owner,
    machine: Machine,
    output: Output,
    stdout: Stdout,
    stderr: Stderr,
    control: runner::Control,
    events: Events,
    /// Ends when stdin is closed.
    prompt: AbortOnDropHandle<()>,
    answers: Vec<oneshot::Sender<Result<(), State>>>,
    spawned: bool,
    spawn_failed: Option<String>,
    exit: (Option<i32>, Option<i32>),
    unkillable: Vec<Unkillable>,
    /// When a runner that should have ended is given up.
    give_up: Option<Instant>,
    last_shown: Instant,
    /// It is recorded that the model was asked: whoever continues it must know.
    asked: bool,
}

/// What the loop woke up for.
enum Step {
    Request(Option<Request>),
    Runner(Option<Event>),
    Stdout(std::io::Result<usize>),
    Stderr(std::io::Result<usize>),
    StdinClosed,
    Clock,
}

impl<'a> Running<'a> {
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
        let prompt = tokio::spawn(async move {
            // A CLI that ends without reading its prompt says so by its exit.
            let _ = stdin.write_all(&message).await;
            drop(message);
            if let Some(gate) = gate {
                gate.feed(&mut stdin).await;
            }
        });
        let prompt = AbortOnDropHandle::new(prompt);
        Self {
            owner,
            machine,
            output,
            stdout,
            stderr,
            control,
            events,
            prompt,
            answers: Vec::new(),
            spawned: false,
            spawn_failed: None,
            exit: (None, None),
            unkillable: Vec::new(),
            give_up: None,
            last_shown: Instant::now(),
            asked: false,
        }
    }

    /// Until nothing of the execution is left and all output is in the spool.
    async fn drive(mut self, ticket: &Ticket) -> End {
        let mut out = vec![0; CHUNK_BYTES];
        let mut err = vec![0; 8 * 1024];
        let (mut out_open, mut err_open) = (true, true);
        let mut starting = true;
        loop {
            let wake = self.wake();
            let step = tokio::select! {
                // Controls first, so that a flood of output never delays them; the clock is looked at after every step.
                biased;
                request = self.owner.requests.recv() => Step::Request(request),
                event = self.events.next() => Step::Runner(event),
                n = self.stdout.read(&mut out), if out_open => Step::Stdout(n),
                n = self.stderr.read(&mut err), if err_open => Step::Stderr(n),
                _ = &mut self.prompt, if self.machine.stdin_open => Step::StdinClosed,
                () = sleep_until(wake) => Step::Clock,
            };
            match step {
                Step::Request(Some(request)) => self.request(request),
                // Its handle lives in the registry until the end.
                Step::Request(None) => {}
                Step::Runner(event) => {
                    if self.event(event).await {
                        break;
                    }
                }
                Step::Stdout(Ok(n)) if n > 0 => self.take(&out[..n]),
                Step::Stdout(_) => out_open = false,
                Step::Stderr(Ok(n)) if n > 0 => self.machine.stderr(&err[..n]),
                Step::Stderr(_) => err_open = false,
                Step::StdinClosed => self.machine.stdin_closed(Instant::now()),
                Step::Clock => self.clock().await,
            }
            let paused = self.machine.status.state == State::Paused;
            let late = self.machine.timers.running(Instant::now()) >= START_LIMIT;
            if starting && (self.machine.first_output || !out_open || paused || late) {
                starting = false;
                ticket.started();
            }
            self.after().await;
        }
        self.drain(out_open, err_open, &mut out).await;
        self.finish()
    }

    fn wake(&self) -> Option<Instant> {
        let next = self.machine.next(Instant::now());
        match (next, self.give_up) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn request(&mut self, request: Request) {
        let Request { control, answer } = request;
        let paused = self.machine.status.state == State::Paused;
        match control {
            // A tree that is being ended is not stopped on its way out.
            Control::Pause if self.machine.by == EndedBy::Itself && !paused => self.control.pause(),
            Control::Resume if self.machine.by == EndedBy::Itself => self.control.resume(),
            Control::Cancel if self.machine.by != EndedBy::Cancel => {
                self.machine.by = EndedBy::Cancel;
                self.terminate();
            }
            Control::Stop if self.machine.by == EndedBy::Itself => {
                self.machine.by = EndedBy::Stop;
                self.terminate();
            }
            Control::Pause | Control::Resume | Control::Cancel | Control::Stop => {
                let _ = answer.send(Ok(()));
                return;
            }
        }
        self.answers.push(answer);
    }

    fn terminate(&mut self) {
        let grace = Duration::from_millis(self.owner.service.settings.limits.kill_ms);
        self.control.terminate(grace);
        self.give_up = Some(Instant::now() + RUNNER_ANSWER);
    }

    /// True when nothing of the execution is left.
    async fn event(&mut self, event: Option<Event>) -> bool {
        let now = Instant::now();
        match event {
            Some(Event::Spawned {
                pid,
                start_ticks,
                boot_id,
            }) => {
                self.spawned = true;
                self.owner.service.readiness.spawned();
                self.owner.cli = Some(CliProcess {
                    pid,
                    start_ticks,
                    boot_id,
                });
                if let Err(error) = self.owner.record(&self.machine.status, false).await {
                    tracing::warn!(%error, "the spool did not take the CLI's pid");
                }
            }
            Some(Event::SpawnFailed { message }) => {
                self.spawn_failed = Some(message);
                return true;
            }
            Some(Event::Signalled { action }) => {
                if action == Action::Terminate && self.give_up.is_some() {
                    let grace = Duration::from_millis(self.owner.service.settings.limits.kill_ms);
                    self.give_up = Some(now + grace + RUNNER_GRACE);
                }
                self.answer();
            }
            Some(Event::Paused { .. }) => self.machine.paused(now),
            Some(Event::Resumed) => self.machine.resumed(now),
            Some(Event::Exited { code, signal }) => {
                self.exit = (code, signal);
                // From here on it only sweeps, and answers no more.
                self.give_up = self.give_up.map(|_| now + 2 * RUNNER_GRACE);
            }
            Some(Event::Done {
                code,
                signal,
                unkillable,
                ..
            }) => {
                self.exit = (code, signal);
                self.unkillable = unkillable;
                return true;
            }
            Some(Event::Warning { code, message }) => {
                self.machine.warn(&code, message, serde_json::Value::Null)
            }
            None => {
                if self.machine.by == EndedBy::Itself {
                    self.machine.by = EndedBy::RunnerDeath;
                }
                self.unkillable = self.owner.service.runners.sweep_orphans().await;
                return true;
            }
        }
        false
    }

    fn answer(&mut self) {
        for answer in self.answers.drain(..) {
            let _ = answer.send(Ok(()));
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        let now = Instant::now();
        self.machine.output(now);
        let facts = self.output.push(chunk);
        self.facts(facts, now);
    }

    fn facts(&mut self, facts: Vec<renderer::Fact>, now: Instant) {
        for fact in facts {
            if let renderer::Fact::Init { .. } = &fact {
                self.owner
                    .service
                    .conversations
                    .mark_begun(&self.owner.accepted.conversation);
            }
            self.machine.fact(fact, now);
        }
        if let Some(lost) = self.output.take_disk_full() {
            self.owner.service.readiness.disk_full();
            self.machine.warn(
                "disk_full",
                "the disk is full: the oldest output is freed, and what cannot be written is gone"
                    .to_owned(),
                json!({ "lostBytes": lost }),
            );
        }
    }

    async fn clock(&mut self) {
        let now = Instant::now();
        if self.give_up.is_some_and(|at| now >= at) {
            self.give_up = None;
            tracing::warn!(execution = %self.machine.status.execution_id, "the runner does not end; it is killed");
            self.control.kill_runner();
        }
        if self.machine.timers.wants_cpu(now) {
            // From the runner down: it inherits the times of whom it reaped.
            let pid = self.control.runner_pid();
            if let Ok(used) = tokio::task::spawn_blocking(move || runner::tree_cpu(pid)).await {
                self.machine.timers.cpu(now, used);
            }
        }
    }

    /// After every step: what is due, and what others should see.
    async fn after(&mut self) {
        let now = Instant::now();
        if self.machine.check(now) == Due::Terminate {
            self.terminate();
        }
        if self.machine.changed {
            self.machine.changed = false;
            let paused = self.machine.status.state == State::Paused;
            let since = if paused { None } else { Some(now) };
            self.owner.show(
                &self.machine.status,
                self.machine.timers.running(now),
                since,
            );
            let asked = !self.asked && was_asked(&self.machine.status);
            if now.duration_since(self.last_shown) > Duration::from_secs(1) || paused || asked {
                self.asked |= asked;
                self.last_shown = now;
                // For the next start after a kill; the end is written durably.
                let _ = self.owner.record(&self.machine.status, false).await;
            }
        }
    }

    /// The tree is gone; what it wrote is still in the pipes. Whoever else holds them open delays the end by at most the
    /// drain grace.
    async fn drain(&mut self, mut out_open: bool, mut err_open: bool, out: &mut [u8]) {
        let grace = Duration::from_millis(self.owner.service.settings.limits.drain_ms);
        let until = tokio::time::Instant::now() + grace;
        let mut err = vec![0; 8 * 1024];
        while out_open || err_open {
            tokio::select! {
                n = self.stdout.read(out), if out_open => match n {
                    Ok(n) if n > 0 => self.take(&out[..n]),
                    _ => out_open = false,
                },
                n = self.stderr.read(&mut err), if err_open => match n {
                    Ok(n) if n > 0 => self.machine.stderr(&err[..n]),
                    _ => err_open = false,
                },
                () = tokio::time::sleep_until(until) => {
                    self.machine.warn(
                        "pipe_held",
                        "a process outside the execution holds its stdout or stderr open".to_owned(),
                        serde_json::Value::Null,
                    );
                    break;
                }
            }
        }
        if out_open {
            // What a pipe can hold has an end even while somebody goes on writing.
            let mut rest = Vec::new();
            let _ = self
                .stdout
                .drain_available(|bytes| rest.extend_from_slice(bytes));
            self.take(&rest);
        }
    }

    fn finish(mut self) -> End {
        self.prompt.abort();
        // A cancel that came while the pipes were drained still came before the end.
        while let Ok(request) = self.owner.requests.try_recv() {
            self.request(request);
        }
        if let Some(gate) = &self.owner.input {
            gate.close();
        }
        self.answer();
        let now = Instant::now();
        let facts = self.output.end();
        self.facts(facts, now);
        let marks = self.output.finish();
        End {
            machine: self.machine,
            marks,
            spawn_failed: self.spawn_failed,
            exit: self.exit,
            unkillable: self.unkillable,
            spawned: self.spawned,
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
