//! The cost that an answer of the API reports, read while the answer is forwarded. Everything here
//! is pure, and its memory does not depend on the length of the answer.
//!
//! - [`estimate`] fills in what an answer does not report.
//! - [`facts`] finds the counts in one JSON text.
//! - [`events`] splits a stream of events into such texts.
//! - [`limits`] reads the time at which a usage limit ends.

pub mod estimate;
pub mod events;
pub mod facts;
pub mod limits;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use events::EventReader;
use facts::{FactReader, Facts};

/// The byte order mark in UTF-8, which may precede a text and is no part of it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The reader of one answer.
#[derive(Debug)]
pub struct AnswerReader {
    content: Content,
    /// The part of a byte order mark that may still follow.
    mark: &'static [u8],
}

/// The content of an answer, by its content type.
#[derive(Debug)]
enum Content {
    /// A stream of events (`text/event-stream`).
    Events(Box<EventReader>),
    /// One JSON text.
    Json(Box<FactReader>),
    /// A body without counts.
    Other,
}

impl AnswerReader {
    /// Creates the reader of an answer with these headers.
    #[must_use]
    pub fn new(headers: &HeaderMap) -> Self {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let kind = kind
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let content = match &kind.trim().to_ascii_lowercase()[..] {
            "text/event-stream" => Content::Events(Box::default()),
            "application/json" => Content::Json(Box::default()),
            _ => Content::Other,
        };
        Self {
            content,
            mark: BYTE_ORDER_MARK,
        }
    }

    /// Reads the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        let mut piece = piece;
        while let (Some((expected, mark)), Some((byte, rest))) =
            (self.mark.split_first(), piece.split_first())
        {
            if byte != expected {
                self.mark = &[];
                break;
            }
            (self.mark, piece) = (mark, rest);
        }
        match &mut self.content {
            Content::Events(reader) => reader.push(piece),
            Content::Json(reader) => reader.push(piece),
            Content::Other => {}
        }
    }

    /// Returns the facts that were read so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        match &self.content {
            Content::Events(reader) => reader.facts(),
            Content::Json(reader) => reader.facts(),
            Content::Other => Facts::default(),
        }
    }
}
