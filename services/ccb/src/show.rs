//! Formats the status of executions for people.

use std::fmt::Write;

use jiff::tz::TimeZone;
use jiff::{SpanRound, Timestamp, Unit};
use protocol::{Page, Status};

pub(crate) use ccb::terminal_text::{for_terminal, json_for_terminal, message, one_line, plain};

use crate::question;

/// Returns the name of an enum value as the protocol has it in JSON, for example `idle_timeout`.
pub(crate) fn serde_name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Formats a duration in milliseconds for people, for example `850 ms`, `12.3 s` or `4m 5s`.
pub(crate) fn time(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{}m {}s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{}h {}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Formats a number of bytes for people, for example `850 B` or `1.5 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Returns the state of an execution for people, with its reason if it has one.
pub(crate) fn state(status: &Status) -> String {
    match &status.reason {
        Some(reason) => format!("{} ({})", status.state.as_str(), serde_name(reason)),
        None => status.state.as_str().to_owned(),
    }
}

/// Returns one line about what an execution does now: its state, its position in the queue and its
/// activity. There is no newline at the end.
pub(crate) fn activity(status: &Status) -> String {
    let mut text = state(status);
    if let Some(position) = status.queue_position {
        let _ = write!(text, ", position {position} in the queue");
    }
    if let Some(activity) = &status.activity {
        let _ = write!(text, ", {activity}");
    }
    if status.stalled {
        text.push_str(", stalled");
    }
    one_line(&text)
}

/// Returns a summary of an ended execution in one line. `verified` is a remark about whether the
/// output is complete.
pub(crate) fn summary(status: &Status, verified: &str) -> String {
    let mut text = state(status);
    if let Some(ms) = status.duration_ms {
        let _ = write!(text, " in {}", time(ms));
    }
    let _ = write!(text, ", {}{verified}", size(status.output_bytes));
    if let Some(code) = status.exit_code.filter(|c| *c != 0) {
        let _ = write!(text, ", exit code {code}");
    }
    if let Some(cost) = status.cost_usd {
        let _ = write!(text, ", {cost:.4} USD");
    }
    let _ = write!(text, ", id {}", status.execution_id);
    one_line(&text)
}

/// Returns the status of an execution for `ccb status`, as lines with a name and a value.
pub(crate) fn details(status: &Status) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("id", status.execution_id.to_string()),
        ("state", activity(status)),
    ];
    let mut row = |name: &'static str, value: Option<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            rows.push((name, value));
        }
    };
    row(
        "error",
        status
            .error
            .as_ref()
            .map(|e| format!("{}: {}", e.code, e.message)),
    );
    row("exit code", status.exit_code.map(|c| c.to_string()));
    row("output", Some(size(status.output_bytes)));
    row(
        "kept from",
        (status.kept_from > 0).then(|| format!("byte {}", status.kept_from)),
    );
    row("crc32", status.crc32.clone());
    row("created", Some(local(status.created_at)));
    row("started", status.started_at.map(local));
    row("ended", status.ended_at.map(local));
    row("ran", status.duration_ms.map(time));
    row("not before", status.not_before.map(local));
    row("principal", status.principal.clone());
    row("workspace", Some(status.workspace.clone()));
    row("lane", status.lane.clone());
    row("conversation", status.conversation.clone());
    row("continues", status.continues.map(|id| id.to_string()));
    row("continued by", status.continued_by.map(|id| id.to_string()));
    row("model", status.model.clone());
    row("cost", status.cost_usd.map(|usd| format!("{usd:.4} USD")));
    for question in &status.questions {
        let text = question::one_line(&question.tool, &question.title);
        row("question", Some(format!("{} {text}", question.question_id)));
    }
    row(
        "denied tools",
        (!status.permission_denials.is_empty())
            .then(|| status.permission_denials.len().to_string()),
    );
    for warning in &status.warnings {
        row(
            "warning",
            Some(format!("{}: {}", warning.code, warning.message)),
        );
    }
    for (name, value) in &status.metadata {
        row("metadata", Some(format!("{name}={value}")));
    }
    row("stderr", tail(status));
    let mut text = String::new();
    for (name, value) in rows {
        let value = plain(&value).replace('\n', "\n              ");
        let _ = writeln!(text, "{name:<14}{value}");
    }
    text
}

/// Returns the last 5 lines of the CLI's stderr that are not blank, or `None` if there are none.
pub(crate) fn tail(status: &Status) -> Option<String> {
    let lines: Vec<_> = status
        .stderr_tail
        .lines()
        .rev()
        .filter(|l| !l.trim().is_empty())
        .take(5)
        .collect();
    (!lines.is_empty()).then(|| lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
}

/// Returns one page of the list of executions for `ccb list`, as a table. Ages are relative to the
/// time `now`. Principals have a column if any execution has one.
pub(crate) fn table(page: &Page, now: Timestamp) -> String {
    let has_principals = page.executions.iter().any(|s| s.principal.is_some());
    let principal = |name: &str| match has_principals {
        true => format!("{name:<16}  "),
        false => String::new(),
    };
    let mut text = format!(
        "{:<36}  {:<12} {:>10} {:>8} {:>10}  {}{}\n",
        "ID",
        "STATE",
        "CREATED",
        "RAN",
        "OUTPUT",
        principal("PRINCIPAL"),
        "NOTE"
    );
    for status in &page.executions {
        let note = match (&status.error, &status.reason, &status.activity) {
            (Some(error), ..) => error.message.lines().next().unwrap_or_default().to_owned(),
            (_, Some(reason), _) => serde_name(reason),
            (.., Some(activity)) => activity.clone(),
            _ => String::new(),
        };
        let line = format!(
            "{:<36}  {:<12} {:>10} {:>8} {:>10}  {}{}",
            status.execution_id.to_string(),
            status.state.as_str(),
            ago(status.created_at, now),
            status.duration_ms.map(time).unwrap_or_default(),
            size(status.output_bytes),
            principal(status.principal.as_deref().unwrap_or("-")),
            note.chars().take(60).collect::<String>(),
        );
        let _ = writeln!(text, "{}", one_line(line.trim_end()));
    }
    text
}

/// Formats a point in time in the time zone of this machine.
pub(crate) fn local(at: Timestamp) -> String {
    let rounded = at.round(Unit::Second).unwrap_or(at);
    rounded
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}

/// Formats how long before `now` a point in time was, for example `5 m ago`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let rounded = SpanRound::new().largest(Unit::Hour).smallest(Unit::Second);
    let seconds = (now - at)
        .round(rounded)
        .ok()
        .and_then(|span| span.total(Unit::Second).ok())
        .unwrap_or(0.0);
    match seconds {
        s if s < 60.0 => format!("{:.0} s ago", s.max(0.0)),
        s if s < 3600.0 => format!("{:.0} m ago", (s / 60.0).floor()),
        s if s < 172_800.0 => format!("{:.0} h ago", (s / 3600.0).floor()),
        s => format!("{:.0} d ago", (s / 86_400.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{ExecutionId, Reason, State};

    #[test]
    fn times_and_sizes_have_readable_units() {
        assert_eq!(time(850), "850 ms");
        assert_eq!(time(12_345), "12.3 s");
        assert_eq!(time(245_000), "4m 5s");
        assert_eq!(time(3_725_000), "1h 2m");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 * 1024 * 1024), "5.0 MiB");
        assert!(size(u64::MAX).ends_with("TiB"));
    }

    #[test]
    fn foreign_text_cannot_imitate_a_line_of_ccb() {
        let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
        status.state = State::Running;
        status.activity = Some("tool: x\nccb: completed".into());
        assert_eq!(activity(&status), "running, tool: x ccb: completed");
        let page = Page {
            executions: vec![status],
            next: None,
        };
        assert_eq!(table(&page, Timestamp::UNIX_EPOCH).lines().count(), 2);
        assert_eq!(message("a\nccb: b\n"), "a\n     ccb: b");
    }

    #[test]
    fn a_status_is_formatted_as_summary_table_and_details() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut status = Status::queued(
            ExecutionId::random(),
            "2026-01-02T01:00:00Z".parse().unwrap(),
            "w".into(),
        );
        status.state = State::TimedOut;
        status.reason = Some(Reason::IdleTimeout);
        status.duration_ms = Some(61_000);
        status.stderr_tail = "one\n\ntwo\n".into();
        let without = details(&status);
        assert!(!without.contains("principal"), "{without}");
        let line = summary(&status, "");
        assert!(
            line.starts_with("timed_out (idle_timeout) in 1m 1s, 0 B, id "),
            "{line}"
        );
        let page = Page {
            executions: vec![status.clone()],
            next: None,
        };
        let table = table(&page, now);
        assert!(
            table.contains("timed_out") && table.contains("2 h ago"),
            "{table}"
        );
        assert!(!table.contains("PRINCIPAL"), "{table}");
        status.principal = Some("team-a".into());
        let page = Page {
            executions: vec![status.clone()],
            next: None,
        };
        let table = super::table(&page, now);
        assert!(
            table.contains("PRINCIPAL") && table.contains("team-a"),
            "{table}"
        );
        let details = details(&status);
        assert!(details.contains("principal     team-a\n"), "{details}");
        assert!(
            details.contains("stderr        one\n              two\n"),
            "{details}"
        );
    }
}
