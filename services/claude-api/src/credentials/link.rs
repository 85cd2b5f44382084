//! One connection of `credentials`: lines of JSON in both directions.

use std::io;
use std::time::Duration;

use futures::StreamExt;
use grants::{CredentialState, LINE_BYTES, Order, Report, Timing, VERSION, parse, to_line};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use super::shared::Shared;
use super::table::LinkNumber;

/// The message in the log about a connection that ended before both sides had said hello.
const REFUSED: &str = "refused a connection of the service credentials";

/// The lines that a peer sends, each without its newline. The codec bounds their length.
type Lines = FramedRead<OwnedReadHalf, LinesCodec>;

/// The reason why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the service credentials closed the connection")]
    Closed,
    #[error("the connection of the service credentials broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the service credentials sent nothing for {0:?}")]
    Silent(Duration),
    #[error("the service credentials read nothing for {0:?}")]
    Unread(Duration),
    #[error("the service credentials sent a line of more than {LINE_BYTES} bytes")]
    TooLong,
    #[error("the service credentials sent a line that is {0}")]
    NoMessage(#[from] grants::LineError),
    #[error("the service credentials did not begin with a hello")]
    NoHello,
    #[error("the service credentials sent a second hello")]
    SecondHello,
    #[error(
        "the service credentials speaks version {0} of the messages, this claude-api {VERSION}: \
         start both from the same release"
    )]
    Version(u32),
    #[error("a newer connection of the service credentials has replaced this one")]
    Replaced,
}

impl From<LinesCodecError> for Ended {
    fn from(error: LinesCodecError) -> Self {
        match error {
            LinesCodecError::MaxLineLengthExceeded => Self::TooLong,
            LinesCodecError::Io(error) => Self::Broken(error),
        }
    }
}

/// Ends a connection when it is dropped, so that no path leaves the table with a dead one.
struct Connected<'a> {
    shared: &'a Shared,
    number: LinkNumber,
    reason: String,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let reason = std::mem::take(&mut self.reason);
        self.shared.disconnect(self.number, reason);
    }
}

/// Serves a connection of a peer that may connect, until it ends. `stranger` is the place of the
/// connection among those without a hello. It is released when the peer has said hello.
pub(super) async fn run(stream: TcpStream, shared: &Shared, stranger: OwnedSemaphorePermit) {
    let (reader, mut writer) = stream.into_split();
    let codec = LinesCodec::new_with_max_length(LINE_BYTES - 1);
    let mut lines = FramedRead::new(reader, codec);
    let credential = match greet(&mut lines, &mut writer, shared.timing.silence).await {
        Ok(credential) => credential,
        Err(ended) => {
            let reason = &ended;
            match ended {
                Ended::Version(_) => tracing::error!(%reason, "{REFUSED}"),
                _ => tracing::warn!(%reason, "{REFUSED}"),
            }
            shared.refused(ended.to_string());
            return;
        }
    };
    drop(stranger);
    let mut connected = Connected {
        shared,
        number: shared.connect(credential),
        reason: "the task of the connection panicked".to_owned(),
    };
    tracing::info!("the service credentials is connected");
    // Both ends of the connection fail together: a reader without a writer would be no use.
    let ended = tokio::select! {
        ended = read(&mut lines, shared, connected.number) => ended,
        ended = write(&mut writer, shared, connected.number) => ended,
    };
    let reason = ended.to_string();
    tracing::warn!(reason, "lost the connection of the service credentials");
    connected.reason = reason;
}

/// Exchanges the first lines. Returns the credential that the peer reports.
async fn greet(
    lines: &mut Lines,
    writer: &mut OwnedWriteHalf,
    silence: Duration,
) -> Result<CredentialState, Ended> {
    send(writer, [Order::Hello { version: VERSION }], silence).await?;
    match next(lines, silence).await? {
        Report::Hello {
            version: VERSION,
            credential,
            upstream: _,
        } => Ok(credential),
        Report::Hello { version, .. } => Err(Ended::Version(version)),
        _ => Err(Ended::NoHello),
    }
}

/// Reads and handles reports until the connection ends.
async fn read(lines: &mut Lines, shared: &Shared, number: LinkNumber) -> Ended {
    loop {
        let report = match next(lines, shared.timing.silence).await {
            Ok(report) => report,
            Err(ended) => return ended,
        };
        if !shared.report(number, report) {
            return Ended::SecondHello;
        }
    }
}

/// Reads the next line as a message. The peer has `silence` for it.
async fn next(lines: &mut Lines, silence: Duration) -> Result<Report, Ended> {
    let line = timeout(silence, lines.next()).await;
    let line = line.map_err(|_| Ended::Silent(silence))?;
    let line = line.ok_or(Ended::Closed)??;
    Ok(parse(line.as_bytes())?)
}

/// Writes orders and beats until the connection ends or is replaced.
async fn write(writer: &mut OwnedWriteHalf, shared: &Shared, number: LinkNumber) -> Ended {
    let mut changes = shared.changes.subscribe();
    let Timing { beat, silence } = shared.timing;
    let mut beat = interval(beat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The change is marked as seen before the orders are taken, so that no change is missed.
        changes.mark_unchanged();
        let Some(orders) = shared.locked(|table| table.take_orders(number)) else {
            return Ended::Replaced;
        };
        if let Err(ended) = send(writer, orders, silence).await {
            return ended;
        }
        let is_beat = tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => false,
                Err(_) => return Ended::Replaced,
            },
            _ = beat.tick() => true,
        };
        if is_beat && let Err(ended) = send(writer, [Order::Beat], silence).await {
            return ended;
        }
    }
}

/// Writes messages. The peer has `silence` to read each.
async fn send(
    writer: &mut OwnedWriteHalf,
    orders: impl IntoIterator<Item = Order>,
    silence: Duration,
) -> Result<(), Ended> {
    for order in orders {
        let line = to_line(&order);
        let written = timeout(silence, writer.write_all(line.as_bytes())).await;
        written.map_err(|_| Ended::Unread(silence))??;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
