//! Questions of an execution to a person (docs/protocol.md, "Questions"): their text for a
//! terminal, and the dialog that turns what the person types into an answer. No code here does I/O.

mod choice;
mod dialog;
mod pages;
mod view;
mod wrap;

pub(crate) use choice::{ChoicePart, parse_choices};
pub(crate) use dialog::{Dialog, LineEffect};
pub(crate) use view::{Size, describe_closing, details, one_line};
