//! The cost that an answer of the API reports, read while the answer is forwarded. Everything here
//! is pure, and its memory does not depend on the length of the answer.
//!
//! - [`facts`] finds the counts in one JSON text.
//! - [`events`] splits a stream of events into such texts.
//! - [`limits`] reads the time at which a usage limit ends.

pub mod events;
pub mod facts;
pub mod limits;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use events::EventReader;
use facts::{FactReader, Facts};

/// The reader of one answer, chosen by the answer's content type.
#[derive(Debug)]
pub enum AnswerReader {
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
        match kind.trim() {
            "text/event-stream" => Self::Events(Box::default()),
            "application/json" => Self::Json(Box::default()),
            _ => Self::Other,
        }
    }

    /// Reads the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        match self {
            Self::Events(reader) => reader.push(piece),
            Self::Json(reader) => reader.push(piece),
            Self::Other => {}
        }
    }

    /// Returns the facts that were read so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        match self {
            Self::Events(reader) => reader.facts(),
            Self::Json(reader) => reader.facts(),
            Self::Other => Facts::default(),
        }
    }
}
