//! Reads a request of the Messages API: its prompt, and how many steps of the script are done.

use std::collections::BTreeSet;

use serde_json::Value;

/// The relevant parts of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The prompt, byte for byte as it arrived.
    pub prompt: String,
    /// The tools' results after the prompt, as text, oldest first.
    pub results: Vec<String>,
    /// The number of blocks that the CLI kept of a broken answer, which it wants continued.
    pub survived: usize,
    /// Whether the request asks for a stream.
    pub stream: bool,
    /// The model's name, which the answer repeats.
    pub model: String,
    /// The id of the conversation: the CLI's session id.
    pub user: String,
    /// The images of all user messages, oldest first: `TYPE chars=N sha256=HEX` of the base64 text.
    pub images: Vec<String>,
    /// The words `MARK-...` anywhere in the request.
    pub marks: BTreeSet<String>,
    /// A side request of the CLI (a title, a summary of a topic), not part of the conversation.
    pub side: bool,
}

impl Asked {
    /// Reads a request's body; `None` if it holds no user message.
    #[must_use]
    pub fn read(body: &Value) -> Option<Self> {
        let messages = body["messages"].as_array()?;
        let users: Vec<&Value> = messages
            .iter()
            .filter(|message| message["role"] == "user")
            .collect();
        let at = users
            .iter()
            .rposition(|message| prompt_of(message).is_some())?;
        let prompt = prompt_of(users[at])?;
        // The results in the message of the prompt belong to an interrupted turn.
        let results = users[at + 1..]
            .iter()
            .flat_map(|message| results_of(message))
            .collect();
        let resumes = messages.last().is_some_and(asks_for_the_rest);
        let survived = if resumes { survived(messages) } else { 0 };
        let system = flat(&body["system"]).to_lowercase();
        let without_tools = body["tools"].as_array().is_none_or(Vec::is_empty);
        let side = without_tools
            && ["title", "topic", "summar"]
                .iter()
                .any(|word| system.contains(word));
        Some(Self {
            prompt,
            results,
            survived,
            stream: body["stream"] == true,
            model: body["model"].as_str().unwrap_or("scripted").to_owned(),
            user: body["metadata"]["user_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            images: users
                .iter()
                .flat_map(|message| images_of(message))
                .collect(),
            marks: marks(&body.to_string()),
            side,
        })
    }
}

fn images_of(message: &Value) -> Vec<String> {
    let blocks = message["content"].as_array().into_iter().flatten();
    let sources = blocks
        .filter(|block| block["type"] == "image")
        .map(|block| &block["source"]);
    let describe = |source: &Value| {
        let data = source["data"].as_str()?;
        let digest = ring::digest::digest(&ring::digest::SHA256, data.as_bytes());
        let kind = source["media_type"].as_str()?;
        let digest = crate::hex(digest.as_ref());
        Some(format!("{kind} chars={} sha256={digest}", data.len()))
    };
    sources.filter_map(describe).collect()
}

fn marks(text: &str) -> BTreeSet<String> {
    let rest = text.match_indices("MARK-").map(|(at, _)| &text[at..]);
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    rest.map(|rest| rest.chars().take_while(|c| in_word(*c)).collect())
        .collect()
}

/// Returns the prompt in a user message: its text without the CLI's reminders. A message with a
/// tool's result has none, unless the tool was interrupted.
fn prompt_of(message: &Value) -> Option<String> {
    let content = &message["content"];
    if let Some(text) = content.as_str() {
        return is_prompt(text).then(|| text.to_owned());
    }
    let mut blocks = content.as_array()?.as_slice();
    if blocks.iter().any(|block| block["type"] == "tool_result") {
        let interrupted = blocks.iter().rposition(is_interruption)?;
        blocks = &blocks[interrupted + 1..];
    }
    let texts: Vec<&str> = blocks
        .iter()
        .filter_map(|block| block["text"].as_str())
        .filter(|text| is_prompt(text))
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// The beginning of the CLI's text (2.1.329) after an interrupt. The next prompt is in the same
/// message.
const INTERRUPTED: &str = "[Request interrupted by user";

fn is_interruption(block: &Value) -> bool {
    let text = block["text"].as_str();
    text.is_some_and(|text| text.starts_with(INTERRUPTED))
}

/// The CLI's text (2.1.329) after a stream that broke after a finished block. If the CLI kept
/// nothing of the answer, this text is in one message with the prompt.
const REST: &str = "Your response above was cut off mid-stream.";

fn is_prompt(text: &str) -> bool {
    let text = text.trim();
    let reminder = text.starts_with("<system-reminder>") && text.ends_with("</system-reminder>");
    !text.is_empty() && !reminder && !text.starts_with(REST)
}

fn asks_for_the_rest(message: &Value) -> bool {
    let content = &message["content"];
    let rest = |text: &Value| text.as_str().is_some_and(|text| text.starts_with(REST));
    rest(content)
        || content
            .as_array()
            .is_some_and(|blocks| blocks.iter().any(|block| rest(&block["text"])))
}

/// Counts the blocks of the assistant since the last prompt or result of a tool.
fn survived(messages: &[Value]) -> usize {
    let blocks = messages.iter().rev().take_while(|message| {
        message["role"] != "user"
            || (prompt_of(message).is_none() && results_of(message).is_empty())
    });
    let own = blocks.filter(|message| message["role"] == "assistant");
    own.map(|message| message["content"].as_array().map_or(1, Vec::len))
        .sum()
}

fn results_of(message: &Value) -> Vec<String> {
    let Some(blocks) = message["content"].as_array() else {
        return Vec::new();
    };
    let results = blocks.iter().filter(|block| block["type"] == "tool_result");
    results.map(|block| flat(&block["content"])).collect()
}

/// Returns the text of a string or of a list of text blocks, without reminders.
fn flat(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter_map(|block| block["text"].as_str());
            texts
                .filter(|text| is_prompt(text))
                .collect::<Vec<_>>()
                .join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_prompt_is_found_before_results_and_between_reminders() {
        let body = json!({
            "model": "m", "stream": true, "tools": [{"name": "Bash"}], "metadata": {"user_id": "u"},
            "messages": [
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "x"},
                {"role": "user", "content": [
                    {"type": "text", "text": "<system-reminder>\nbe good\n</system-reminder>\n"},
                    {"type": "text", "text": " print(1) \n"},
                ]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash",
                "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text",
                    "text": "1"}]},
                    {"type": "text", "text": "<system-reminder>todo</system-reminder>"},
                ]},
            ],
        });
        let asked = Asked::read(&body).expect("has a prompt");
        assert_eq!(asked.prompt, " print(1) \n");
        assert_eq!(asked.results, ["1"]);
        assert!(asked.stream && !asked.side);
        assert_eq!(asked.user, "u");
        assert_eq!(
            marks("MARK-a.\"MARK-b\\nMARK-a"),
            ["MARK-a", "MARK-b"].map(str::to_owned).into()
        );
    }

    #[test]
    fn the_prompt_after_an_interrupted_tool_is_found() {
        let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "stopped"});
        let text = |text: &str| json!({"type": "text", "text": text});
        let mut body = json!({"messages": [
            {"role": "user", "content": "@bash sleep 9"},
            {"role": "user", "content": [
                result, text("[Request interrupted by user for tool use]"), text("@say b"),
            ]},
        ]});
        let asked = Asked::read(&body).expect("has a prompt");
        assert_eq!((asked.prompt.as_str(), asked.results.len()), ("@say b", 0));
        body["messages"][1]["content"] = json!([result, text("context")]);
        let asked = Asked::read(&body).expect("has a prompt");
        assert_eq!(asked.prompt, "@bash sleep 9");
    }

    #[test]
    fn images_of_all_user_messages_are_described() {
        let image = |data: &str| {
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png",
                "data": data}})
        };
        let body = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "@images"}, image("")]},
            {"role": "assistant", "content": [image("no")]},
        ]});
        let empty = "image/png chars=0 sha256=\
                     e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Asked::read(&body).expect("has a prompt").images, [empty]);
    }

    #[test]
    fn a_title_request_is_a_side_request() {
        let body = json!({
            "system": [{"type": "text", "text": "Generate a concise title for this session"}],
            "messages": [{"role": "user", "content": "print(1)"}],
        });
        assert!(Asked::read(&body).expect("has a prompt").side);
        assert!(Asked::read(&json!({"messages": []})).is_none());
    }

    #[test]
    fn a_request_for_the_rest_keeps_the_prompt() {
        let rest = format!("{REST} Resume directly");
        let text = |text: &str| json!({"type": "text", "text": text});
        let kept = json!({"messages": [
            {"role": "user", "content": [text("@say a")]},
            {"role": "assistant", "content": [text("a")]},
            {"role": "user", "content": [text(&rest)]},
        ]});
        let asked = Asked::read(&kept).expect("has a prompt");
        assert_eq!((asked.prompt.as_str(), asked.survived), ("@say a", 1));
        let lost =
            json!({"messages": [{"role": "user", "content": [text("@say a"), text(&rest)]}]});
        let asked = Asked::read(&lost).expect("has a prompt");
        assert_eq!((asked.prompt.as_str(), asked.survived), ("@say a", 0));
    }
}
