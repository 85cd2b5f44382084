//! The counts in one JSON text: an answer, or the data of one event.

use std::convert::Infallible;

use crate::json::{Lexer, Path, Token};

/// The facts that an answer reports about its cost and its error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The model that answered.
    pub model: Option<String>,
    /// The numbers of tokens. A request with several iterations (a compaction by the API) has the
    /// larger of the counts at the top and the sum of its iterations.
    pub counts: Counts,
    /// Whether the number of the request's tokens was reported.
    pub has_input: bool,
    /// Whether `counts.output` is the final number: no delta follows the report.
    pub is_final: bool,
    /// Whether the answer was made in fast mode, which costs more.
    pub is_fast: bool,
    /// The member `error.type`.
    pub error_type: Option<String>,
    /// The number of the answer's events `content_block_delta`, each of which has at least one
    /// token.
    pub deltas: u64,
    /// The number of bytes of text, thinking and tool input in these events.
    pub delta_bytes: u64,
}

/// The numbers that a cost is computed from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of the request that were not cached.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Tokens that were read from the cache.
    pub cache_read: u64,
    /// Tokens that were written to the cache, for any lifetime.
    pub cache_write: u64,
    /// Those of `cache_write` that were written for an hour.
    pub cache_write_1h: u64,
    /// Searches of the web.
    pub web_searches: u64,
}

impl Counts {
    /// Takes the larger value of each number. Later events repeat the numbers of earlier ones.
    fn raise(&mut self, other: Self) {
        let Self {
            input,
            output,
            cache_read,
            cache_write,
            cache_write_1h,
            web_searches,
        } = self;
        *input = (*input).max(other.input);
        *output = (*output).max(other.output);
        *cache_read = (*cache_read).max(other.cache_read);
        *cache_write = (*cache_write).max(other.cache_write);
        *cache_write_1h = (*cache_write_1h).max(other.cache_write_1h);
        *web_searches = (*web_searches).max(other.web_searches);
    }

    /// Adds each number of another iteration.
    fn add(&mut self, other: Self) {
        let Self {
            input,
            output,
            cache_read,
            cache_write,
            cache_write_1h,
            web_searches,
        } = self;
        *input = input.saturating_add(other.input);
        *output = output.saturating_add(other.output);
        *cache_read = cache_read.saturating_add(other.cache_read);
        *cache_write = cache_write.saturating_add(other.cache_write);
        *cache_write_1h = cache_write_1h.saturating_add(other.cache_write_1h);
        *web_searches = web_searches.saturating_add(other.web_searches);
    }

    /// Returns the number at a path below `usage`.
    fn at(&mut self, names: &[&str]) -> Option<&mut u64> {
        Some(match names {
            ["input_tokens"] => &mut self.input,
            ["output_tokens"] => &mut self.output,
            ["cache_read_input_tokens"] => &mut self.cache_read,
            ["cache_creation_input_tokens"] => &mut self.cache_write,
            ["cache_creation", "ephemeral_1h_input_tokens"] => &mut self.cache_write_1h,
            ["server_tool_use", "web_search_requests"] => &mut self.web_searches,
            _ => return None,
        })
    }
}

impl Facts {
    /// Adds the facts of a later text.
    pub(super) fn add(&mut self, other: Self) {
        let Self {
            model,
            counts,
            has_input,
            is_final,
            is_fast,
            error_type,
            deltas,
            delta_bytes,
        } = other;
        self.model = self.model.take().or(model);
        self.counts.raise(counts);
        self.has_input |= has_input;
        self.is_final = is_final || (self.is_final && deltas == 0);
        self.is_fast |= is_fast;
        self.error_type = self.error_type.take().or(error_type);
        self.deltas += deltas;
        self.delta_bytes += delta_bytes;
    }
}

/// The reader of one JSON text in pieces. If the text is not JSON, the facts before the mistake
/// count.
#[derive(Debug, Default)]
pub struct FactReader {
    lexer: Lexer,
    path: Path,
    facts: Facts,
    /// The sum of the iterations so far.
    iterations: Counts,
    is_malformed: bool,
}

impl FactReader {
    /// Reads the next piece of the text.
    pub fn push(&mut self, piece: &[u8]) {
        if self.is_malformed {
            return;
        }
        let Self {
            lexer,
            path,
            facts,
            iterations,
            ..
        } = self;
        let pushed = lexer.push(piece, |token| {
            path.take(&token);
            note(path, &token, facts, iterations);
            Ok::<(), Infallible>(())
        });
        self.is_malformed = pushed.is_err();
    }

    /// Returns the facts that were read so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        facts.counts.raise(self.iterations);
        facts
    }
}

/// Records a value at a path. The members are those of a message, of the event `message_start`,
/// which has the message below `message`, and of the events `message_delta` and `error`.
fn note(path: &Path, token: &Token<'_>, facts: &mut Facts, iterations: &mut Counts) {
    let is_value = matches!(token, Token::String(_) | Token::Number(_));
    let Some(names) = path.names().filter(|_| is_value) else {
        return;
    };
    // The event `message_start` has the first counts, and the others have the final ones.
    let (names, is_first) = match &names[..] {
        ["message", rest @ ..] => (rest, true),
        names => (names, false),
    };
    match (names, token) {
        (["usage", "iterations", "[]", rest @ ..], Token::Number(number)) => {
            let mut iteration = Counts::default();
            if let (Some(count), Some(number)) = (iteration.at(rest), whole(number)) {
                *count = number;
                iterations.add(iteration);
            }
        }
        (["usage", rest @ ..], Token::Number(number)) => {
            if let (Some(count), Some(number)) = (facts.counts.at(rest), whole(number)) {
                *count = number;
                facts.has_input |= rest == ["input_tokens"];
                facts.is_final |= !is_first && rest == ["output_tokens"];
            }
        }
        (["delta", "text" | "thinking" | "partial_json"], Token::String(text)) => {
            facts.delta_bytes += text.length();
        }
        (["usage", "speed"], Token::String(speed)) => {
            facts.is_fast |= speed.whole() == Some("fast");
        }
        (["model"], Token::String(model)) => {
            facts.model = model.whole().map(str::to_owned);
        }
        (["error", "type"], Token::String(kind)) => {
            facts.error_type = kind.whole().map(str::to_owned);
        }
        (["type"], Token::String(kind)) => {
            facts.deltas += u64::from(kind.whole() == Some("content_block_delta"));
        }
        _ => {}
    }
}

/// Returns a number without its fraction, rounded up. `None` for a negative number. A number above
/// the range of the result becomes the largest one.
fn whole(number: &str) -> Option<u64> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is not negative, and the conversion saturates"
    )]
    let rounded = |number: f64| (number >= 0.0).then(|| number.ceil() as u64);
    number
        .parse()
        .ok()
        .or_else(|| number.parse().ok().and_then(rounded))
}

#[cfg(test)]
mod tests;
