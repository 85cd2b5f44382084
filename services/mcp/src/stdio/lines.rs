//! The transport of MCP messages over stdin and stdout for the MCP library (rmcp), with one JSON
//! message per line. A line that is not a valid message is answered with a JSON-RPC error.
//!
//! ```text
//! stdin ─▶ reader task ──messages──▶ library ──answers──▶ stdout
//!               └──────errors for lines without a message───┘
//! ```
//!
//! A lock around stdout keeps two writers from mixing their lines. If a client does not read the
//! answers, the reader task also waits, so no queue can grow without limit.

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

/// The maximum length of a line from stdin, in bytes. A longer line is refused. By default the
/// bridge accepts no larger message.
const LINE_BYTES: usize = 16 * 1024 * 1024;
/// The maximum number of messages that are read from stdin before the MCP library handles them. It
/// bounds the memory for a client that sends without reading answers.
const READ_AHEAD: usize = 16;
/// The UTF-8 byte order mark, which some programs write at the start of a text. It is ignored at
/// the beginning of a line (RFC 8259, section 8.1).
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The transport of one MCP session over stdin and stdout, as the MCP library uses it.
#[derive(Debug)]
pub(super) struct Lines<W> {
    messages: mpsc::Receiver<ClientJsonRpcMessage>,
    output: Output<W>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> Lines<W> {
    /// Creates the transport and starts the task that reads `input`. When the input ends, the MCP
    /// session that `requests` belongs to ends too.
    pub(super) fn new<R>(input: R, output: W, requests: Requests) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (tx, messages) = mpsc::channel(READ_AHEAD);
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

/// The stdout that the library and the reader task share. `None` after the session has ended.
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

/// The task that reads stdin. It passes valid messages to the MCP library, and answers other lines
/// with an error.
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
                Ok(Line::Complete) => self.message(&line),
                Ok(Line::TooLong) => Err(Malformed::request(
                    None,
                    format!("the line is longer than {LINE_BYTES} bytes; send shorter messages"),
                )),
                Ok(Line::End) => break,
                Err(error) => {
                    tracing::warn!(%error, "could not read stdin; ending the MCP session");
                    break;
                }
            };
            let is_open = match message {
                Ok(Some(message)) => messages.send(message).await.is_ok(),
                Ok(None) => true,
                Err(malformed) => {
                    tracing::debug!(
                        %malformed,
                        "a line of stdin is not a valid MCP message; answering with an error"
                    );
                    self.output.write(&malformed.response()).await.is_ok()
                }
            };
            if !is_open {
                break;
            }
        }
        self.requests.end();
    }

    /// Parses the message of one line. Returns `None` if the line can be ignored, because it is
    /// blank or a notification that cannot be parsed. Returns an error to answer if the line is not
    /// a valid message.
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
            // A notification gets no answer in JSON-RPC.
            Err(_) if envelope.is_notification() => Ok(None),
            Err(_) => Err(Malformed::shape(envelope)),
        }
    }
}

/// The result of reading one line from stdin.
enum Line {
    /// A complete line, including its newline.
    Complete,
    /// A line that is longer than [`LINE_BYTES`]. It was skipped.
    TooLong,
    /// The end of stdin. An incomplete last line without a newline is dropped.
    End,
}

/// Reads the next line of stdin into `line`. A line that is longer than [`LINE_BYTES`] is skipped
/// to its end, so that memory stays bounded.
async fn next_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    loop {
        let max = (LINE_BYTES - line.len()) as u64;
        input.take(max).read_until(b'\n', line).await?;
        if line.ends_with(b"\n") {
            return Ok(if too_long {
                Line::TooLong
            } else {
                Line::Complete
            });
        }
        if line.len() < LINE_BYTES {
            return Ok(Line::End);
        }
        too_long = true;
        line.clear();
    }
}
