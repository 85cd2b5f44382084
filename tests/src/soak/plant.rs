//! Injected bugs that the run must find, most of them between the socket and the checks.

use serde_json::Value;

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
