//! What was found, for a person and as JSON.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::show::one_line;
use crate::stdout::json_line;

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    /// A prompt would run all the same.
    Warn,
    /// It would not.
    Fail,
}

/// One finding. Without a remedy it is fine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) level: Level,
    pub(super) name: String,
    pub(super) message: String,
    pub(super) remedy: Option<String>,
}

impl Check {
    /// A finding of scripts/ccb, which sees the engine: level, name, message and remedy, by tabs. None for an empty line.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(4, '\t').map(str::trim);
        let level = match parts.next()? {
            "ok" => Level::Ok,
            "warn" => Level::Warn,
            "fail" => Level::Fail,
            _ => return None,
        };
        Some(Self {
            level,
            name: parts.next()?.to_owned(),
            message: parts.next()?.to_owned(),
            remedy: parts.next().filter(|r| !r.is_empty()).map(str::to_owned),
        })
    }
}

#[derive(Debug)]
pub(super) struct Report {
    pub(super) checks: Vec<Check>,
    pub(super) versions: Value,
    pub(super) limits: Value,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            checks: Vec::new(),
            versions: json!({}),
            limits: Value::Null,
        }
    }
}

impl Report {
    fn add(&mut self, level: Level, name: &str, message: &str, remedy: Option<&str>) {
        self.checks.push(Check {
            level,
            name: name.to_owned(),
            message: message.to_owned(),
            remedy: remedy.map(str::to_owned),
        });
    }

    pub(super) fn ok(&mut self, name: &str, message: &str) {
        self.add(Level::Ok, name, message, None);
    }

    pub(super) fn warn(&mut self, name: &str, message: &str, remedy: &str) {
        self.add(Level::Warn, name, message, Some(remedy));
    }

    pub(super) fn fail(&mut self, name: &str, message: &str, remedy: &str) {
        self.add(Level::Fail, name, message, Some(remedy));
    }

    /// A prompt would run.
    pub(super) fn well(&self) -> bool {
        self.failures() == 0
    }

    fn failures(&self) -> usize {
        let failed = |check: &&Check| check.level == Level::Fail;
        self.checks.iter().filter(failed).count()
    }

    /// One line.
    pub(super) fn json(&self) -> String {
        let Self {
            checks,
            versions,
            limits,
        } = self;
        let report =
            json!({ "ok": self.well(), "checks": checks, "versions": versions, "limits": limits });
        json_line(&report.to_string())
    }

    /// A line for each finding, its remedy below it, the verdict last. `quiet` leaves out what is fine.
    pub(super) fn text(&self, quiet: bool) -> String {
        let mut text = String::new();
        let shown = |check: &&Check| !(quiet && check.level == Level::Ok);
        for check in self.checks.iter().filter(shown) {
            let level = match check.level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            let (name, message) = (one_line(&check.name), one_line(&check.message));
            let _ = writeln!(text, "{level}  {name}: {message}");
            if let Some(remedy) = &check.remedy {
                let _ = writeln!(text, "      to do: {}", one_line(remedy));
            }
        }
        let verdict = match self.failures() {
            0 => "a prompt would run".to_owned(),
            1 => "a prompt would not run: 1 thing to do, marked FAIL".to_owned(),
            n => format!("a prompt would not run: {n} things to do, marked FAIL"),
        };
        let _ = writeln!(text, "{verdict}");
        text
    }
}
