//! Streams an execution for `ccb exec` and `ccb attach`. It turns the events of the execution into
//! text on stdout and stderr and an exit code.

use std::io;
use std::sync::Arc;

use client::{Client, Error, Event, OutputCheck, Run, StatusUpdate};
use protocol::rpc::code;
use protocol::{ExecutionId, State, Status};

use super::Task;
use super::asker::Asker;
use super::ctrl_c::{CancelRequest, cancelled, interrupted};
use crate::args::Common;
use crate::exit::{self, Exit};
use crate::progress::Progress;
use crate::show;
use crate::stdout::{StdoutWriter, json_line};
use crate::stop::Stop;

/// The state of streaming one execution to stdout, for `ccb exec` or `ccb attach`.
struct Stream {
    client: Arc<Client>,
    id: ExecutionId,
    /// Whether Ctrl-C cancels the execution. True for `exec`, which started it, and false for
    /// `attach`.
    owns: bool,
    detach: bool,
    json: bool,
    stop: Stop,
    stdout: StdoutWriter,
    progress: Progress,
    cancel: CancelRequest,
    /// The open questions of the execution.
    asker: Asker,
    accepted: bool,
    /// Whether the output had no gap so far, so that stdout has every requested byte.
    whole: bool,
}

/// The reason why streaming ended, which decides the exit code of `ccb`.
enum StreamEnd {
    /// The execution has ended, or stdout could not be written. Holds the exit code.
    Exit(Exit),
    /// Ctrl-C or SIGTERM requested an immediate exit, without waiting for the bridge.
    Immediately,
    /// The program that reads stdout has closed it (EPIPE), as `head` does after enough lines.
    BrokenPipe,
}

/// Streams an execution to stdout until it ends, Ctrl-C exits, or stdout is closed. Returns the
/// exit code of `ccb`, or the error that the caller must print.
pub(super) async fn stream(
    client: Client,
    task: Task,
    common: &Common,
    stop: Stop,
) -> Result<Exit, Error> {
    let (id, owns) = (task.id(), matches!(task, Task::Execute { .. }));
    let (mut run, detach, ask) = match task {
        Task::Execute {
            execute,
            detach,
            ask,
            ..
        } => (client.execute(*execute)?, detach, ask),
        Task::Attach { attach, ask } => (client.attach(attach), false, ask),
    };
    let mut stream = Stream {
        client: Arc::new(client),
        id,
        owns,
        detach,
        json: common.json,
        stop,
        stdout: StdoutWriter::new(),
        progress: Progress::new(common.quiet),
        cancel: CancelRequest::Nothing,
        asker: Asker::new(id, ask && !detach),
        accepted: false,
        whole: true,
    };
    let result = stream.drive(&mut run).await;
    drop(run);
    let exit = match result {
        // No close handshake: the bridge may not answer it.
        Ok(Some(StreamEnd::Immediately)) => return Ok(exit::CANCELLED),
        Ok(Some(StreamEnd::Exit(exit))) => Ok(exit),
        Ok(Some(StreamEnd::BrokenPipe)) => {
            stream.progress.note(&format!(
                "stdout was closed; the execution continues; reattach with: ccb attach {id}"
            ));
            Ok(exit::OK)
        }
        Ok(None) => Ok(exit::OK),
        Err(error) => stream.failed(error),
    };
    let Stream {
        client, progress, ..
    } = stream;
    progress.finish();
    if let Ok(client) = Arc::try_unwrap(client) {
        client.close().await;
    }
    exit
}

impl Stream {
    async fn drive(&mut self, run: &mut Run) -> Result<Option<StreamEnd>, Error> {
        if self.json {
            let greeting = json_line(self.client.greeting());
            if let Some(end) = self.write(greeting.as_bytes()).await {
                return Ok(Some(end));
            }
        }
        loop {
            let event = tokio::select! {
                // Ctrl-C first, so that much output does not delay it.
                biased;
                () = self.stop.next() => {
                    let Self { client, id, owns, progress, cancel, .. } = self;
                    if interrupted(client, *id, *owns, progress, cancel) {
                        return Ok(Some(StreamEnd::Immediately));
                    }
                    continue;
                }
                answer = cancelled(&mut self.cancel) => {
                    self.cancel_answered(answer);
                    continue;
                }
                activity = self.asker.next() => {
                    let Self { client, asker, progress, .. } = self;
                    asker.handle(activity, client, progress);
                    continue;
                }
                event = run.next() => event?,
            };
            let Some(event) = event else { return Ok(None) };
            if let Some(end) = self.event(event).await {
                return Ok(Some(end));
            }
        }
    }

    async fn event(&mut self, event: Event) -> Option<StreamEnd> {
        match event {
            Event::Message(text) => self.write(json_line(&text).as_bytes()).await,
            Event::Answer(status) => self.answered(&status).await,
            Event::Status(update) => {
                self.progress.status(&update);
                None
            }
            Event::Output { bytes, .. } if !self.json => {
                let end = self.write(&bytes).await;
                self.asker.output_written(&self.progress);
                end
            }
            Event::Output { .. } => None,
            Event::Gap(missing) => {
                self.whole = false;
                let bytes = missing.end - missing.start;
                self.progress.say(&format!(
                    "{} of output missing (bytes {} to {})",
                    show::size(bytes),
                    missing.start,
                    missing.end
                ));
                None
            }
            Event::Notice(notice) => {
                let text = if notice.message.is_empty() {
                    &notice.code
                } else {
                    &notice.message
                };
                self.progress.note(text);
                None
            }
            Event::Disconnected { reason, .. } => {
                self.progress
                    .activity(format!("{reason}; reconnecting"), None);
                None
            }
            Event::Reconnected => {
                self.progress.activity("reconnected".to_owned(), None);
                None
            }
            Event::Question(question) => {
                let Self {
                    client,
                    asker,
                    progress,
                    ..
                } = self;
                asker.asked(*question, client, progress);
                None
            }
            Event::QuestionClosed {
                question_id,
                closed,
            } => {
                let Self {
                    client,
                    asker,
                    progress,
                    ..
                } = self;
                asker.closed(question_id, closed.as_deref(), client, progress);
                None
            }
            Event::Terminal { update, verdict } => {
                Some(StreamEnd::Exit(self.ended(&update, verdict)))
            }
        }
    }

    async fn answered(&mut self, status: &Status) -> Option<StreamEnd> {
        self.accepted = true;
        if self.detach {
            let end = if self.json {
                None
            } else {
                self.write(format!("{}\n", self.id).as_bytes()).await
            };
            return Some(end.unwrap_or(StreamEnd::Exit(exit::OK)));
        }
        if !status.state.is_terminal() {
            self.progress.activity(show::activity(status), None);
        }
        None
    }

    /// Writes output to stdout, and handles Ctrl-C while the write waits for a slow reader. Returns
    /// the reason why streaming must end, or `None` if it continues.
    async fn write(&mut self, bytes: &[u8]) -> Option<StreamEnd> {
        self.progress.before_output(bytes);
        let Self {
            client,
            id,
            owns,
            stop,
            stdout,
            progress,
            cancel,
            ..
        } = self;
        let result = {
            let mut write = std::pin::pin!(stdout.write(bytes));
            loop {
                tokio::select! {
                    biased;
                    () = stop.next() => {
                        if interrupted(client, *id, *owns, progress, cancel) {
                            return Some(StreamEnd::Immediately);
                        }
                    }
                    result = &mut write => break result,
                }
            }
        };
        match result {
            Ok(()) => None,
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Some(StreamEnd::BrokenPipe),
            Err(e) => {
                progress.say(&format!(
                    "could not write stdout: {e}; the execution continues; \
                     reattach with: ccb attach {id}"
                ));
                Some(StreamEnd::Exit(exit::INTERNAL))
            }
        }
    }

    fn cancel_answered(&mut self, answer: Result<Status, Error>) {
        if let Err(error) = answer {
            self.progress
                .say(&format!("could not cancel: {}", super::explain(&error)));
        }
        self.cancel = CancelRequest::Answered;
    }

    /// Prints the error and the summary of an ended execution on stderr, and returns the exit code
    /// of `ccb`.
    fn ended(&mut self, update: &StatusUpdate, verdict: OutputCheck) -> Exit {
        let status = &update.status;
        self.progress.release();
        self.progress.clear();
        if let Some(error) = &status.error {
            self.progress.say(&error.message);
        } else if status.state == State::Failed
            && let Some(tail) = show::tail(status)
        {
            self.progress.say(&tail);
        }
        let verified = match verdict {
            OutputCheck::Verified => " (verified)".to_owned(),
            OutputCheck::Partial { missing } => {
                format!(" ({} of it not received)", show::size(missing))
            }
            OutputCheck::Unknown => String::new(),
        };
        self.progress.note(&show::summary(status, &verified));
        exit::of_end(status, self.whole)
    }

    /// Handles an error that ended the stream. Prints how to reattach, or how to check whether the
    /// execution was accepted. Returns an exit code if a cancel before the acceptance caused the
    /// error, and the error itself otherwise.
    fn failed(&mut self, error: Error) -> Result<Exit, Error> {
        if !matches!(self.cancel, CancelRequest::Nothing) && !self.accepted {
            // The cancel ended the retries of the execute.
            self.progress.note(&super::explain(&error));
            return Ok(exit::CANCELLED);
        }
        let unsure = matches!(&error, Error::GaveUp { .. } | Error::NoAnswer(_))
            || matches!(&error, Error::Rpc(e)
                if e.code == code::UNAVAILABLE && e.data["accepted"] != false);
        self.progress.clear();
        if self.accepted {
            self.progress
                .say(&format!("reattach with: ccb attach {}", self.id));
        } else if unsure && self.owns {
            self.progress.say(&format!(
                "acceptance unknown; check with: ccb status {0} \
                 (or repeat the command with --id {0}: an id never runs twice)",
                self.id
            ));
        }
        Err(error)
    }
}
