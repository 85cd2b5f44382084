//! One control connection, from its first line to its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use grants::{CredentialState, Delivery, LINE_BYTES, LineError, Order, Report, Timing, VERSION};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::forward::Forwarder;
use crate::table::{Session, Table};
use crate::webhooks::Sender;

/// The time between two looks at the files of the credential. A change is reported that late at
/// most; requests use the new credential at once.
const CREDENTIAL_PERIOD: Duration = Duration::from_secs(1);

/// The reason why a control connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The connection could not be opened, or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// claude-api closed it, because it stops or has a newer connection.
    #[error("claude-api closed the connection")]
    Closed,
    /// No line arrived for this long.
    #[error("claude-api was silent for {0:?}")]
    Silent(Duration),
    /// No byte of a report could be written for this long.
    #[error("claude-api read nothing for {0:?}")]
    Unread(Duration),
    /// A line is too long or no message.
    #[error("claude-api sent a line that is {0}")]
    BadLine(#[from] LineError),
    /// A line is longer than the limit, or not UTF-8.
    #[error("claude-api sent a malformed line: {0}")]
    Malformed(LinesCodecError),
    /// The first line is no `hello`.
    #[error("the first line of claude-api is no hello")]
    NoHello,
    /// The other side has another version.
    #[error(
        "claude-api speaks version {0} of the control connection, this service {VERSION}; use the \
         same release of both"
    )]
    Version(u32),
}

/// The lines of claude-api.
type Lines = FramedRead<OwnedReadHalf, LinesCodec>;

/// A control connection that is open.
pub(super) struct Connection<'a> {
    lines: Lines,
    write: OwnedWriteHalf,
    table: &'a Table,
    forwarder: &'a Forwarder,
    webhooks: &'a Arc<Sender>,
    timing: Timing,
    /// The state of the credential that was reported last.
    reported: CredentialState,
    /// The deliveries that are being tried. They end with the connection.
    deliveries: JoinSet<Report>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        stream: TcpStream,
        table: &'a Table,
        forwarder: &'a Forwarder,
        webhooks: &'a Arc<Sender>,
        timing: Timing,
    ) -> Self {
        let (read, write) = stream.into_split();
        Self {
            lines: FramedRead::new(read, LinesCodec::new_with_max_length(LINE_BYTES - 1)),
            write,
            table,
            forwarder,
            webhooks,
            timing,
            reported: forwarder.secrets.state(),
            deliveries: JoinSet::new(),
        }
    }

    /// Exchanges messages until the connection ends. Calls `synced` when all grants are in force.
    /// Afterwards no grant is in force.
    pub(super) async fn serve(mut self, synced: impl FnMut()) -> Ended {
        match self.exchange(synced).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn exchange(
        &mut self,
        mut synced: impl FnMut(),
    ) -> Result<std::convert::Infallible, Ended> {
        let hello = Report::Hello {
            version: VERSION,
            credential: self.reported.clone(),
            upstream: self.forwarder.upstream.origin().without_path(),
        };
        self.send(&hello).await?;
        let Timing { beat, silence } = self.timing;
        match next_order(&mut self.lines, Instant::now(), silence).await? {
            Order::Hello { version: VERSION } => {}
            Order::Hello { version } => return Err(Ended::Version(version)),
            _ => return Err(Ended::NoHello),
        }
        let session = self.table.connect();
        let mut last_line = Instant::now();
        let mut beat = ticks(beat);
        let mut credential = ticks(CREDENTIAL_PERIOD);
        let reports = self.forwarder.ledger.reports.clone();
        loop {
            tokio::select! {
                order = next_order(&mut self.lines, last_line, silence) => {
                    let order = order?;
                    last_line = Instant::now();
                    if order == Order::Synced {
                        tracing::info!("connected to claude-api; the grants are in force");
                        synced();
                    }
                    self.obey(&session, order).await?;
                }
                report = reports.next() => {
                    if let Err(error) = self.send(&report).await {
                        reports.put_back(report);
                        return Err(error);
                    }
                }
                Some(delivered) = self.deliveries.join_next() => {
                    // A try that panicked has no result; claude-api tries again.
                    if let Ok(report) = delivered {
                        self.send(&report).await?;
                    }
                }
                _ = beat.tick() => self.send(&Report::Beat).await?,
                _ = credential.tick() => self.report_credential().await?,
            }
        }
    }

    /// Does what claude-api asks for.
    async fn obey(&mut self, session: &Session, order: Order) -> Result<(), Ended> {
        match order {
            Order::Hello { .. } | Order::Beat => {}
            Order::Grant(registration) => {
                let execution_id = registration.execution_id.clone();
                if session.register(registration) {
                    self.send(&Report::Granted { execution_id }).await?;
                } else {
                    tracing::warn!(execution_id, "too many grants; this one is not in force");
                }
            }
            Order::Synced => session.synced(),
            Order::Revoke { execution_id } => self.revoke(session, execution_id),
            Order::Exhaust { execution_id } => session.exhaust(&execution_id),
            Order::Deliver(delivery) => self.begin_delivery(delivery),
        }
        Ok(())
    }

    /// Ends a grant. The result follows the reports of its last requests, in the same queue.
    fn revoke(&self, session: &Session, execution_id: String) {
        let requests = session.revoke(&execution_id);
        let reports = self.forwarder.ledger.reports.clone();
        // The task ends with the requests, which are cut within a second. It outlives the
        // connection, as the reports of the requests do.
        tokio::spawn(async move {
            requests.wait().await;
            reports.push_revoked(execution_id);
        });
    }

    /// Begins one try to deliver a webhook. The sender bounds the number of tries.
    fn begin_delivery(&mut self, delivery: Delivery) {
        let webhooks = Arc::clone(self.webhooks);
        self.deliveries.spawn(async move {
            let id = delivery.id.clone();
            let outcome = webhooks.deliver(delivery).await;
            Report::Delivered { id, outcome }
        });
    }

    /// Reports the credential if it has changed.
    async fn report_credential(&mut self) -> Result<(), Ended> {
        let state = self.forwarder.secrets.state();
        if state == self.reported {
            return Ok(());
        }
        tracing::info!(credential = ?state, "the credential has changed");
        self.reported = state.clone();
        self.send(&Report::Credential(state)).await
    }

    /// Writes a report. A claude-api that reads nothing for too long counts as gone.
    async fn send(&mut self, report: &Report) -> Result<(), Ended> {
        let line = grants::to_line(report);
        let limit = self.timing.silence;
        match timeout(limit, self.write.write_all(line.as_bytes())).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Ended::Unread(limit)),
        }
    }
}

/// Waits for the next order until claude-api was silent for `silence`, counted from `last_line`.
/// Cancel-safe.
async fn next_order(
    lines: &mut Lines,
    last_line: Instant,
    silence: Duration,
) -> Result<Order, Ended> {
    match timeout_at(last_line + silence, lines.next()).await {
        Err(_) => Err(Ended::Silent(silence)),
        Ok(None) => Err(Ended::Closed),
        Ok(Some(Ok(line))) => Ok(grants::parse(line.as_bytes())?),
        Ok(Some(Err(LinesCodecError::Io(error)))) => Err(error.into()),
        Ok(Some(Err(error))) => Err(Ended::Malformed(error)),
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
