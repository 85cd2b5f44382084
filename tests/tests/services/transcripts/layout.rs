//! JSON as the page shows it: members in an order for readers, lines of at most 100 columns.

use serde_json::Value;

/// The columns of a line of the page.
const COLUMNS: usize = 100;
/// The indentation of every further line of a message.
const INDENT: &str = "   ";
/// The members that stand first, in this order. The others follow in alphabetical order.
const FIRST: [&str; 29] = [
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "type",
    "sessionId",
    "executionId",
    "status",
    "detail",
    "elapsedMs",
    "upstream",
    "state",
    "reason",
    "error",
    "exitCode",
    "outputBytes",
    "keptFrom",
    "crc32",
    "offset",
    "from",
    "to",
    "content",
    "code",
    "message",
    "data",
    "seq",
    "at",
    "prompt",
];
/// Marks a place where a line may be broken.
const BREAK: char = '\u{1}';
/// The member that stands for all members that are left out. See [`super::rules`].
pub(super) const LEFT_OUT: &str = "...";

/// Lays out a JSON value in lines, behind a mark such as `<- `.
pub(super) fn message(mark: &str, value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    let mut lines = vec![mark.to_owned()];
    for part in text.split(BREAK) {
        let line = lines.last_mut().expect("one at least");
        let is_begun = line.len() > INDENT.len();
        if is_begun && line.chars().count() + part.chars().count() > COLUMNS {
            lines.push(format!("{INDENT}{part}"));
        } else {
            line.push_str(part);
        }
    }
    lines.join("\n")
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                separate(at, text);
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let place = |name: &str| FIRST.iter().position(|first| *first == name);
            let mut names: Vec<_> = members.keys().collect();
            let last = FIRST.len();
            names.sort_by_key(|name| {
                let is_mark = *name == LEFT_OUT;
                (is_mark, place(name).unwrap_or(last), (*name).clone())
            });
            text.push('{');
            for (at, name) in names.into_iter().enumerate() {
                separate(at, text);
                if name == LEFT_OUT {
                    text.push_str(LEFT_OUT);
                    continue;
                }
                text.push_str(&format!("{}:", Value::from(name.as_str())));
                write(&members[name], text);
            }
            text.push('}');
        }
        // A control character of a text is escaped, so a text holds no place for a break.
        other => text.push_str(&other.to_string()),
    }
}

fn separate(at: usize, text: &mut String) {
    if at > 0 {
        text.push(',');
        text.push(BREAK);
    }
}

#[test]
fn members_have_an_order_and_lines_end_between_them() {
    let long = "x".repeat(60);
    let value = serde_json::json!({"b": [1, {"...": null, "z": 2}], "id": long, "method": long});
    let expected =
        format!("<- {{\"id\":\"{long}\",\n   \"method\":\"{long}\",\"b\":[1,{{\"z\":2,...}}]}}");
    assert_eq!(message("<- ", &value), expected);
}
