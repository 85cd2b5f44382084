//! The background task of a client. It owns the WebSocket connection, and reconnects while a
//! request or a run needs it.

use std::pin::pin;
use std::time::Duration;

use retries::Delays;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::command::Command;
use crate::live_connection::{LiveConnection, Lost};
use crate::machine::{Machine, Received};
use crate::{Address, Error, Options};

/// The background task of a client. It reads and writes the WebSocket connection, and applies the
/// commands of the client and the messages of the bridge to the state machine.
pub(crate) struct ClientTask {
    address: Address,
    options: Options,
    commands: mpsc::UnboundedReceiver<Command>,
    machine: Machine,
    delays: Delays,
    /// The time since which the client has no working connection, or `None` if the bridge serves
    /// it. After [`Options::give_up`] the client stops trying to reconnect.
    stuck_since: Option<Instant>,
    /// The pause that the bridge asked for after the last attempt to connect.
    pause: Option<Duration>,
    /// The error of a bridge that does not let this client in. It ends every request and run
    /// without another attempt, because each one counts as a failed authentication.
    refusal: Option<Error>,
}

/// The order to end the background task, because the client was closed or dropped. The sender, if
/// there is one, notifies the caller of `Client::close`.
struct Stop(Option<oneshot::Sender<()>>);

/// The reason why the background task stops using its connection.
enum End {
    Stop(Stop),
    Lost(Lost),
}

impl ClientTask {
    pub(crate) fn new(
        address: Address,
        options: Options,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        // The delays never end; `stuck_since` decides when the client gives up.
        let delays = Delays::new(options.first_delay, options.max_delay);
        let machine = Machine::new(options.raw);
        Self {
            address,
            options,
            commands,
            machine,
            delays,
            stuck_since: None,
            pause: None,
            refusal: None,
        }
    }

    /// Runs the background task with this first connection, and reconnects when a connection is
    /// lost. Returns when the client is closed, or when it and all its runs are dropped.
    pub(crate) async fn run(mut self, first: LiveConnection) {
        let mut connection = first;
        self.machine.set_limit(connection.message_bytes());
        loop {
            let reason = match self.serve(&mut connection).await {
                End::Stop(Stop(done)) => {
                    while let Some(text) = self.machine.next_request() {
                        connection.send(text);
                    }
                    connection.close().await;
                    done.map(|done| done.send(()));
                    return;
                }
                End::Lost(Lost::Retry(reason)) => reason,
                End::Lost(Lost::TooBig(reason)) => {
                    let error = Error::Protocol(reason.clone());
                    if !self.machine.refuse_largest(&error) {
                        self.machine.fail(&error);
                    }
                    reason
                }
                End::Lost(Lost::Final(error)) => {
                    let reason = error.to_string();
                    self.fail(error);
                    reason
                }
            };
            drop(connection);
            match self.reconnect(reason).await {
                Ok(new) => connection = new,
                Err(Stop(done)) => {
                    done.map(|done| done.send(()));
                    return;
                }
            }
        }
    }

    async fn serve(&mut self, connection: &mut LiveConnection) -> End {
        loop {
            while let Some(text) = self.machine.next_request() {
                connection.send(text);
            }
            let waiting = self.machine.has_events();
            tokio::select! {
                // Commands first, so that a cancel is sent while output waits to be read.
                biased;
                command = self.commands.recv() => {
                    if let Err(stop) = apply(&mut self.machine, command) {
                        return End::Stop(stop);
                    }
                }
                () = self.machine.deliver(), if waiting => {}
                // The connection is read even while events wait, so that pings are answered. The
                // machine bounds the events that wait for a slow run.
                text = connection.next() => {
                    let received = match text {
                        Ok(text) => self.machine.message(&text),
                        Err(lost) => return End::Lost(lost),
                    };
                    match received {
                        Ok(Received::Progress) => {
                            self.stuck_since = None;
                            self.delays.reset();
                        }
                        Ok(Received::Nothing) => {}
                        Ok(Received::RetryLater(reason)) => return End::Lost(Lost::Retry(reason)),
                        Err(error) => return End::Lost(Lost::Final(error)),
                    }
                }
            }
        }
    }

    async fn reconnect(&mut self, mut reason: String) -> Result<LiveConnection, Stop> {
        loop {
            while self.machine.is_idle() {
                self.stuck_since = None;
                let waiting = self.machine.has_events();
                tokio::select! {
                    biased;
                    command = self.commands.recv() => apply(&mut self.machine, command)?,
                    () = self.machine.deliver(), if waiting => {}
                }
            }
            if let Some(refusal) = &self.refusal {
                self.machine.fail(refusal);
                continue;
            }
            let stuck_since = *self.stuck_since.get_or_insert_with(Instant::now);
            if stuck_since.elapsed() >= self.options.give_up {
                let after = stuck_since.elapsed();
                self.machine.fail(&Error::GaveUp {
                    after,
                    reason: reason.clone(),
                });
                continue;
            }
            match self.try_once(&reason).await? {
                Ok(connection) => {
                    self.machine.set_limit(connection.message_bytes());
                    self.machine.connected(&connection.greeting);
                    return Ok(connection);
                }
                Err(error) if error.is_transient() => {
                    self.pause = error.retry_after();
                    reason = error.to_string();
                }
                Err(error) => self.fail(error),
            }
        }
    }

    /// Ends all requests and runs with this error. If the bridge does not let this client in, the
    /// client never connects again.
    fn fail(&mut self, error: Error) {
        self.machine.fail(&error);
        if error.is_refused_access() {
            self.refusal = Some(error);
        }
    }

    /// Returns the delay before the next attempt to connect. A pause that the bridge asked for is
    /// respected, but ends when the client gives up.
    fn next_delay(&mut self) -> Duration {
        let delay = self.delays.next_delay(None);
        let stuck = self.stuck_since.map_or(Duration::ZERO, |at| at.elapsed());
        let left = self.options.give_up.saturating_sub(stuck);
        let pause = self.pause.take().unwrap_or_default();
        delay.max(pause.min(left))
    }

    /// Waits for the reconnect delay and makes one attempt to connect. Commands are applied and
    /// events are delivered meanwhile. `reason` is why the last connection ended. Returns [`Stop`]
    /// if the client is closed, and an inner error if the attempt failed.
    async fn try_once(&mut self, reason: &str) -> Result<Result<LiveConnection, Error>, Stop> {
        let delay = self.next_delay();
        tracing::debug!(
            why = reason,
            ?delay,
            "no connection to the bridge; trying to connect again after the delay"
        );
        self.machine.lost(reason, delay);
        let (address, options) = (self.address.clone(), self.options.clone());
        let mut attempt = pin!(async {
            sleep(delay).await;
            Box::pin(LiveConnection::connect(&address, &options)).await
        });
        loop {
            let waiting = self.machine.has_events();
            tokio::select! {
                biased;
                command = self.commands.recv() => apply(&mut self.machine, command)?,
                () = self.machine.deliver(), if waiting => {}
                result = &mut attempt => return Ok(result),
            }
        }
    }
}

fn apply(machine: &mut Machine, command: Option<Command>) -> Result<(), Stop> {
    match command {
        Some(Command::Open(id, view, request)) => machine.open(id, view, request),
        Some(Command::Request(request, answer)) => machine.request(request, answer),
        Some(Command::Forget(id, token)) => machine.forget(id, token),
        Some(Command::Close(done)) => return Err(Stop(Some(done))),
        None => return Err(Stop(None)),
    }
    Ok(())
}
