//! The parts of a choice, each a text with options (the CLI's tool `AskUserQuestion`).

use std::collections::BTreeMap;

use protocol::Question;
use serde_json::Value;

/// One part of a choice: a text with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChoicePart {
    /// The text of the part, by which an answer names it.
    pub(crate) text: String,
    /// A word about the subject. Empty if there is none.
    pub(crate) header: String,
    /// The options, each with its label and its description. A description may be empty.
    pub(crate) options: Vec<(String, String)>,
    /// Whether an answer may have several options.
    pub(crate) takes_several: bool,
}

impl ChoicePart {
    /// Reads the parts from the input of a choice. Members of an unexpected type count as
    /// absent. Empty if the message left the input out.
    pub(crate) fn all(question: &Question) -> Vec<Self> {
        let list = question
            .input
            .as_ref()
            .and_then(|input| input.get("questions"));
        let list = list.and_then(Value::as_array);
        let text = |value: &Value, name: &str| {
            let text = value.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let read = |value: &Value| {
            let options = value.get("options").and_then(Value::as_array);
            let options = options.into_iter().flatten();
            Some(Self {
                text: value.get("question")?.as_str()?.to_owned(),
                header: text(value, "header"),
                options: options
                    .map(|option| (text(option, "label"), text(option, "description")))
                    .collect(),
                takes_several: value.get("multiSelect") == Some(&Value::Bool(true)),
            })
        };
        let mut parts: Vec<Self> = Vec::new();
        for part in list.into_iter().flatten().filter_map(read) {
            // An answer names its part by the text, so a second one cannot have its own.
            if parts.iter().all(|known| known.text != part.text) {
                parts.push(part);
            }
        }
        parts
    }

    /// Turns what a person typed into the answer: numbers of options become their labels, and `=`
    /// before a text takes it as it is. `None` for a blank text.
    pub(crate) fn answer(&self, typed: &str) -> Option<String> {
        let typed = typed.trim();
        if let Some(text) = typed.strip_prefix('=') {
            return Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        }
        let numbers = numbers(typed, self.options.len());
        match numbers {
            Some(numbers) if numbers.len() == 1 || self.takes_several => {
                let labels: Vec<_> = numbers
                    .into_iter()
                    .map(|number| self.options[number - 1].0.as_str())
                    .collect();
                Some(labels.join(", "))
            }
            _ => Some(typed.to_owned()).filter(|text| !text.is_empty()),
        }
    }
}

/// Parses numbers from 1 to `max`, with commas or blanks between them. `None` if any word is no
/// such number, or if there is none.
pub(super) fn numbers(text: &str, max: usize) -> Option<Vec<usize>> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let mut numbers = Vec::new();
    for word in words {
        let number: usize = word.parse().ok()?;
        if !(1..=max).contains(&number) {
            return None;
        }
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    Some(numbers).filter(|numbers| !numbers.is_empty())
}

/// Parses the values of `--choice`, each `PART=ANSWER`. PART is the text of a part, or its number
/// in `parts`. With one part it may be left out, with the `=` before the answer. `parts` is empty
/// if the parts are not known; then the first `=` divides.
///
/// # Errors
/// A value fits no part. The text says what to give.
pub(crate) fn parse_choices(
    values: &[String],
    parts: &[ChoicePart],
) -> Result<BTreeMap<String, String>, String> {
    let mut answers = BTreeMap::new();
    for value in values {
        let (question, answer) = parse_choice(value, parts)?;
        if answers.insert(question.clone(), answer).is_some() {
            return Err(format!(
                "--choice answers {question:?} twice; give one answer"
            ));
        }
    }
    Ok(answers)
}

fn parse_choice(value: &str, parts: &[ChoicePart]) -> Result<(String, String), String> {
    let of_text = |part: &ChoicePart| {
        let answer = value.strip_prefix(&part.text)?.strip_prefix('=')?;
        Some((part.text.clone(), answer.to_owned()))
    };
    if let Some(found) = parts.iter().find_map(of_text) {
        return Ok(found);
    }
    let (question, answer) = value
        .split_once('=')
        .ok_or_else(|| format!("--choice {value:?}: give PART=ANSWER"))?;
    let number = question.trim().parse::<usize>().ok();
    let part = match (parts, number) {
        ([], _) if !question.trim().is_empty() => {
            return Ok((question.to_owned(), answer.to_owned()));
        }
        ([only], None) if question.trim().is_empty() => Some(only),
        (_, Some(number)) => number.checked_sub(1).and_then(|at| parts.get(at)),
        _ => None,
    };
    match part {
        Some(part) => Ok((part.text.clone(), answer.to_owned())),
        None => {
            let known: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
            Err(format!(
                "--choice {value:?} names no question; name one of {known:?}, or its number"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(text: &str, takes_several: bool) -> ChoicePart {
        let option = |label: &str| (label.to_owned(), String::new());
        ChoicePart {
            text: text.to_owned(),
            header: String::new(),
            options: ["SQLite", "Postgres", "None"].map(option).into(),
            takes_several,
        }
    }

    #[test]
    fn numbers_are_labels_and_other_texts_are_answers() {
        let one = choice("Which?", false);
        assert_eq!(one.answer(" 2 ").as_deref(), Some("Postgres"));
        assert_eq!(one.answer("4").as_deref(), Some("4"));
        assert_eq!(one.answer("1,2").as_deref(), Some("1,2"));
        assert_eq!(one.answer("=2").as_deref(), Some("2"));
        assert_eq!(one.answer("a file").as_deref(), Some("a file"));
        assert_eq!(one.answer(" "), None);
        assert_eq!(one.answer("="), None);
        let several = choice("Which?", true);
        assert_eq!(several.answer("3, 1").as_deref(), Some("None, SQLite"));
        assert_eq!(several.answer("1 1").as_deref(), Some("SQLite"));
        assert_eq!(several.answer("1,9").as_deref(), Some("1,9"));
    }

    #[test]
    fn a_choice_on_the_command_line_names_its_question() {
        let two = [choice("Is a=b?", false), choice("Why?", false)];
        let parse = |values: &[&str], choices: &[ChoicePart]| {
            let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
            parse_choices(&values, choices)
        };
        let expected = BTreeMap::from([
            ("Is a=b?".to_owned(), "no=yes".to_owned()),
            ("Why?".to_owned(), "x".to_owned()),
        ]);
        assert_eq!(
            parse(&["Is a=b?=no=yes", "Why?=x"], &two),
            Ok(expected.clone())
        );
        assert_eq!(parse(&["1=no=yes", "2=x"], &two), Ok(expected));
        let one = BTreeMap::from([("Why?".to_owned(), "x=y".to_owned())]);
        assert_eq!(parse(&["=x=y"], &two[1..]), Ok(one.clone()));
        assert_eq!(parse(&["Why?=x=y"], &[]), Ok(one));
        for (values, choices) in [
            (&["x"][..], &two[..]),
            (&["=x"], &two),
            (&["0=x"], &two),
            (&["3=x"], &two),
            (&["Who?=x"], &two),
            (&["=x"], &[]),
            (&["1=x", "1=y"], &two),
        ] {
            assert!(parse(values, choices).is_err(), "{values:?}");
        }
    }
}
