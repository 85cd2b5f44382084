//! One message of the main conversation, with the part of it that was received so far.

use std::borrow::Cow;
use std::ops::Range;

use crate::compared_text::ComparedText;
use crate::repeat::Repeat;
use crate::wtf8::Decoder;

/// The text between two content blocks of an answer, and before text that does not continue the
/// shown text.
pub(super) const BLANK_LINE: &str = "\n\n";

/// A message of the main conversation while it is received: its blocks, its text, and the
/// comparison with a broken predecessor.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    /// Whether the message was streamed, so that its end must be confirmed; false if only
    /// `assistant` events had it.
    pub(super) streamed: bool,
    /// Whether the `message_delta` was received, which follows the last block.
    pub(super) complete: bool,
    pub(super) blocks: Vec<Block>,
    /// The text of all text blocks, joined by blank lines.
    pub(super) text: ComparedText,
    /// The comparison with the text of a broken message that this one restarts; None if there is
    /// none, or once it is decided.
    pub(super) repeat: Option<Repeat>,
    pub(super) decoder: Decoder,
}

/// A content block (text, thinking or a tool use) of a message.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) index: u64,
    pub(super) is_text: bool,
    /// Whether an `assistant` event confirmed that the block is whole.
    pub(super) confirmed: bool,
    /// Where the block is in the message's text, in bytes; `None` while the block has no text.
    pub(super) range: Option<Range<usize>>,
}

/// A message that the CLI did not finish: its text that was shown, and the offsets in it at which a
/// restart may begin.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) id: Option<String>,
    pub(super) shown: String,
    pub(super) starts: Vec<usize>,
}

impl Message {
    /// Whether the message ended too early: it was streamed, and neither its `message_delta` nor an
    /// `assistant` event for each of its blocks was received.
    pub(super) fn is_broken(&self) -> bool {
        let confirmed = !self.blocks.is_empty() && self.blocks.iter().all(|block| block.confirmed);
        self.streamed && !self.complete && !confirmed
    }

    /// Ends the message as broken. Returns the text that was shown, with which a restarted answer
    /// is compared. `from` is the index of the first discarded block; None if the CLI named none,
    /// which discards all unconfirmed blocks.
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

    /// Returns the part of the whole text `text` of the block at position `at` that its deltas
    /// lacked; empty if they had all of it.
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

    /// Returns the text of the last text block, and the text of the whole message; `None` if the
    /// message is too long to be kept.
    pub(super) fn last(&self) -> Option<(&str, &str)> {
        let whole = self.text.part(0, self.text.len())?;
        let mut blocks = self.blocks.iter().rev();
        let range = blocks.find_map(|block| block.range.clone());
        let Range { start, end } = range.unwrap_or_default();
        Some((self.text.part(start, end)?, whole))
    }
}

impl Broken {
    /// Returns the shown text from the last start at which a restart may begin, and all shown text;
    /// the broken form of [`Message::last`].
    pub(super) fn last(&self) -> (&str, &str) {
        let start = self.starts.last().copied().unwrap_or_default();
        (self.shown.get(start..).unwrap_or_default(), &self.shown)
    }
}
