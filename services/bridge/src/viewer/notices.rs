//! The notices with which a view tells its client about changes in the status, such as a retry of
//! the model's API or a new warning (docs/protocol.md, "Notices").

use protocol::message::Notice;
use protocol::{ExecutionId, Status};
use serde_json::{Value, json};

/// Creates a notice, a message for people and programs beside statuses and output. `code` names its
/// kind. `execution_id` is `None` if it is about no particular execution. `data` has further
/// members, and is null if there are none.
#[must_use]
pub fn notice(
    execution_id: Option<ExecutionId>,
    code: &str,
    message: impl Into<String>,
    data: Value,
) -> Notice {
    Notice {
        execution_id,
        code: code.to_owned(),
        message: message.into(),
        data,
    }
}

/// Compares two successive statuses of an execution, and returns a notice for each change that a
/// client should notice: a retry of the model's API, a stall, denied tools and new warnings. Empty
/// if none of these changed.
#[must_use]
pub fn for_change(old: &Status, new: &Status) -> Vec<Notice> {
    let mut notices = Vec::new();
    let id = Some(new.execution_id);
    let retrying = |s: &Status| s.activity.clone().filter(|a| a.starts_with("retrying"));
    if let Some(activity) = retrying(new)
        && retrying(old).as_ref() != Some(&activity)
    {
        let status = activity
            .split_once(':')
            .and_then(|(_, status)| status.trim().parse::<u16>().ok());
        let data = json!({ "activity": activity, "errorStatus": status });
        notices.push(notice(
            id,
            "api_retry",
            "the model's API failed; the CLI retries",
            data,
        ));
    }
    if new.stalled && !old.stalled {
        let data = json!({ "activity": new.activity });
        notices.push(notice(id, "stalled", "no progress for a while", data));
    }
    for denial in new
        .permission_denials
        .iter()
        .skip(old.permission_denials.len())
    {
        notices.push(notice(
            id,
            "tool_denied",
            "a tool was not allowed to run",
            denial.clone(),
        ));
    }
    let seen = old.warnings.last().map_or(0, |w| w.seq);
    for warning in new.warnings.iter().filter(|w| w.seq > seen) {
        let mut data = json!({ "seq": warning.seq, "at": warning.at });
        match &warning.data {
            Value::Object(more) => {
                for (name, value) in more {
                    data[name.as_str()] = value.clone();
                }
            }
            Value::Null => {}
            other => data["data"] = other.clone(),
        }
        notices.push(notice(id, &warning.code, warning.message.clone(), data));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use protocol::ExecutionId;

    #[test]
    fn each_change_causes_one_notice() {
        let old = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
        let mut new = old.clone();
        new.activity = Some("retrying: 529".into());
        new.stalled = true;
        new.permission_denials = vec![json!({ "tool_name": "Bash" })];
        new.warn(Timestamp::UNIX_EPOCH, "slow", "m".into(), json!({ "a": 1 }));
        let codes: Vec<_> = for_change(&old, &new).into_iter().map(|n| n.code).collect();
        assert_eq!(codes, ["api_retry", "stalled", "tool_denied", "slow"]);
        assert_eq!(for_change(&old, &new)[0].data["errorStatus"], 529);
        assert_eq!(for_change(&new, &new), vec![]);
        let mut newer = new.clone();
        newer.warn(Timestamp::UNIX_EPOCH, "other", "m".into(), Value::Null);
        assert_eq!(for_change(&new, &newer).len(), 1);
    }
}
