//! Plays the steps of one turn: as a stream of events, or as one message.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{request::Asked, script::Step, wire};

/// The pause between the deltas of a thinking block.
const THINKING_PACE: Duration = Duration::from_millis(100);
/// The pause before an error: hyper loses unflushed data when an error follows immediately.
const FLUSH: Duration = Duration::from_millis(20);

/// A content block and its deltas, each with the wait before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The whole block.
    pub whole: Value,
    /// The deltas of a stream, in order.
    pub deltas: Vec<(Duration, Value)>,
    /// Silence before the block.
    pub stall: Duration,
}

/// One answer, ready to be played.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// In order.
    pub blocks: Vec<Block>,
    /// `end_turn` or `tool_use`.
    pub stop_reason: &'static str,
    /// Silence after the last block.
    pub stall: Duration,
}

/// Returns the words with spaces between them, or `none` if there are none.
fn joined<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
    if words.is_empty() {
        return "none".to_owned();
    }
    words.join(" ")
}

/// Creates the answer to a request: the output of the last tool, then this turn's steps.
#[must_use]
pub fn answer(asked: &Asked, steps: &[Step], delay: Duration) -> Answer {
    let mut blocks = Vec::new();
    let mut stop_reason = "end_turn";
    let mut stall = Duration::ZERO;
    // Consecutive text is one block, as from the real model.
    let mut text: Vec<(Duration, String)> = Vec::new();
    if let Some(result) = asked.results.last() {
        say(result, delay, &mut text);
        // A separate block: the next text of the script is not part of the tool's output.
        flush(&mut text, &mut stall, &mut blocks);
    }
    for step in steps {
        match step {
            Step::Say(words) => say(words, delay, &mut text),
            Step::EchoLength => {
                let digest = ring::digest::digest(&ring::digest::SHA256, asked.prompt.as_bytes());
                let words = format!(
                    "bytes={} sha256={}",
                    asked.prompt.len(),
                    crate::hex(digest.as_ref())
                );
                say(&words, delay, &mut text);
            }
            Step::Images => say(&joined(&asked.images), delay, &mut text),
            Step::Marks => say(&joined(&asked.marks), delay, &mut text),
            Step::Tokens { count, delay: own } => {
                text.extend((1..=*count).map(|n| (own.unwrap_or(delay), format!("word{n} "))));
            }
            Step::Stall(time) => match text.last() {
                // A stall in the middle of a block is a wait before its next delta.
                Some(_) => text.push((*time, String::new())),
                None => stall += *time,
            },
            Step::Think(time) => {
                flush(&mut text, &mut stall, &mut blocks);
                blocks.push(thinking(*time, std::mem::take(&mut stall)));
            }
            Step::Tool { name, input } => {
                flush(&mut text, &mut stall, &mut blocks);
                blocks.push(tool(name, input, std::mem::take(&mut stall)));
                stop_reason = "tool_use";
            }
        }
    }
    flush(&mut text, &mut stall, &mut blocks);
    blocks.drain(..asked.survived.min(blocks.len()));
    if blocks.is_empty() {
        blocks.push(text_block(
            vec![(Duration::ZERO, "Done.".into())],
            Duration::ZERO,
        ));
    }
    Answer {
        blocks,
        stop_reason,
        stall,
    }
}

/// Splits after the spaces, so the joined deltas are the text.
fn say(words: &str, delay: Duration, text: &mut Vec<(Duration, String)>) {
    text.extend(
        words
            .split_inclusive(' ')
            .map(|word| (delay, word.to_owned())),
    );
}

fn flush(text: &mut Vec<(Duration, String)>, stall: &mut Duration, blocks: &mut Vec<Block>) {
    if !text.is_empty() {
        blocks.push(text_block(std::mem::take(text), std::mem::take(stall)));
    }
}

fn text_block(text: Vec<(Duration, String)>, stall: Duration) -> Block {
    let whole: String = text.iter().map(|(_, part)| part.as_str()).collect();
    let deltas = text
        .into_iter()
        .map(|(wait, part)| (wait, json!({"type": "text_delta", "text": part})));
    Block {
        whole: json!({"type": "text", "text": whole}),
        deltas: deltas.collect(),
        stall,
    }
}

fn thinking(time: Duration, stall: Duration) -> Block {
    let count = (time.as_millis() / THINKING_PACE.as_millis()).max(1);
    let pace = time / u32::try_from(count).unwrap_or(u32::MAX);
    let mut deltas: Vec<_> = (0..count)
        .map(|_| (pace, json!({"type": "thinking_delta", "thinking": "hm "})))
        .collect();
    deltas.push((
        Duration::ZERO,
        json!({"type": "signature_delta", "signature": "scripted"}),
    ));
    let thought = "hm ".repeat(usize::try_from(count).unwrap_or(1));
    Block {
        whole: json!({"type": "thinking", "thinking": thought, "signature": "scripted"}),
        deltas,
        stall,
    }
}

fn tool(name: &str, input: &Value, stall: Duration) -> Block {
    let id = format!("toolu_{}", uuid::Uuid::new_v4().simple());
    let deltas = vec![(
        Duration::ZERO,
        json!({"type": "input_json_delta", "partial_json": input.to_string()}),
    )];
    Block {
        whole: json!({"type": "tool_use", "id": id, "name": name, "input": input}),
        deltas,
        stall,
    }
}

fn message(asked: &Asked) -> Value {
    let id = format!("msg_{}", uuid::Uuid::new_v4().simple());
    let tokens = u64::try_from(asked.prompt.len()).unwrap_or(u64::MAX) / 4 + 1;
    wire::message(&id, &asked.model, tokens)
}

/// Returns the answer as one message; only thinking and stalling delay it.
pub async fn whole(asked: &Asked, answer: Answer) -> Value {
    let waits = answer
        .blocks
        .iter()
        .map(|block| block.stall)
        .sum::<Duration>()
        + answer.stall;
    tokio::time::sleep(waits).await;
    let mut message = message(asked);
    message["usage"]["output_tokens"] = answer
        .blocks
        .iter()
        .map(|block| block.deltas.len())
        .sum::<usize>()
        .into();
    message["content"] = answer.blocks.into_iter().map(|block| block.whole).collect();
    message["stop_reason"] = answer.stop_reason.into();
    message
}

/// Writes the answer as events to `out`; ends early when the reader is gone. With `cut`, the stream
/// breaks after this number of deltas.
pub async fn stream(
    asked: Asked,
    answer: Answer,
    cut: Option<u64>,
    out: mpsc::Sender<std::io::Result<Bytes>>,
) {
    // A reader that is gone is no error: the CLI was cancelled.
    let _ = play(&asked, answer, cut, &out).await;
}

struct Gone;

async fn play(
    asked: &Asked,
    answer: Answer,
    cut: Option<u64>,
    out: &mpsc::Sender<std::io::Result<Bytes>>,
) -> Result<(), Gone> {
    let send = async |value: Value| {
        out.send(Ok(wire::event(&value).into()))
            .await
            .map_err(|_| Gone)
    };
    send(json!({"type": "message_start", "message": message(asked)})).await?;
    let mut sent = 0_u64;
    for (index, block) in answer.blocks.into_iter().enumerate() {
        tokio::time::sleep(block.stall).await;
        send(wire::block_start(index, &block.whole)).await?;
        for (wait, delta) in block.deltas {
            if cut == Some(sent) {
                return broken(out).await;
            }
            tokio::time::sleep(wait).await;
            let silent = delta["type"] == "text_delta" && delta["text"] == "";
            if !silent {
                send(wire::block_delta(index, &delta)).await?;
                sent += 1;
            }
        }
        send(wire::block_stop(index)).await?;
    }
    if cut.is_some() {
        return broken(out).await;
    }
    tokio::time::sleep(answer.stall).await;
    send(wire::message_delta(answer.stop_reason, sent)).await?;
    send(json!({"type": "message_stop"})).await
}

async fn broken(out: &mpsc::Sender<std::io::Result<Bytes>>) -> Result<(), Gone> {
    tokio::time::sleep(FLUSH).await;
    let error = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the script cuts here");
    out.send(Err(error)).await.map_err(|_| Gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::script;

    fn asked(prompt: &str, results: &[&str]) -> Asked {
        Asked {
            images: Vec::new(),
            marks: Default::default(),
            prompt: prompt.into(),
            results: results.iter().map(ToString::to_string).collect(),
            survived: 0,
            stream: true,
            model: "m".into(),
            user: "u".into(),
            side: false,
        }
    }

    fn made(prompt: &str, results: &[&str]) -> Answer {
        let steps = script::parse(prompt).turn(results.len());
        answer(&asked(prompt, results), &steps, Duration::ZERO)
    }

    #[test]
    fn a_tool_is_asked_then_its_output_is_the_answer() {
        let first = made("print(1)", &[]);
        assert_eq!(first.stop_reason, "tool_use");
        assert_eq!(
            first.blocks[0].whole["input"]["command"],
            "python3 -c 'print(1)'"
        );
        let second = made("print(1)", &["1"]);
        assert_eq!(second.stop_reason, "end_turn");
        assert_eq!(second.blocks[0].whole["text"], "1");
    }

    #[test]
    fn the_length_is_that_of_the_prompt() {
        let text = made("@echo-length\nxyz", &[]).blocks[0].whole["text"]
            .as_str()
            .expect("text")
            .to_owned();
        assert!(text.starts_with("bytes=16 sha256="), "{text}");
    }

    #[tokio::test]
    async fn a_stream_breaks_where_the_script_says() {
        let (sender, mut receiver) = mpsc::channel(100);
        stream(asked("", &[]), made("@tokens 10", &[]), Some(3), sender).await;
        let mut deltas = 0;
        let mut broke = false;
        while let Some(item) = receiver.recv().await {
            match item {
                Ok(bytes) => {
                    deltas += usize::from(bytes.starts_with(b"event: content_block_delta"))
                }
                Err(_) => broke = true,
            }
        }
        assert!(broke);
        assert_eq!(deltas, 3);
    }
}
