//! Injected bugs that the run must find, most of them between the socket and the checks.

use serde_json::Value;

use super::{
    principal::{MARKS, Principal},
    view::View,
    world::World,
};

/// An injected bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The first character of the first output after an attach from an offset is lost.
    ResumeDropsByte,
    /// The first byte of an output that the bridge resumes is lost between the services.
    UpstreamDropsByte,
    /// A terminal statusUpdate is received twice.
    SecondTerminal,
    /// A repeated execute starts the CLI again.
    SecondSpawn,
    /// The upstream offset is right, but two bytes of the output are swapped.
    SwappedBytes,
    /// A line of input reaches the CLI a second time.
    InputTwice,
    /// An execution starts before the execution that it continues has ended.
    TwoAtOnce,
    /// `continuedBy` is missing.
    LostLink,
    /// The CLI gets another answer than the one that is confirmed, with the same decision.
    AnswerTwice,
    /// The CLI gets the client's answer to one of its requests a second time.
    ControlAnswerTwice,
    /// After its restart, the bridge does not announce to a view the questions that are open
    /// already.
    QuestionLost,
    /// A status has the id of an execution of another principal.
    ForeignId,
    /// A position in the queue counts an execution of another principal.
    ForeignCount,
    /// An output has some bytes of another principal.
    ForeignByte,
    /// An answer tells that an execution of another principal exists.
    ForeignExists,
}

impl Plant {
    /// Returns whether only a run with several principals has this bug.
    #[must_use]
    pub fn needs_principals(self) -> bool {
        matches!(
            self,
            Self::ForeignId | Self::ForeignCount | Self::ForeignByte | Self::ForeignExists
        )
    }
}

/// Changes a message to a client as a bug would that shows something of another principal. Returns
/// the new text of the message; `None` if it is as before. `is_attack`: the message answers a
/// request about an execution of another principal.
pub(super) fn leak(
    world: &World,
    principal: &Principal,
    message: &mut Value,
    is_attack: bool,
) -> Option<String> {
    let plant = world.plant().filter(|plant| plant.needs_principals())?;
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    let own = principal.number;
    match plant {
        Plant::ForeignId if method == "statusUpdate" => {
            let executions = world.executions();
            let foreign = executions.iter().find(|one| one.principal != own)?;
            message["params"]["metadata"]["note"] = foreign.id.as_str().into();
        }
        Plant::ForeignCount => {
            let part = if method == "statusUpdate" {
                "params"
            } else {
                "result"
            };
            let position = message[part]["queuePosition"].as_u64()?;
            message[part]["queuePosition"] = (position + 1).into();
        }
        Plant::ForeignByte if method == "output" => {
            let foreign = MARKS[(own + 1) % MARKS.len()];
            edit(message, |content| {
                let at = content.floor_char_boundary(content.len() / 2);
                format!("{}{foreign}{}", &content[..at], &content[at..])
            });
        }
        Plant::ForeignExists if is_attack && message["error"]["code"] == -32003 => {
            message["error"]["code"] = (-32008).into();
            message["error"]["data"]["reason"] = "wrong_state".into();
        }
        _ => return None,
    }
    Some(message.to_string())
}

/// Returns the answer that claude-api gets in place of one. Without the bug it is the same.
pub(super) fn second_answer(world: &World, answer: &Value) -> Value {
    let mut answer = answer.clone();
    if world.plant() != Some(Plant::AnswerTwice) {
        return answer;
    }
    if answer["decision"] == "deny" && answer["interrupt"] != true {
        answer["message"] = "another message".into();
    } else if answer["updatedInput"].is_object() {
        answer["updatedInput"] = serde_json::json!({"command": "another one"});
    }
    answer
}

/// Returns whether a bridge with the bug would not have sent a notification. `view` returns the
/// client's view of an execution.
pub(super) fn is_forgotten<'a>(
    world: &World,
    message: &Value,
    view: impl Fn(&str) -> Option<&'a View>,
) -> bool {
    let is_planted = world.plant() == Some(Plant::QuestionLost) && world.bridge_was_restarted();
    let params = &message["params"];
    let Some(view) = params["executionId"]
        .as_str()
        .filter(|_| is_planted)
        .and_then(view)
    else {
        return false;
    };
    match message["method"].as_str() {
        Some("question") => {
            let asked = params["question"]["askedAt"].as_str();
            let asked = asked.and_then(|at| at.parse::<jiff::Timestamp>().ok());
            asked.is_some_and(|asked| asked < view.began)
        }
        // No client is told the end of a question that it does not know.
        Some("questionClosed") => {
            let id = params["questionId"].as_str().unwrap_or_default();
            !view.announced.contains(id)
        }
        _ => false,
    }
}

/// Changes a status as the bug would.
pub(super) fn spoil_status(plant: Option<Plant>, status: &Value) -> Value {
    let mut status = status.clone();
    match plant {
        Some(Plant::TwoAtOnce)
            if status["startedAt"].is_string() && status["continues"].is_string() =>
        {
            status["startedAt"] = "2000-01-01T00:00:00Z".into();
        }
        Some(Plant::LostLink) => status["continuedBy"] = Value::Null,
        _ => {}
    }
    status
}

/// Changes a message as the bug would; returns how many times it is received.
pub(super) fn spoil(plant: Option<Plant>, message: &mut Value, resumed: bool) -> usize {
    let Some(plant) = plant else { return 1 };
    let terminal = message["params"]["crc32"].is_string();
    match (plant, message["method"].as_str()) {
        (Plant::SecondTerminal, Some("statusUpdate")) if terminal => 2,
        (Plant::ResumeDropsByte, Some("output")) if resumed => {
            edit(message, |content| content.chars().skip(1).collect());
            1
        }
        (Plant::SwappedBytes, Some("output")) if resumed => {
            edit(message, |content| {
                let mut characters: Vec<char> = content.chars().collect();
                // Two neighbours that differ: a swap of equal ones has no effect.
                if let Some(at) = characters
                    .windows(2)
                    .position(|pair| pair[0] != pair[1] && pair[0].len_utf8() == pair[1].len_utf8())
                {
                    characters.swap(at, at + 1);
                }
                characters.into_iter().collect()
            });
            1
        }
        _ => 1,
    }
}

fn edit(message: &mut Value, change: impl FnOnce(&str) -> String) {
    if let Some(content) = message["params"]["content"].as_str().map(change) {
        message["params"]["content"] = content.into();
    }
}
