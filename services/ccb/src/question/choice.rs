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
    /// before a text takes it as it is.
    ///
    /// # Errors
    /// The text is blank, or has numbers that are no options, or more than the part takes. The
    /// message says what to type.
    pub(crate) fn answer(&self, typed: &str) -> Result<String, String> {
        let typed = typed.trim();
        let text = typed.strip_prefix('=').map_or(typed, str::trim);
        if text.is_empty() {
            return Err("type an answer".to_owned());
        }
        let max = self.options.len();
        let are_numbers = words(typed).all(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        if max == 0 || !are_numbers || text.len() < typed.len() {
            return Ok(text.to_owned());
        }
        match numbers(typed, max) {
            Some(numbers) if numbers.len() == 1 || self.takes_several => {
                let labels: Vec<_> = numbers
                    .into_iter()
                    .map(|number| self.options[number - 1].0.as_str())
                    .collect();
                Ok(labels.join(", "))
            }
            Some(_) => Err(format!("give one option, or ={typed} for this text")),
            None if self.options.iter().any(|(label, _)| label == typed) => Ok(typed.to_owned()),
            None => Err(format!(
                "the options are 1 to {max}; give ={typed} for this text"
            )),
        }
    }
}

/// Returns the words of a text with commas or blanks between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|word| !word.is_empty())
}

/// Parses numbers from 1 to `max`, with commas or blanks between them. `None` if any word is no
/// such number, or if there is none.
pub(super) fn numbers(text: &str, max: usize) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for word in words(text) {
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
/// in `parts`. With one part it may be left out, with the `=` before the answer. ANSWER is read as
/// [`ChoicePart::answer`] reads it. `parts` is empty if the parts are not known; then the first `=`
/// divides, and ANSWER is the answer.
///
/// # Errors
/// A value fits no part, or its answer does not fit. The text says what to give.
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
    let chosen = |part: &ChoicePart, answer: &str| {
        let answer = part.answer(answer);
        let answer = answer.map_err(|mistake| format!("--choice {value:?}: {mistake}"))?;
        Ok((part.text.clone(), answer))
    };
    let of_text = parts.iter().find_map(|part| {
        let answer = value.strip_prefix(&part.text)?.strip_prefix('=')?;
        Some((part, answer))
    });
    if let Some((part, answer)) = of_text {
        return chosen(part, answer);
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
        Some(part) => chosen(part, answer),
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
        let answer = |part: &ChoicePart, typed| part.answer(typed).ok();
        assert_eq!(answer(&one, " 2 ").as_deref(), Some("Postgres"));
        assert_eq!(answer(&one, "=4").as_deref(), Some("4"));
        assert_eq!(answer(&one, "= 1,2").as_deref(), Some("1,2"));
        assert_eq!(answer(&one, "a file").as_deref(), Some("a file"));
        assert_eq!(answer(&one, "2 files").as_deref(), Some("2 files"));
        for (typed, advice) in [
            (" ", "type an answer"),
            ("=", "type an answer"),
            ("4", "the options are 1 to 3; give =4 for this text"),
            ("0", "the options are 1 to 3; give =0 for this text"),
            ("1,2", "give one option, or =1,2 for this text"),
        ] {
            assert_eq!(one.answer(typed), Err(advice.to_owned()), "{typed:?}");
        }
        let several = choice("Which?", true);
        assert_eq!(answer(&several, "3, 1").as_deref(), Some("None, SQLite"));
        assert_eq!(answer(&several, "1 1").as_deref(), Some("SQLite"));
        assert_eq!(answer(&several, "1,9"), None);
        let mut labelled = choice("How many?", false);
        labelled.options[0].0 = "10".to_owned();
        assert_eq!(answer(&labelled, "10").as_deref(), Some("10"));
        let open = ChoicePart {
            options: Vec::new(),
            ..choice("How many?", false)
        };
        assert_eq!(answer(&open, "4").as_deref(), Some("4"));
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
            ("Why?".to_owned(), "None".to_owned()),
        ]);
        assert_eq!(
            parse(&["Is a=b?=no=yes", "Why?=3"], &two),
            Ok(expected.clone())
        );
        assert_eq!(parse(&["1=no=yes", "2=None"], &two), Ok(expected));
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
            (&["1=4"], &two),
            (&["Why?="], &two),
        ] {
            assert!(parse(values, choices).is_err(), "{values:?}");
        }
    }
}
