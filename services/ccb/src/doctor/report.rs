//! The report of `ccb doctor`, printed as text or as JSON.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::show::one_line;
use crate::stdout::json_line;

/// The severity of a finding of `ccb doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// The check found no problem.
    Ok,
    /// The check found a problem, but a prompt would still run.
    Warn,
    /// The check found a problem because of which a prompt would not run.
    Fail,
}

/// One finding of `ccb doctor`. It has a remedy if its level is not `Ok`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) level: Level,
    pub(super) name: String,
    pub(super) message: String,
    pub(super) remedy: Option<String>,
}

impl Check {
    /// Parses a line in which the script scripts/ccb passes a finding about Docker, which only the
    /// script can see. The line has level, name, message and remedy, separated by tabs. Returns
    /// `None` for any other line.
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

/// The findings of one run of `ccb doctor`, with the versions and limits that the bridge reported.
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

    /// Returns whether a prompt would run, which is true if no finding has the level `Fail`.
    pub(super) fn is_ok(&self) -> bool {
        self.failures() == 0
    }

    fn failures(&self) -> usize {
        let failed = |check: &&Check| check.level == Level::Fail;
        self.checks.iter().filter(failed).count()
    }

    /// Returns the report as one line of JSON, for `ccb --json doctor`.
    pub(super) fn json(&self) -> String {
        let Self {
            checks,
            versions,
            limits,
        } = self;
        let report =
            json!({ "ok": self.is_ok(), "checks": checks, "versions": versions, "limits": limits });
        json_line(&report.to_string())
    }

    /// Returns the report as text for people, with a line for each finding, its remedy below it,
    /// and the verdict at the end. `quiet` leaves out findings of level `Ok`.
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
            1 => "a prompt would not run: fix the problem marked FAIL".to_owned(),
            n => format!("a prompt would not run: fix the {n} problems marked FAIL"),
        };
        let _ = writeln!(text, "{verdict}");
        text
    }
}
