//! Which text of the main conversation is new.
//!
//! ```text
//!              message_start             message_stop, complete
//!   (none) ───────────────────▶ open ─────────────────────────────▶ open, over ──▶ (none)
//!     ▲   `assistant` of its own  │                                    (its `assistant` may still come)
//!     │                           │ message_stop, not complete or abandoned
//!     └────── result ◀── broken ◀─┘
//!                          └── message_start, `assistant`: a restart, compared with what was shown
//! ```
//!
//! A message is *complete* when its `message_delta` came or when an `assistant` event confirmed
//! each of its blocks. `assistant` is authoritative: it shows what no delta brought and never shows
//! anything twice.

mod message;

use crate::repeat::{Repeat, Step};
use crate::wtf8::Literal;
use message::{BLANK_LINE, Block, Broken, Message};

/// More than any message of the CLI has.
const REMEMBERED_BLOCKS: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Something was shown.
    shown: bool,
    open: Option<Message>,
    broken: Option<Broken>,
}

/// A content block of an `assistant` event; without text when it is no text block.
pub(crate) type AssistantBlock<'a> = Option<Literal<'a>>;

impl Answer {
    pub(crate) fn has_shown(&self) -> bool {
        self.shown
    }

    /// True if this is a restart, here and below.
    pub(crate) fn message_start(&mut self, id: Option<String>, out: &mut String) -> bool {
        self.begin(id, true, out)
    }

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
                place: None,
            });
        }
        restart | (!text.is_empty() && self.text_delta(index, text.text().as_bytes(), out))
    }

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
                    place: None,
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

    pub(crate) fn message_delta(&mut self, out: &mut String) {
        self.flush(out);
        if let Some(open) = &mut self.open {
            open.complete = true;
        }
    }

    /// `abandoned`: the message was given up, from this block on.
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

    pub(crate) fn assistant<'b>(
        &mut self,
        id: Option<String>,
        blocks: impl Iterator<Item = AssistantBlock<'b>>,
        out: &mut String,
    ) -> bool {
        let same = |open: &Message| open.id.is_none() || id.is_none() || open.id == id;
        let restart = !self.open.as_ref().is_some_and(same) && self.begin(id, false, out);
        for block in blocks {
            self.confirm(block, out);
        }
        restart
    }

    /// Takes a `result`, which ends the answer. `text` is the result's text if an event was lost
    /// before it; the part that the last message lacks is shown.
    pub(crate) fn result(&mut self, text: Option<&str>, out: &mut String) {
        self.close(out);
        if let Some(text) = text.filter(|_| self.shown) {
            self.complete(text, out);
        }
        self.open = None;
        self.broken = None;
    }

    /// Shows the part of `text` that the last message lacks. A last message that is too long to
    /// compare stays as it is.
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

    /// The end of stdout. Text that was held back in an answer without an end was all shown before.
    pub(crate) fn finish(&mut self, out: &mut String) {
        self.flush(out);
        self.close(out);
    }

    /// Text made elsewhere, when there was none here.
    pub(crate) fn show_instead(&mut self, text: &str, out: &mut String) {
        self.shown |= !text.is_empty();
        out.push_str(text);
    }

    fn expect_open(&mut self, out: &mut String) -> bool {
        self.open.is_none() && self.begin(None, true, out)
    }

    fn begin(&mut self, id: Option<String>, streamed: bool, out: &mut String) -> bool {
        self.close(out);
        let broken = self.broken.take();
        // An `assistant` of the broken message itself is late, but nothing was started again.
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

    /// Ends the open message, whichever way it ended.
    fn close(&mut self, out: &mut String) {
        if self.open.as_ref().is_some_and(Message::is_broken) {
            self.broken = self.open.take().map(|open| open.break_off(None));
        } else {
            self.settle(out);
        }
    }

    /// The open message is all there: what was held back is now known to be new or not.
    fn settle(&mut self, out: &mut String) {
        self.flush(out);
        let Some(open) = &mut self.open else { return };
        if open.text.len() > 0
            && let Some(mut repeat) = open.repeat.take()
        {
            self.take_step(repeat.end(), out);
        }
    }

    /// An unfinished half of a surrogate pair will not be finished any more.
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

    /// An `assistant` event brings a whole block.
    fn confirm(&mut self, block: AssistantBlock<'_>, out: &mut String) {
        let Some(open) = &mut self.open else { return };
        let known = open
            .blocks
            .iter()
            .position(|known| !known.confirmed && known.is_text == block.is_some());
        let at = known.unwrap_or_else(|| {
            open.blocks.push(Block {
                index: u64::MAX,
                is_text: block.is_some(),
                confirmed: false,
                place: None,
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
        let later = open.blocks[at + 1..]
            .iter()
            .any(|block| block.place.is_some());
        if later && !missing.is_empty() {
            self.feed(at, BLANK_LINE, out);
        }
        self.feed(at, &missing, out);
        self.forget_confirmed();
    }

    /// A message may have any number of blocks; those that are settled need not be remembered.
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

    /// Adds text to a block of the open message, and to the output what of it is new.
    fn feed(&mut self, at: usize, text: &str, out: &mut String) {
        let Some(open) = &mut self.open else { return };
        let Some(block) = open.blocks.get_mut(at).filter(|_| !text.is_empty()) else {
            return;
        };
        let first = open.text.len() == 0;
        let joint = if block.place.is_none() && !first {
            BLANK_LINE
        } else {
            ""
        };
        let behind = open.text.len() + joint.len();
        let start = block.place.as_ref().map_or(behind, |place| place.start);
        open.text.push(joint);
        open.text.push(text);
        block.place = Some(start..open.text.len());
        match &mut open.repeat {
            None => {
                let before = if first && self.shown {
                    BLANK_LINE
                } else {
                    joint
                };
                out.push_str(before);
                out.push_str(text);
                self.shown = true;
            }
            Some(repeat) => {
                let step = repeat.push(&[joint, text].concat());
                self.take_step(step, out);
            }
        }
    }

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
