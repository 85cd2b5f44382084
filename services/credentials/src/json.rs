//! An incremental reader of JSON (RFC 8259). It sees a text in pieces of any size, holds a bounded
//! part of it, and accepts exactly the grammar of the RFC.
//!
//! - [`Lexer`] turns bytes into [`Token`]s.
//! - [`Text`] is the beginning of a name or string, with its escapes decoded.
//! - [`Path`] says where in the text a token is.

mod lexer;
mod number;
mod path;
mod string;
mod text;
mod utf8;

pub use lexer::{Lexer, Malformed, Stop, Token};
pub use path::Path;
pub use text::Text;
