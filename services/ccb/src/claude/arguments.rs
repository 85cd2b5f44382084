//! The grammar of the Claude CLI's arguments, which is that of its parser (commander).
//!
//! A long flag has its value after `=` or as the next argument. A value as the next argument may
//! begin with a dash if the flag requires one. Short flags can be joined: `-pc`, `-rVALUE`.

use super::flags::{Flag, Takes, find};

/// A flag of the command line, with one value or none. A flag with several values appears once for
/// each of them.
#[derive(Debug, Clone)]
pub(super) struct Argument {
    pub(super) flag: &'static Flag,
    pub(super) value: Option<String>,
}

impl Argument {
    /// Returns the usual name of the flag, for messages.
    pub(super) fn name(&self) -> &'static str {
        self.flag.names[0]
    }

    /// Returns the value, or an empty text for a flag without one.
    pub(super) fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

/// Parses the arguments that follow the name of the program.
///
/// # Errors
/// A flag is unknown, lacks its value or has one too many, or an argument belongs to no flag. The
/// text is one sentence for people.
pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Vec<Argument>, String> {
    let mut rest: Vec<String> = arguments.into_iter().collect();
    rest.reverse(); // `pop` then returns the next argument.
    let mut parsed = Vec::new();
    // The flag whose further values may follow.
    let mut open: Option<&'static Flag> = None;
    while let Some(word) = rest.pop() {
        if !may_be_flag(&word) {
            let flag = open.ok_or_else(|| prompt_refused(&word))?;
            let value = Some(word);
            parsed.push(Argument { flag, value });
            continue;
        }
        if word == "--" {
            return match rest.pop() {
                Some(word) => Err(prompt_refused(&word)),
                None => Ok(parsed),
            };
        }
        open = None;
        if let Some(flag) = find(&word) {
            let value = value_behind(flag, &word, &mut rest)?;
            open = (flag.takes == Takes::Values).then_some(flag);
            parsed.push(Argument { flag, value });
        } else if let Some((flag, value)) = joined(&word, &mut rest)? {
            parsed.push(Argument { flag, value });
        } else {
            return Err(unknown(&word));
        }
    }
    Ok(parsed)
}

fn may_be_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// Takes the value of a flag from the arguments that follow it. The next argument is the last one
/// of `rest`.
fn value_behind(flag: &Flag, name: &str, rest: &mut Vec<String>) -> Result<Option<String>, String> {
    match flag.takes {
        Takes::Nothing => Ok(None),
        Takes::Value | Takes::Values => match rest.pop() {
            Some(value) => Ok(Some(value)),
            None => Err(format!("{name} needs a value; give one after it")),
        },
        Takes::OptionalValue => Ok(rest.pop_if(|word| !may_be_flag(word))),
    }
}

/// Splits `--flag=value`, `-fVALUE` or several short flags in one word. Puts further short flags
/// back into `rest`. `None` if the flag is unknown.
fn joined(
    word: &str,
    rest: &mut Vec<String>,
) -> Result<Option<(&'static Flag, Option<String>)>, String> {
    if word.starts_with("--") {
        let Some((flag, value)) = word
            .split_once('=')
            .and_then(|(name, value)| Some((find(name)?, value)))
        else {
            return Ok(None);
        };
        if flag.takes == Takes::Nothing {
            return Err(format!("{0} takes no value; give {0} alone", flag.names[0]));
        }
        return Ok(Some((flag, Some(value.to_owned()))));
    }
    let mut letters = word.chars().skip(1);
    let name = letters.next().map(|letter| format!("-{letter}"));
    let Some(flag) = name.as_deref().and_then(find) else {
        return Ok(None);
    };
    let others: String = letters.collect();
    if flag.takes == Takes::Nothing {
        rest.push(format!("-{others}"));
        return Ok(Some((flag, None)));
    }
    Ok(Some((flag, Some(others))))
}

fn unknown(word: &str) -> String {
    let name = word.split('=').next().unwrap_or(word);
    format!(
        "ccb-claude does not support the flag {name}; remove it (for an Agent SDK: from \
         extra_args); ccb-claude --help lists the supported flags"
    )
}

fn prompt_refused(word: &str) -> String {
    let shown: String = word.chars().take(40).collect();
    format!(
        "the argument {shown:?} belongs to no flag; write prompts as stream-json lines to stdin, or \
         run one prompt with: ccb exec \"PROMPT\""
    )
}

#[cfg(test)]
mod tests;
