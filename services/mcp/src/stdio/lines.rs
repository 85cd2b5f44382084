//! Messages as lines: a transport of the library that answers by itself what is no message.
//!
//! ```text
//! stdin ─▶ reader task ──messages──▶ library ──answers──▶ stdout
//!               └───────errors about lines that are no message──┘
//! ```
//!
//! One lock around stdout keeps every line whole. A client that does not read its answers holds up
//! the reader task too, so no queue grows.

use std::io;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::BufReader;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
};
use tokio::sync::{Mutex, mpsc};

use crate::message::{self, Malformed};
use crate::requests::Requests;

/// The longest line, in bytes. The bridge takes no larger message by default.
const LINE_BYTES: usize = 16 * 1024 * 1024;
/// Messages that are read ahead.
const AHEAD: usize = 16;
/// The byte order mark, which RFC 8259 (section 8.1) lets a reader ignore.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The transport of one session.
#[derive(Debug)]
pub(super) struct Lines<W> {
    messages: mpsc::Receiver<ClientJsonRpcMessage>,
    output: Output<W>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> Lines<W> {
    /// Begins to read. The end of the input ends the session of `requests`.
    pub(super) fn new<R>(input: R, output: W, requests: Requests) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (tx, messages) = mpsc::channel(AHEAD);
        let output = Output(Arc::new(Mutex::new(Some(output))));
        let reader = Reader {
            input: BufReader::new(input),
            output: output.clone(),
            requests,
        };
        tokio::spawn(reader.run(tx));
        Self { messages, output }
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Transport<RoleServer> for Lines<W> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = self.output.clone();
        async move { output.write(&message).await }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.messages.recv().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.messages.close();
        *self.output.0.lock().await = None;
        Ok(())
    }
}

/// Stdout, until the session ends.
#[derive(Debug)]
struct Output<W>(Arc<Mutex<Option<W>>>);

impl<W> Clone for Output<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: AsyncWrite + Unpin> Output<W> {
    async fn write(&self, message: &ServerJsonRpcMessage) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut output = self.0.lock().await;
        let Some(output) = output.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        output.write_all(&line).await?;
        output.flush().await
    }
}

/// Reads lines.
struct Reader<R, W> {
    input: BufReader<R>,
    output: Output<W>,
    requests: Requests,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Reader<R, W> {
    async fn run(mut self, messages: mpsc::Sender<ClientJsonRpcMessage>) {
        let mut line = Vec::new();
        loop {
            let message = match next_line(&mut self.input, &mut line).await {
                Ok(Line::Whole) => self.message(&line),
                Ok(Line::TooLong) => Err(Malformed::request(
                    None,
                    format!("a line has at most {LINE_BYTES} bytes"),
                )),
                Ok(Line::End) => break,
                Err(error) => {
                    tracing::warn!(%error, "could not read stdin");
                    break;
                }
            };
            let passed = match message {
                Ok(Some(message)) => messages.send(message).await.is_ok(),
                Ok(None) => true,
                Err(malformed) => {
                    tracing::debug!(%malformed, "refused a line");
                    self.output.write(&malformed.response()).await.is_ok()
                }
            };
            if !passed {
                break;
            }
        }
        self.requests.end();
    }

    /// Reads one message. None for a line to ignore.
    fn message(&self, line: &[u8]) -> Result<Option<ClientJsonRpcMessage>, Malformed> {
        let line = line.trim_ascii();
        let line = line.strip_prefix(MARK).unwrap_or(line);
        if line.is_empty() {
            return Ok(None);
        }
        let envelope = message::read(line)?;
        match serde_json::from_slice(line) {
            Ok(ClientJsonRpcMessage::Request(mut request)) => {
                self.requests.begin(&mut request)?;
                Ok(Some(ClientJsonRpcMessage::Request(request)))
            }
            Ok(message) => Ok(Some(message)),
            // JSON-RPC answers no notification.
            Err(_) if envelope.is_notification() => Ok(None),
            Err(_) => Err(Malformed::shape(envelope)),
        }
    }
}

enum Line {
    /// A line, with its end.
    Whole,
    /// A line that was skipped.
    TooLong,
    /// The end of the input, also in the middle of a line.
    End,
}

/// Reads one line into `line`, of which it keeps no more than [`LINE_BYTES`].
async fn next_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    loop {
        let most = (LINE_BYTES - line.len()) as u64;
        input.take(most).read_until(b'\n', line).await?;
        if line.ends_with(b"\n") {
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
        if line.len() < LINE_BYTES {
            return Ok(Line::End);
        }
        too_long = true;
        line.clear();
    }
}
