//! Relays one execution: its output to stdout, and stdin to its input, until it ends.
//!
//! ```text
//! starting --running--> relaying --terminal, all written--> ended
//!    |  \                  |  \--error, gap, EPIPE, refused message--> failed
//!    |   \--time is up--> failed: server full
//!    \------signal------> cancelling --terminal, or 4 s--> exit 143 or 130
//! ```
//!
//! - starting: the execution waits for its turn. Nothing is read from stdin, because the service
//!   accepts no input before the CLI runs.
//! - relaying: a task of its own sends the lines of stdin ([`Input`]). This task owns stdout.
//! - cancelling: the relay continues, so that the last output of the CLI is not lost. A second
//!   signal exits at once.
//!
//! Usually the program that started `ccb-claude` closes stdin. The CLI then ends, and the relay
//! ends with it. If that program was killed, stdin ends in the same way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Control, Error, Event, Run};
use protocol::{State, Status};
use tokio::io::{Stdin, Stdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::complain;
use super::input::{Input, InputEvent};
use super::lines::Lines;
use super::mirror::MirrorPaths;
use super::outage::Outage;
use super::output::OutputWriter;
use super::signals::Signals;

/// The time limit for the end of the execution after a signal. The Agent SDKs send SIGKILL 5 s
/// after SIGTERM.
const CANCEL_TIME: Duration = Duration::from_secs(4);

/// The end of a relay.
#[derive(Debug)]
pub(super) enum End {
    /// The execution has ended, and all its output was written.
    Ended(Box<Status>),
    /// A signal ended the relay.
    Signal {
        /// The exit code.
        code: u8,
        /// Whether the execution continues (`CCB_KEEP=1`).
        keeps: bool,
    },
    /// The execution did not start in time. Holds its last status, if it was accepted.
    NotStarted(Option<Box<Status>>),
    /// The reader of stdout is gone, and the execution continues (`CCB_KEEP=1`). Holds the reason.
    Left(String),
    /// The relay failed while the execution runs, for this reason.
    Failed(String),
    /// The connection to the bridge or the run failed.
    Error(Error),
}

/// One execution and the streams of this process.
pub(super) struct Relay<'a> {
    client: Arc<Client>,
    signals: &'a mut Signals,
    output: OutputWriter<Stdout>,
    outage: Outage,
    /// Changes the paths of a mirrored transcript. `None` without one.
    mirror: Option<MirrorPaths>,
    /// Whether the execution continues after a signal (`CCB_KEEP=1`).
    keeps: bool,
    /// The last status while the execution was queued.
    waiting: Option<Box<Status>>,
    /// The latest time for the start. `None` once the execution runs, and after a signal.
    start_by: Option<Instant>,
    /// The task that sends stdin, once the execution runs.
    input: Option<JoinHandle<()>>,
    /// The sender of events, until the input has started.
    input_events: Option<mpsc::Sender<InputEvent>>,
    /// The exit code and the time limit after the first signal.
    cancelling: Option<(u8, Instant)>,
    /// The status at the end, while output waits to be written.
    ended: Option<Box<Status>>,
}

impl<'a> Relay<'a> {
    /// Creates the relay of an execution that must have started by the time `start_by`.
    pub(super) fn new(
        client: Arc<Client>,
        signals: &'a mut Signals,
        start_by: Instant,
        mirror: Option<MirrorPaths>,
        keeps: bool,
    ) -> Self {
        Self {
            client,
            signals,
            output: OutputWriter::new(tokio::io::stdout()),
            outage: Outage::default(),
            mirror,
            keeps,
            waiting: None,
            start_by: Some(start_by),
            input: None,
            input_events: None,
            cancelling: None,
            ended: None,
        }
    }

    /// Relays until the execution ends, or the relay cannot continue. The execution may still run
    /// then; the caller cancels it.
    pub(super) async fn run(mut self, mut run: Run) -> End {
        // One event at a time: the input waits while stdout does not accept more.
        let (sender, mut inputs) = mpsc::channel(1);
        self.input_events = Some(sender);
        let end = loop {
            if !self.output.is_busy()
                && let Some(status) = self.ended.take()
            {
                break End::Ended(status);
            }
            let is_busy = self.output.is_busy();
            let cancel_by = self.cancelling.map(|(_, by)| by);
            let report_at = self.outage.report_at();
            tokio::select! {
                // Signals first, so that much output does not delay them.
                biased;
                exit = self.signals.next() => {
                    if self.cancelling.is_some() || self.keeps {
                        let keeps = self.cancelling.is_none();
                        break End::Signal { code: exit, keeps };
                    }
                    self.cancelling = Some((exit, Instant::now() + CANCEL_TIME));
                    self.start_by = None;
                    tokio::spawn(cancel(Arc::clone(&self.client), run.id()));
                }
                () = reached(cancel_by) => break self.signalled(),
                () = reached(self.start_by) => break End::NotStarted(self.waiting.take()),
                () = reached(report_at) => complain(&self.outage.report()),
                written = self.output.write(), if is_busy => {
                    if let Err(error) = written {
                        break if self.keeps {
                            End::Left(unwritable(&error))
                        } else {
                            End::Failed(unwritable(&error))
                        };
                    }
                }
                Some(event) = inputs.recv(), if !is_busy => match event {
                    InputEvent::Answer(line) => self.output.add_line(&line),
                    InputEvent::Warning(text) => complain(&text),
                    InputEvent::Failed(reason) => break End::Failed(reason),
                },
                event = run.next(), if !is_busy && self.ended.is_none() => {
                    match event {
                        Ok(Some(event)) => {
                            if let Err(reason) = self.event(event, run.id()) {
                                break End::Failed(reason);
                            }
                        }
                        Ok(None) => break End::Error(Error::Closed),
                        Err(error) => break End::Error(error),
                    }
                }
            }
        };
        if let Some(task) = self.input.take() {
            task.abort();
            // The task holds the client, which the caller closes.
            let _ = task.await;
        }
        match end {
            // The code of the signal counts, however the execution ended.
            End::Ended(_) | End::Error(_) | End::Failed(_) if self.cancelling.is_some() => {
                self.signalled()
            }
            end => end,
        }
    }

    fn signalled(&self) -> End {
        End::Signal {
            code: self.cancelling.map_or(0, |(exit, _)| exit),
            keeps: false,
        }
    }

    /// Handles an event of the execution. An error is the reason why the relay cannot continue.
    fn event(&mut self, event: Event, id: protocol::ExecutionId) -> Result<(), String> {
        match event {
            Event::Answer(status) => {
                self.reconnected();
                self.status(status, id);
            }
            Event::Status(update) => self.status(Box::new(update.status), id),
            Event::Output { bytes, .. } => match &mut self.mirror {
                Some(mirror) => self.output.add_output(&mirror.output(&bytes)),
                None => self.output.add_output(&bytes),
            },
            Event::Gap(missing) => {
                return Err(format!(
                    "the output from byte {} to {} is lost, because the service no longer keeps it",
                    missing.start, missing.end
                ));
            }
            Event::Disconnected { reason, .. } => self.outage.lost(reason, Instant::now()),
            Event::Reconnected => self.reconnected(),
            Event::Terminal { update, .. } => {
                self.start_by = None;
                if let Some(mirror) = &mut self.mirror {
                    self.output.add_output(&mirror.finish());
                }
                self.ended = Some(Box::new(update.status));
            }
            // The client itself answers the prompts of its execution.
            Event::Message(_)
            | Event::Notice(_)
            | Event::Question(_)
            | Event::QuestionClosed { .. } => {}
        }
        Ok(())
    }

    fn reconnected(&mut self) {
        if let Some(message) = self.outage.ended() {
            complain(message);
        }
    }

    /// Handles a status before the end. The first status that is not `queued` starts the input.
    fn status(&mut self, status: Box<Status>, id: protocol::ExecutionId) {
        if status.state == State::Queued {
            self.waiting = Some(status);
            return;
        }
        if status.state.is_terminal() {
            return; // The terminal event follows.
        }
        self.start_by = None;
        if let Some(events) = self.input_events.take() {
            let lines: Lines<Stdin> = Lines::new(tokio::io::stdin(), line_bytes(&self.client));
            let input = Input::new(Arc::clone(&self.client), id, lines, events);
            self.input = Some(tokio::spawn(input.run()));
        }
    }
}

/// Cancels the execution. Errors are ignored, because nothing more can be done.
pub(super) async fn cancel(client: Arc<Client>, id: protocol::ExecutionId) {
    let _ = client.control(id, Control::Cancel).await;
}

/// Returns the maximum size of a line of stdin, which must fit into one message to the bridge.
fn line_bytes(client: &Client) -> usize {
    let limits = client.connected().limits.as_ref();
    let limits = limits
        .map(|limits| limits.limits.clone())
        .unwrap_or_default();
    usize::try_from(limits.message_bytes).unwrap_or(usize::MAX)
}

fn unwritable(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return "stdout was closed, so the execution was cancelled".to_owned();
    }
    format!("could not write stdout: {error}; the execution was cancelled")
}

/// Waits until a point in time. Waits forever without one.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
