//! Finds the text of the model's answer in the CLI's events, and shows each part exactly once. The
//! CLI sends each text of the main conversation twice: as stream events, then whole in `assistant`
//! events. After a broken request it may send it again.
//!
//! ```text
//!              message_start             message_stop, complete
//!   (none) ───────────────────▶ open ─────────────────────────────▶ open, done ──▶ (none)
//!     ▲   or `assistant` alone    │                             (its `assistant` may still follow)
//!     │                           │ message_stop, not complete or abandoned
//!     └────── result ◀── broken ◀─┘
//!                          └── message_start, `assistant`: a restart, compared with what was shown
//! ```
//!
//! A message is *complete* once its `message_delta` was received or an `assistant` event confirmed
//! each of its blocks. `assistant` is authoritative: it adds text that the deltas lacked, and never
//! repeats text.

mod message;

use crate::repeat::{Repeat, Step};
use crate::wtf8::Literal;
use message::{BLANK_LINE, Block, Broken, Message};

/// The most content blocks of a message that are remembered, which bounds the memory. No message of
/// the CLI has more.
const REMEMBERED_BLOCKS: usize = 64;

/// The model's answer in the main conversation, as far as its text was shown. It has the message
/// that is being received, and the last broken message, whose text may be repeated.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Whether any text of the answer was shown to the client.
    shown: bool,
    /// The message that is being received, or that has ended and may still be confirmed; `None`
    /// between messages.
    open: Option<Message>,
    /// The last message, if the CLI did not finish it; `None` otherwise.
    broken: Option<Broken>,
}

/// The text of a content block in an `assistant` event; `None` if it is not a text block, such as a
/// tool call.
pub(crate) type AssistantBlock<'a> = Option<Literal<'a>>;

impl Answer {
    /// Returns true if any text of the answer was shown to the client.
    pub(crate) fn has_shown(&self) -> bool {
        self.shown
    }

    /// Begins a message at its `message_start` event. `id` is the message's id, `None` if it is
    /// unknown. Appends new text to `out`. Returns true if the message restarts a broken one.
    pub(crate) fn message_start(&mut self, id: Option<String>, out: &mut String) -> bool {
        self.begin(id, true, out)
    }

    /// Begins the content block with the number `index` in the open message. `text` is its first
    /// text, often empty. If no message is open, because its start was lost, begins one. Returns
    /// true if that message restarts a broken one.
    pub(crate) fn block_start(
        &mut self,
        index: u64,
        is_text: bool,
        text: Literal<'_>,
        out: &mut String,
    ) -> bool {
        let restart = self.expect_open(out);
        self.flush(out);
        if let Some(open) = &mut self.open {
            open.blocks.push(Block {
                index,
                is_text,
                confirmed: false,
                range: None,
            });
        }
        restart | (!text.is_empty() && self.text_delta(index, text.text().as_bytes(), out))
    }

    /// Adds a piece of text to the content block with the number `index` in the open message. The
    /// text is WTF-8, as it may end inside a character. An unknown block is added as a text block.
    /// Text for a block that an `assistant` event has confirmed is ignored, because it was already
    /// shown. Returns true if the text begins a message that restarts a broken one.
    pub(crate) fn text_delta(&mut self, index: u64, text: &[u8], out: &mut String) -> bool {
        let restart = self.expect_open(out);
        let Some(open) = &mut self.open else {
            return restart;
        };
        let at = match open.blocks.iter().rposition(|block| block.index == index) {
            Some(at) => at,
            None => {
                open.blocks.push(Block {
                    index,
                    is_text: true,
                    confirmed: false,
                    range: None,
                });
                open.blocks.len() - 1
            }
        };
        if open.blocks.get(at).is_some_and(|block| !block.confirmed) {
            let mut decoded = String::new();
            open.decoder.push(text, &mut decoded);
            self.feed(at, &decoded, out);
        }
        restart
    }

    /// Marks the open message as complete, because its `message_delta` event follows its last
    /// block.
    pub(crate) fn message_delta(&mut self, out: &mut String) {
        self.flush(out);
        if let Some(open) = &mut self.open {
            open.complete = true;
        }
    }

    /// Ends the open message at its `message_stop` event. `abandoned` is set if the CLI has
    /// discarded the message. Its value is the index of the first discarded block, or `None` if the
    /// CLI did not say. A discarded or incomplete message counts as broken.
    pub(crate) fn message_stop(&mut self, abandoned: Option<Option<u64>>, out: &mut String) {
        let Some(open) = &self.open else { return };
        if abandoned.is_some() || open.is_broken() {
            self.broken = self
                .open
                .take()
                .map(|open| open.break_off(abandoned.flatten()));
        } else {
            self.settle(out);
        }
    }

    /// Processes a whole message of an `assistant` event. Compares it with its deltas, and shows
    /// the text that they lacked. A message without deltas is shown from its start. Returns true if
    /// it restarts a broken message.
    pub(crate) fn assistant<'b>(
        &mut self,
        id: Option<String>,
        blocks: impl Iterator<Item = AssistantBlock<'b>>,
        out: &mut String,
    ) -> bool {
        let is_same = |open: &Message| open.id.is_none() || id.is_none() || open.id == id;
        let restart = !self.open.as_ref().is_some_and(is_same) && self.begin(id, false, out);
        for block in blocks {
            self.confirm(block, out);
        }
        restart
    }

    /// Ends the answer at a `result` event. `text` is the result's text if an event was lost before
    /// it, otherwise `None`. Shows the part of the text that the last message lacks.
    pub(crate) fn result(&mut self, text: Option<&str>, out: &mut String) {
        self.close(out);
        if let Some(text) = text.filter(|_| self.shown) {
            self.complete(text, out);
        }
        self.open = None;
        self.broken = None;
    }

    /// Shows the part of the result's `text` that the last message lacks. Shows no text if the last
    /// message is too long to compare.
    fn complete(&mut self, text: &str, out: &mut String) {
        let last = match (&self.open, &self.broken) {
            (Some(open), _) => open.last(),
            (None, Some(broken)) => Some(broken.last()),
            (None, None) => Some(("", "")),
        };
        let Some((block, _)) = last.filter(|(_, whole)| !whole.contains(text.trim())) else {
            return;
        };
        match text.strip_prefix(block).filter(|_| !block.is_empty()) {
            Some(rest) => out.push_str(rest),
            None => {
                out.push_str(BLANK_LINE);
                out.push_str(text);
            }
        }
    }

    /// Ends the answer at the end of stdout. In an unfinished answer, text that is still held back
    /// repeats text that was shown, so it is dropped.
    pub(crate) fn finish(&mut self, out: &mut String) {
        self.flush(out);
        self.close(out);
    }

    /// Shows the text of a `result` event as the answer. The caller has checked that no other text
    /// was shown.
    pub(crate) fn show_fallback(&mut self, text: &str, out: &mut String) {
        self.shown |= !text.is_empty();
        out.push_str(text);
    }

    /// Begins a message without an id if none is open, because its `message_start` event was lost.
    /// Returns true if that restarts a broken message.
    fn expect_open(&mut self, out: &mut String) -> bool {
        self.open.is_none() && self.begin(None, true, out)
    }

    /// Ends the open message and begins a new one. `streamed` is false if the new one is known only
    /// from an `assistant` event. Returns true if the new message restarts a broken one.
    fn begin(&mut self, id: Option<String>, streamed: bool, out: &mut String) -> bool {
        self.close(out);
        let broken = self.broken.take();
        // A late `assistant` event of the broken message itself is not a restart.
        let restart = broken
            .as_ref()
            .is_some_and(|broken| streamed || broken.id.is_none() || broken.id != id);
        let repeat = broken.filter(|broken| !broken.shown.is_empty());
        let repeat = repeat.map(|broken| Repeat::new(broken.shown, broken.starts));
        self.open = Some(Message {
            id,
            streamed,
            repeat,
            ..Message::default()
        });
        restart
    }

    /// Ends the open message. An incomplete message becomes the broken one, and a restart is
    /// compared with it.
    fn close(&mut self, out: &mut String) {
        if self.open.as_ref().is_some_and(Message::is_broken) {
            self.broken = self.open.take().map(|open| open.break_off(None));
        } else {
            self.settle(out);
        }
    }

    /// Ends the comparison of a complete message with a broken one. Shows its held text, unless
    /// that only repeats text that was shown.
    fn settle(&mut self, out: &mut String) {
        self.flush(out);
        let Some(open) = &mut self.open else { return };
        if open.text.len() > 0
            && let Some(mut repeat) = open.repeat.take()
        {
            self.take_step(repeat.end(), out);
        }
    }

    /// Shows U+FFFD for half of a UTF-16 surrogate pair at the end of the last delta, because no
    /// later text can complete it.
    fn flush(&mut self, out: &mut String) {
        let Some(open) = &mut self.open else { return };
        let mut half = String::new();
        open.decoder.finish(&mut half);
        if !half.is_empty()
            && let Some(at) = open.blocks.iter().rposition(|block| block.is_text)
        {
            self.feed(at, &half, out);
        }
    }

    /// Compares a whole content block of an `assistant` event with the block's deltas, and shows
    /// the text that they lacked.
    fn confirm(&mut self, block: AssistantBlock<'_>, out: &mut String) {
        let Some(open) = &mut self.open else { return };
        let unconfirmed = open
            .blocks
            .iter()
            .position(|other| !other.confirmed && other.is_text == block.is_some());
        let at = unconfirmed.unwrap_or_else(|| {
            open.blocks.push(Block {
                index: u64::MAX,
                is_text: block.is_some(),
                confirmed: false,
                range: None,
            });
            open.blocks.len() - 1
        });
        open.blocks[at].confirmed = true;
        let Some(text) = block else {
            return self.forget_confirmed();
        };
        open.decoder.clear();
        let text = text.text();
        let missing = open.missing(at, &text);
        let has_later_text = open.blocks[at + 1..]
            .iter()
            .any(|block| block.range.is_some());
        if has_later_text && !missing.is_empty() {
            self.feed(at, BLANK_LINE, out);
        }
        self.feed(at, &missing, out);
        self.forget_confirmed();
    }

    /// Forgets the oldest confirmed blocks if there are more than 64, because a message may have
    /// any number of blocks.
    fn forget_confirmed(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.blocks.len() > REMEMBERED_BLOCKS {
            let settled = open
                .blocks
                .iter()
                .take_while(|block| block.confirmed)
                .count();
            open.blocks.drain(..settled.saturating_sub(1));
        }
    }

    /// Adds text to the block at position `at` of the open message, and shows it. In a restarted
    /// answer, holds the text back while it may repeat shown text.
    fn feed(&mut self, at: usize, text: &str, out: &mut String) {
        let Some(open) = &mut self.open else { return };
        let Some(block) = open.blocks.get_mut(at).filter(|_| !text.is_empty()) else {
            return;
        };
        let is_first = open.text.len() == 0;
        let separator = if block.range.is_none() && !is_first {
            BLANK_LINE
        } else {
            ""
        };
        let next_start = open.text.len() + separator.len();
        let start = block.range.as_ref().map_or(next_start, |range| range.start);
        open.text.push(separator);
        open.text.push(text);
        block.range = Some(start..open.text.len());
        match &mut open.repeat {
            None => {
                let separator = if is_first && self.shown {
                    BLANK_LINE
                } else {
                    separator
                };
                out.push_str(separator);
                out.push_str(text);
                self.shown = true;
            }
            Some(repeat) => {
                let step = repeat.push(&[separator, text].concat());
                self.take_step(step, out);
            }
        }
    }

    /// Shows or holds the held text of a restarted answer, as its comparison has decided.
    fn take_step(&mut self, step: Step, out: &mut String) {
        let text = match step {
            Step::Hold => return,
            Step::Continues(text) => text,
            Step::Other(text) => [BLANK_LINE, &text].concat(),
        };
        out.push_str(&text);
        if let Some(open) = &mut self.open {
            open.repeat = None;
        }
    }
}
