//! The task that owns a client's connection: it serves while connected and connects again while there is
//! something to do.

use std::pin::pin;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use protocol::ExecutionId;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::book::{Book, Heard, Reply, View};
use crate::link::{Gone, Link};
use crate::{Address, Error, Options};

/// What handles ask of the actor.
pub(crate) enum Command {
    /// Execute or attach.
    Open(ExecutionId, View, &'static str, Value),
    /// Anything with an answer.
    Call(&'static str, Value, Reply),
    /// A run was dropped.
    Forget(ExecutionId, u64),
    /// Send what is queued, close, tell when it is done.
    Close(oneshot::Sender<()>),
}

pub(crate) struct Actor {
    address: Address,
    options: Options,
    commands: mpsc::UnboundedReceiver<Command>,
    book: Book,
    backoff: ExponentialBackoff,
    /// Since when there is no progress; `None` while there is.
    since: Option<Instant>,
}

/// The actor's end; somebody may wait for it.
struct Stop(Option<oneshot::Sender<()>>);

/// Why serving ended.
enum End {
    Stop(Stop),
    Gone(Gone),
}

impl Actor {
    pub(crate) fn new(
        address: Address,
        options: Options,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let backoff = ExponentialBackoff {
            current_interval: options.first_delay,
            initial_interval: options.first_delay,
            multiplier: 2.0,
            max_interval: options.max_delay,
            // Its default ends 15 minutes after it was made; `since` decides instead.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let book = Book::new(options.raw);
        Self {
            address,
            options,
            commands,
            book,
            backoff,
            since: None,
        }
    }

    /// Runs until the last handle is dropped or closes.
    pub(crate) async fn run(mut self, first: Link) {
        let mut link = first;
        self.book.set_limit(link.connected.message_bytes());
        loop {
            let why = match self.serve(&mut link).await {
                End::Stop(Stop(done)) => {
                    while let Some(text) = self.book.next_request() {
                        link.send(text);
                    }
                    link.close().await;
                    done.map(|done| done.send(()));
                    return;
                }
                End::Gone(Gone::Lost(why)) => why,
                End::Gone(Gone::TooBig(why)) => {
                    let error = Error::Protocol(why.clone());
                    if !self.book.refuse_largest(&error) {
                        self.book.fail(&error);
                    }
                    why
                }
                End::Gone(Gone::For(error)) => {
                    let why = error.to_string();
                    self.book.fail(&error);
                    why
                }
            };
            drop(link);
            match self.reconnect(why).await {
                Ok(new) => link = new,
                Err(Stop(done)) => {
                    done.map(|done| done.send(()));
                    return;
                }
            }
        }
    }

    async fn serve(&mut self, link: &mut Link) -> End {
        loop {
            while let Some(text) = self.book.next_request() {
                link.send(text);
            }
            let waiting = self.book.has_events();
            tokio::select! {
                // Commands first, so that a cancel goes out while output waits to be read.
                biased;
                command = self.commands.recv() => if let Err(stop) = apply(&mut self.book, command) {
                    return End::Stop(stop);
                },
                () = self.book.deliver(), if waiting => {}
                // The link is read also while events wait, so that pings are answered. The book
                // bounds the events that wait for a slow run.
                text = link.next() => {
                    let heard = match text {
                        Ok(text) => self.book.message(&text),
                        Err(gone) => return End::Gone(gone),
                    };
                    match heard {
                        Ok(Heard::Progress) => {
                            self.since = None;
                            self.backoff.reset();
                        }
                        Ok(Heard::Nothing) => {}
                        Ok(Heard::ComeBack(why)) => return End::Gone(Gone::Lost(why)),
                        Err(error) => return End::Gone(Gone::For(error)),
                    }
                }
            }
        }
    }

    async fn reconnect(&mut self, mut why: String) -> Result<Link, Stop> {
        loop {
            while self.book.is_idle() {
                self.since = None;
                let waiting = self.book.has_events();
                tokio::select! {
                    biased;
                    command = self.commands.recv() => apply(&mut self.book, command)?,
                    () = self.book.deliver(), if waiting => {}
                }
            }
            let since = *self.since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.options.give_up {
                let after = since.elapsed();
                self.book.fail(&Error::GaveUp {
                    after,
                    why: why.clone(),
                });
                continue;
            }
            match self.try_once(&why).await? {
                Ok(link) => {
                    self.book.set_limit(link.connected.message_bytes());
                    self.book.connected(&link.greeting);
                    return Ok(link);
                }
                Err(error) if error.is_transient() => why = error.to_string(),
                Err(error) => self.book.fail(&error),
            }
        }
    }

    /// Waits the pause and dials, taking commands and delivering events meanwhile.
    async fn try_once(&mut self, why: &str) -> Result<Result<Link, Error>, Stop> {
        let delay = self.backoff.next_backoff().unwrap_or(Duration::ZERO);
        tracing::debug!(why, ?delay, "the bridge is lost");
        self.book.lost(why, delay);
        let (address, options) = (self.address.clone(), self.options.clone());
        let mut attempt = pin!(async {
            sleep(delay).await;
            Box::pin(Link::dial(&address, &options)).await
        });
        loop {
            let waiting = self.book.has_events();
            tokio::select! {
                biased;
                command = self.commands.recv() => apply(&mut self.book, command)?,
                () = self.book.deliver(), if waiting => {}
                result = &mut attempt => return Ok(result),
            }
        }
    }
}

fn apply(book: &mut Book, command: Option<Command>) -> Result<(), Stop> {
    match command {
        Some(Command::Open(id, view, method, params)) => book.open(id, view, method, &params),
        Some(Command::Call(method, params, reply)) => book.call(method, &params, reply),
        Some(Command::Forget(id, token)) => book.forget(id, token),
        Some(Command::Close(done)) => return Err(Stop(Some(done))),
        None => return Err(Stop(None)),
    }
    Ok(())
}
