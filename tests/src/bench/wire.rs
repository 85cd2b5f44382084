//! A client that does little work for a message, so the figures are those of the services. It still
//! checks that offsets are contiguous. It uses the low layer of the Rust client, and reads the few
//! fields that it needs in place, without an allocation for each message.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use client::{Connection, ConnectionOptions, Utf8Bytes};
use protocol::message::Output;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// The timeout of every wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// The size of a read, for few sessions with much output.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// One session.
pub(super) struct Wire {
    connection: Connection,
    next: u64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    method: &'a str,
    #[serde(default, borrow)]
    params: Option<Params<'a>>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    offset: Option<u64>,
    state: Option<&'a str>,
    output_bytes: Option<u64>,
    crc32: Option<&'a str>,
}

/// The end of an execution.
pub(super) struct End {
    pub(super) state: String,
    /// Of the whole output, in bytes.
    pub(super) length: u64,
    /// Of the whole output, as the status says it.
    pub(super) crc32: Option<String>,
}

/// A received message.
pub(super) enum Came {
    /// Output at an offset, in this message.
    Output { offset: u64, text: Utf8Bytes },
    /// The end.
    End(End),
}

impl Wire {
    /// Connects a session; with small buffers for many sessions.
    pub(super) async fn open(bridge: SocketAddr, small: bool) -> anyhow::Result<Self> {
        let options = ConnectionOptions {
            read_buffer_bytes: if small { 4096 } else { READ_BUFFER_BYTES },
            ..ConnectionOptions::default()
        };
        let address = format!("ws://{bridge}/ws").parse()?;
        let connection = Connection::connect(&address, &options).await?;
        let mut wire = Self {
            connection,
            next: 0,
        };
        let hello = wire.text().await?;
        ensure!(hello.contains("connected"), "no session: {hello}");
        Ok(wire)
    }

    async fn text(&mut self) -> anyhow::Result<Utf8Bytes> {
        let text = tokio::time::timeout(PATIENCE, self.connection.next_text());
        Ok(text.await.context("nothing came")??)
    }

    /// Sends an execute and does not wait for its answer.
    pub(super) async fn execute(&mut self, prompt: &str, extra: Value) -> anyhow::Result<()> {
        let mut params = json!({"prompt": prompt});
        if let (Value::Object(params), Value::Object(extra)) = (&mut params, extra) {
            params.extend(extra);
        }
        self.request("execute", &params).await
    }

    async fn request(&mut self, method: &str, params: &Value) -> anyhow::Result<()> {
        self.next += 1;
        let message =
            json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        Ok(self.connection.send_text(message.to_string()).await?)
    }

    /// Attaches to an execution from its first byte, and reads no further than the answer.
    pub(super) async fn attach(&mut self, id: &str) -> anyhow::Result<()> {
        self.request("attach", &json!({"executionId": id})).await?;
        let answer = self.text().await?;
        ensure!(answer.contains(r#""result""#), "refused: {answer}");
        Ok(())
    }

    /// Returns the next output, or the end.
    pub(super) async fn next(&mut self) -> anyhow::Result<Came> {
        loop {
            let text = self.text().await?;
            let envelope: Envelope<'_> = match serde_json::from_str(&text) {
                Ok(envelope) => envelope,
                // A status with an escape in a field that is borrowed here.
                Err(_) => continue,
            };
            ensure!(envelope.error.is_none(), "refused: {text}");
            let Some(params) = envelope.params else {
                continue;
            };
            if envelope.method == "output" {
                return Ok(Came::Output {
                    offset: params.offset.context("an offset")?,
                    text,
                });
            }
            ensure!(envelope.method != "gap", "a gap: {text}");
            if let Some(state) = params.state
                && crate::ws::status::is_terminal(state)
            {
                return Ok(Came::End(End {
                    state: state.to_owned(),
                    length: params.output_bytes.unwrap_or_default(),
                    crc32: params.crc32.map(str::to_owned),
                }));
            }
        }
    }

    /// Reads to the end of the execution; returns the length of its output.
    pub(super) async fn drain(&mut self) -> anyhow::Result<u64> {
        let mut last = None;
        loop {
            match self.next().await? {
                Came::Output { offset, .. } => {
                    ensure!(
                        last.is_none_or(|last| offset > last),
                        "output goes back to {offset}"
                    );
                    last = Some(offset);
                }
                Came::End(End { state, length, .. }) => {
                    ensure!(state == "completed", "it ended {state}");
                    ensure!(
                        last.is_none_or(|last| last < length),
                        "longer than its end says"
                    );
                    return Ok(length);
                }
            }
        }
    }
}

/// The content of an output message, decoded.
pub(super) fn content(text: &str) -> String {
    #[derive(Deserialize)]
    struct Message {
        params: Output,
    }
    serde_json::from_str(text)
        .map_or_else(|_| String::new(), |message: Message| message.params.content)
}
