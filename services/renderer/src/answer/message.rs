//! One message of the model in the main conversation, as far as it was received.

use std::borrow::Cow;
use std::ops::Range;

use crate::compared_text::ComparedText;
use crate::repeat::Repeat;
use crate::wtf8::Decoder;

/// The text between two content blocks of an answer. It is also shown before a restarted answer
/// that does not continue the shown text.
pub(super) const BLANK_LINE: &str = "\n\n";

/// A message of the main conversation that is being received: its blocks, its text, and the
/// comparison with a broken message that it restarts.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The message's id, by which its `assistant` events are recognized; `None` if it is unknown.
    pub(super) id: Option<String>,
    /// Whether the message arrived as stream events, so that its end must be confirmed. False if it
    /// is known only from `assistant` events.
    pub(super) streamed: bool,
    /// Whether the `message_delta` event was received, which follows the last block.
    pub(super) complete: bool,
    /// The content blocks so far, in order.
    pub(super) blocks: Vec<Block>,
    /// The text of all text blocks, joined by blank lines.
    pub(super) text: ComparedText,
    /// The comparison with the text of a broken message that this one restarts. `None` if it
    /// restarts none, or once the comparison has decided.
    pub(super) repeat: Option<Repeat>,
    /// Decodes the deltas, each of which may end inside a character.
    pub(super) decoder: Decoder,
}

/// A content block of a message: text, thinking or a tool call.
#[derive(Debug)]
pub(super) struct Block {
    /// The number of the block in the message, from the CLI. `u64::MAX` if only an `assistant`
    /// event had the block.
    pub(super) index: u64,
    /// Whether the block is a text block, whose text is shown.
    pub(super) is_text: bool,
    /// Whether an `assistant` event has confirmed that the block is whole.
    pub(super) confirmed: bool,
    /// The byte offsets of the block in the message's text; `None` while the block has no text.
    pub(super) range: Option<Range<usize>>,
}

/// A message that the CLI did not finish. Its shown text is compared with the message that restarts
/// it.
#[derive(Debug)]
pub(super) struct Broken {
    /// The message's id; `None` if it is unknown.
    pub(super) id: Option<String>,
    /// The text that was shown. Empty if it was too long to be kept.
    pub(super) shown: String,
    /// The byte offsets in `shown` at which the text of a restart may begin, ascending.
    pub(super) starts: Vec<usize>,
}

impl Message {
    /// Returns true if the message ended too early. That is so if it was streamed, and neither its
    /// `message_delta` event nor an `assistant` event for each of its blocks was received.
    pub(super) fn is_broken(&self) -> bool {
        let confirmed = !self.blocks.is_empty() && self.blocks.iter().all(|block| block.confirmed);
        self.streamed && !self.complete && !confirmed
    }

    /// Ends the message as broken, and returns the text that was shown for the comparison with a
    /// restart. `from` is the index of the first block that the CLI has discarded. `None` means
    /// that all unconfirmed blocks count as discarded.
    pub(super) fn break_off(self, from: Option<u64>) -> Broken {
        let Self {
            id,
            blocks,
            text,
            repeat,
            ..
        } = self;
        // Nothing of this message was shown yet, so the earlier shown text is still the last.
        if let Some((shown, starts)) = repeat.map(Repeat::into_parts) {
            return Broken { id, shown, starts };
        }
        let abandoned = |block: &&Block| from.map_or(!block.confirmed, |from| block.index >= from);
        let first = blocks
            .iter()
            .filter(abandoned)
            .find_map(|block| block.range.as_ref());
        let mut starts = vec![0];
        starts.extend(first.map(|range| range.start).filter(|start| *start > 0));
        Broken {
            id,
            shown: text.into_text(),
            starts,
        }
    }

    /// Returns the part of `text` that must still be shown, where `text` is the whole text of the
    /// block at position `at`. Empty if the deltas had all of it. If the deltas had another text,
    /// returns all of `text` after a blank line.
    pub(super) fn missing<'t>(&self, at: usize, text: &'t str) -> Cow<'t, str> {
        let Range { start, end } = self.blocks[at].range.clone().unwrap_or_default();
        let Some(streamed) = self.text.part(start, end) else {
            return text.get(end - start..).unwrap_or_default().into();
        };
        // The CLI may omit blanks around a block. If `text` is a part of the streamed text, nothing
        // is missing.
        let rest = text
            .strip_prefix(streamed)
            .or_else(|| text.strip_prefix(streamed.trim_start()));
        match rest {
            Some(rest) => rest.into(),
            None if streamed.starts_with(text) || streamed.trim().starts_with(text.trim()) => {
                "".into()
            }
            None => [BLANK_LINE, text].concat().into(),
        }
    }

    /// Returns the text of the last text block, and then the text of the whole message. Returns
    /// `None` if the message was too long to be kept.
    pub(super) fn last(&self) -> Option<(&str, &str)> {
        let whole = self.text.part(0, self.text.len())?;
        let mut blocks = self.blocks.iter().rev();
        let range = blocks.find_map(|block| block.range.clone());
        let Range { start, end } = range.unwrap_or_default();
        Some((self.text.part(start, end)?, whole))
    }
}

impl Broken {
    /// Returns the shown text from the last offset at which a restart may begin, and then all shown
    /// text. It is used for a broken message as [`Message::last`] is for others.
    pub(super) fn last(&self) -> (&str, &str) {
        let start = self.starts.last().copied().unwrap_or_default();
        (self.shown.get(start..).unwrap_or_default(), &self.shown)
    }
}
