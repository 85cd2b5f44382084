//! The check of a body while it is forwarded.
//!
//! A body may name objects and servers beyond the request: files of the account, containers of the
//! API, MCP servers that the API connects to with the credential's rights. Members with these names
//! are refused unless the operator allows them.
//!
//! Inside a tool's schema or a tool's input, a `file_id` does not refer to a file. Any name may
//! occur there: tools of MCP servers have parameters of that name.
//!
//! The check accepts JSON only, so that it and the API see the same members. It compares decoded
//! names and ignores case, as the most tolerant parsers do. A piece of the body is forwarded after
//! it has passed, so the API never has a whole body with a refused member.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::refusal::Refusal;
use crate::json::{Lexer, Path, Stop, Token};

/// The members with free content: the schema of a tool, and the input of a tool use. The API does
/// not look for files in them.
const FREE: [&[&str]; 2] = [
    &["tools", "[]", "input_schema"],
    &["messages", "[]", "content", "[]", "input"],
];

/// A member of a body that reaches beyond the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `container`, at the top: a container of the API, with its skills.
    Container,
    /// `mcp_servers`, at the top: MCP servers that the API connects to.
    McpServers,
    /// `file_id`, anywhere but in tool schemas and tool inputs: a file of the account.
    FileId,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 3] = [Self::Container, Self::McpServers, Self::FileId];

    /// Returns the name of the member.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::McpServers => "mcp_servers",
            Self::FileId => "file_id",
        }
    }

    /// Returns whether the member is checked at this place.
    fn counts_at(self, path: &Path) -> bool {
        match self {
            Self::Container | Self::McpServers => path.depth() == 1,
            Self::FileId => !FREE.iter().any(|free| path.is_inside(free)),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a text that does not name a [`Field`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("container, mcp_servers or file_id is needed")]
pub struct UnknownField;

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let field = Self::ALL.into_iter().find(|field| field.name() == text);
        field.ok_or(UnknownField)
    }
}

/// The check of one body. Its memory does not depend on the length of the body.
#[derive(Debug)]
pub struct BodyCheck {
    lexer: Lexer,
    refused: Vec<Field>,
    path: Path,
    price: PriceFacts,
}

/// The members of a body that decide its price.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceFacts {
    /// The model. `None` if the body has none, or more than one.
    pub model: Option<String>,
    /// Whether the body asks for fast mode.
    pub is_fast: bool,
    /// The number of members `model`.
    models: usize,
}

impl PriceFacts {
    fn note(&mut self, path: &Path, token: &Token<'_>) {
        let (1, Token::String(text), Some(names)) = (path.depth(), token, path.names()) else {
            return;
        };
        match names[..] {
            ["model"] => {
                self.models += 1;
                let model = text.whole().map(str::to_owned);
                self.model = model.filter(|_| self.models == 1);
            }
            ["speed"] => self.is_fast |= text.whole() == Some("fast"),
            _ => {}
        }
    }
}

impl BodyCheck {
    /// Begins the check of a body that may have the members in `allowed`.
    #[must_use]
    pub fn new(allowed: &BTreeSet<Field>) -> Self {
        let refused = Field::ALL
            .into_iter()
            .filter(|field| !allowed.contains(field));
        Self {
            lexer: Lexer::default(),
            refused: refused.collect(),
            path: Path::default(),
            price: PriceFacts::default(),
        }
    }

    /// Returns the members that decide the price, as far as the body was read.
    #[must_use]
    pub fn price(&self) -> &PriceFacts {
        &self.price
    }

    /// Checks the next piece of the body.
    ///
    /// # Errors
    /// The piece must not be forwarded: the body is not a JSON object (400), or has a member that
    /// is not allowed (403).
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let Self {
            lexer,
            refused,
            path,
            price,
        } = self;
        lexer
            .push(piece, |token| {
                take(&token, refused, path)?;
                price.note(path, &token);
                Ok(())
            })
            .map_err(refusal)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// The body is not a complete JSON object (400).
    pub fn finish(&mut self) -> Result<(), Refusal> {
        let Self {
            lexer,
            refused,
            path,
            price: _,
        } = self;
        lexer
            .finish(|token| take(&token, refused, path))
            .map_err(refusal)
    }
}

fn take(token: &Token<'_>, refused: &[Field], path: &mut Path) -> Result<(), Refusal> {
    if path.depth() == 0 && *token != Token::ObjectStart {
        return Err(Refusal::invalid("the body is not a JSON object"));
    }
    path.take(token);
    let Token::Name(name) = token else {
        return Ok(());
    };
    let field = refused
        .iter()
        .find(|field| name.is_name(field.name()) && field.counts_at(path));
    match field {
        None => Ok(()),
        Some(field) => Err(Refusal::forbidden(format!(
            "the member {field} of the body is not allowed here; the operator of cc-bridge allows \
             it with --allow-body-fields={field}"
        ))),
    }
}

fn refusal(stop: Stop<Refusal>) -> Refusal {
    match stop {
        Stop::Malformed(malformed) => {
            Refusal::invalid(format!("the body is not JSON: {malformed}"))
        }
        Stop::Refused(refusal) => refusal,
    }
}

#[cfg(test)]
mod tests;
