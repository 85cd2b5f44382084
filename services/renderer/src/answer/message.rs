//! One message of the main conversation, as far as it has come.

use std::borrow::Cow;
use std::ops::Range;

use crate::compared_text::ComparedText;
use crate::repeat::Repeat;
use crate::wtf8::Decoder;

/// Between two blocks, and before text that continues nothing.
pub(super) const BLANK_LINE: &str = "\n\n";

#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    /// It has events of its own, not only `assistant`.
    pub(super) streamed: bool,
    /// Its `message_delta` came.
    pub(super) complete: bool,
    pub(super) blocks: Vec<Block>,
    /// Its text blocks, joined by blank lines.
    pub(super) text: ComparedText,
    /// While it may be what was shown before, coming again.
    pub(super) repeat: Option<Repeat>,
    pub(super) decoder: Decoder,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) index: u64,
    pub(super) is_text: bool,
    /// Its `assistant` came.
    pub(super) confirmed: bool,
    /// Its bytes in the message's text; `None` while it is empty.
    pub(super) place: Option<Range<usize>>,
}

/// What is left of a message that was broken off.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) id: Option<String>,
    pub(super) shown: String,
    pub(super) starts: Vec<usize>,
}

impl Message {
    pub(super) fn is_broken(&self) -> bool {
        let confirmed = !self.blocks.is_empty() && self.blocks.iter().all(|block| block.confirmed);
        self.streamed && !self.complete && !confirmed
    }

    /// What a new answer will be compared with.
    pub(super) fn break_off(self, from: Option<u64>) -> Broken {
        let Self {
            id,
            blocks,
            text,
            repeat,
            ..
        } = self;
        // Nothing of it was shown yet: what was shown before it still stands last.
        if let Some((shown, starts)) = repeat.map(Repeat::into_parts) {
            return Broken { id, shown, starts };
        }
        let abandoned = |block: &&Block| from.map_or(!block.confirmed, |from| block.index >= from);
        let first = blocks
            .iter()
            .filter(abandoned)
            .find_map(|block| block.place.as_ref());
        let mut starts = vec![0];
        starts.extend(first.map(|place| place.start).filter(|start| *start > 0));
        Broken {
            id,
            shown: text.into_text(),
            starts,
        }
    }

    /// What no delta brought of a block whose whole text is `text`.
    pub(super) fn missing<'t>(&self, at: usize, text: &'t str) -> Cow<'t, str> {
        let Range { start, end } = self.blocks[at].place.clone().unwrap_or_default();
        let Some(streamed) = self.text.part(start, end) else {
            return text.get(end - start..).unwrap_or_default().into();
        };
        // The CLI may leave out blanks around a block; an answer that was cut has nothing to add.
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

    /// The last text block and the whole text; `None` when it grew too long to be kept.
    pub(super) fn last(&self) -> Option<(&str, &str)> {
        let whole = self.text.part(0, self.text.len())?;
        let mut blocks = self.blocks.iter().rev();
        let place = blocks.find_map(|block| block.place.clone());
        let Range { start, end } = place.unwrap_or_default();
        Some((self.text.part(start, end)?, whole))
    }
}

impl Broken {
    /// As [`Message::last`].
    pub(super) fn last(&self) -> (&str, &str) {
        let start = self.starts.last().copied().unwrap_or_default();
        (self.shown.get(start..).unwrap_or_default(), &self.shown)
    }
}
