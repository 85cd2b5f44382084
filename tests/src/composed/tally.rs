//! A record of one suite's actions on the shared stack, which is later compared with `/metrics`.
//!
//! `CCB_TALLY` names the file; without it, tests record nothing. The first test that uses the
//! shared stack writes the time and the pages of both services. Each session of a test adds a line.

use std::{fs, fs::OpenOptions, io::Write, net::SocketAddr, path::PathBuf, sync::OnceLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::report;
use crate::exposition::{Format, Page};

const SESSION: &str = "session";

fn file() -> Option<PathBuf> {
    std::env::var_os("CCB_TALLY").map(PathBuf::from)
}

/// Records the time and both pages, unless the file has them. Tests of the same suite wait for it.
///
/// # Panics
/// If a service does not answer, or the file cannot be written.
pub(super) fn begin(api: SocketAddr, bridge: SocketAddr) {
    static BEGUN: OnceLock<()> = OnceLock::new();
    BEGUN.get_or_init(|| {
        let Some(path) = file().filter(|path| !path.exists()) else {
            return;
        };
        let page = |addr| {
            let page = report::get(addr, "/metrics");
            page.unwrap_or_else(|| panic!("{addr} has no page of metrics"))
        };
        let first = json!({"at": Timestamp::now(), "api": page(api), "bridge": page(bridge)});
        fs::write(path, format!("{first}\n")).expect("CCB_TALLY can be written");
    });
}

/// Records a session on the shared stack.
///
/// # Panics
/// If the file cannot be written.
pub(super) fn session() {
    let Some(path) = file() else { return };
    let mut file = OpenOptions::new().append(true).open(path);
    let file = file.as_mut().expect("CCB_TALLY was begun");
    // One write of one short line: lines of parallel tests do not mix.
    file.write_all(format!("{SESSION}\n").as_bytes())
        .expect("CCB_TALLY can be written");
}

/// What a suite has recorded.
#[derive(Debug)]
pub struct Tally {
    /// The time before the suite's first execution.
    pub at: Timestamp,
    /// claude-api's page at that time.
    pub api: Page,
    /// The bridge's page at that time.
    pub bridge: Page,
    /// Sessions that the suite opened.
    pub sessions: usize,
}

impl Tally {
    /// Reads the record of the suite that ran before.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn read() -> Self {
        let path = file().expect("CCB_TALLY must be set: scripts/test does it");
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let first: Value = serde_json::from_str(first).expect("the first line is JSON");
        let member = |name: &str| first[name].as_str().unwrap_or_default();
        let page = |name: &str| Page::parse(member(name), Format::Text).expect("a page");
        Self {
            at: member("at").parse().expect("a time"),
            api: page("api"),
            bridge: page("bridge"),
            sessions: lines.filter(|line| *line == SESSION).count(),
        }
    }
}
