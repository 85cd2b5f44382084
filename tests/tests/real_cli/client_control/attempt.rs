//! An attempt to pass the operator's ceiling, and the traces that a success would leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cc_tests::http::Http;
use futures::StreamExt;
use serde_json::{Value, json};

use super::driver::{Refusal, Reply, Session, extend};
use super::reply;
use crate::pause::World;

/// How many attempts run at the same time: more would only wait for the two cores of a runner.
const AT_ONCE: usize = 4;
/// The time for one attempt.
const PATIENCE: Duration = Duration::from_secs(40);
/// The text of the file outside the workspace. The scripted model also reports it by `@marks`.
const SECRET: &str = "MARK-outside";
/// Stands for the folder outside the workspace in everything that a client sends.
pub(super) const OUT: &str = "$OUT";

/// A command that no operator of this module allows.
pub(super) const MAKE: &str = "@bash touch broken";
/// The same outside the workspace.
pub(super) const MAKE_OUTSIDE: &str = "touch $OUT/broken";

/// The operator's settings, and attempts to pass them.
pub(super) struct Table {
    /// The variables of claude-api.
    pub(super) operator: Vec<(&'static str, String)>,
    /// Executions within the ceiling. Each must leave its trace, which shows that a trace is seen.
    pub(super) controls: Vec<(Attempt, &'static str)>,
    /// Executions that must leave no trace.
    pub(super) attempts: Vec<Attempt>,
}

/// Returns the variables of an operator who allows no tool unasked.
pub(super) fn operator(more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let none = [("CLAUDE_API_ALLOWED_TOOLS", "")];
    let all = none.iter().chain(more);
    all.map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// One execution, and what its client sends.
pub(super) struct Attempt {
    pub(super) name: &'static str,
    body: Value,
    files: Vec<(&'static str, String)>,
    lines: Vec<Value>,
    prompts: Vec<String>,
    reply: Reply,
    /// The problem types of the refusals, in order.
    refused: Vec<&'static str>,
}

/// Returns an attempt with this prompt, whose client denies every permission.
pub(super) fn attempt(name: &'static str, prompt: impl Into<String>) -> Attempt {
    Attempt {
        name,
        body: json!({}),
        files: Vec::new(),
        lines: Vec::new(),
        prompts: vec![prompt.into()],
        reply: reply::deny(),
        refused: Vec::new(),
    }
}

impl Attempt {
    /// Sets fields of the body.
    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = body;
        self
    }

    /// Adds a file of the workspace.
    pub(super) fn file(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.files.push((path, text.into()));
        self
    }

    /// Sends a line before the prompt.
    pub(super) fn line(mut self, line: Value) -> Self {
        self.lines.push(line);
        self
    }

    /// Sends a control request before the prompt.
    pub(super) fn request(self, request: Value) -> Self {
        self.line(json!({"type": "control_request", "request_id": "r", "request": request}))
    }

    /// Sends an `initialize` with these members before the prompt.
    pub(super) fn initialize(self, mut members: Value) -> Self {
        members["subtype"] = json!("initialize");
        self.request(members)
    }

    /// Sends one more prompt after the first turn.
    pub(super) fn then(mut self, prompt: impl Into<String>) -> Self {
        self.prompts.push(prompt.into());
        self
    }

    /// Sets the answers to the CLI.
    pub(super) fn reply(mut self, reply: Reply) -> Self {
        self.reply = reply;
        self
    }

    /// Expects that the body, or a line before the prompt, is refused with this problem type.
    pub(super) fn refused(mut self, kind: &'static str) -> Self {
        self.refused.push(kind);
        self
    }

    /// Makes the attempt. Returns the traces that it left.
    ///
    /// # Errors
    /// Other refusals than expected, or a turn without a result.
    async fn run(self, http: &Http, place: Place) -> Result<Vec<&'static str>, String> {
        let name = self.name;
        for (path, text) in &self.files {
            let path = place.workspace.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, place.fill_in(text)).expect("a file");
        }
        let mut body = json!({"includePartialMessages": false});
        extend(&mut body, &place.fill_in_json(&self.body));
        body["workspace"] = json!(place.name);
        let (reply, inner) = (self.reply, place.clone());
        let reply: Reply = Box::new(move |line| {
            let lines = reply(line);
            lines.iter().map(|line| inner.fill_in_json(line)).collect()
        });
        let mut refusals: Vec<Refusal> = Vec::new();
        let output = match Session::start(http, &body, reply).await {
            Err(refusal) => {
                refusals.push(refusal);
                String::new()
            }
            Ok(mut session) => {
                for line in &self.lines {
                    let line = place.fill_in_json(line);
                    refusals.extend(session.send(&[line]).await.err());
                }
                let mut results = 0;
                for prompt in &self.prompts {
                    let result = session.turn(place.fill_in(prompt)).await;
                    let result = result.map_err(|refusal| format!("{name}: {refusal:?}"))?;
                    results += usize::from(result.is_some());
                }
                session.finish().await;
                let text = session.text();
                if results != self.prompts.len() {
                    return Err(format!("{name}: a turn has no result: {text}"));
                }
                refusals.append(&mut session.refusals);
                text
            }
        };
        let kinds: Vec<_> = refusals
            .iter()
            .map(|refusal| refusal.kind.as_str())
            .collect();
        if kinds != self.refused {
            let expected = self.refused;
            return Err(format!(
                "{name}: {refusals:?}, expected {expected:?}\n{output}"
            ));
        }
        Ok(place.traces(&output))
    }
}

impl Table {
    /// Runs all executions of the table, each in a workspace of its own.
    pub(super) async fn hold(self) {
        let Self {
            operator,
            controls,
            attempts,
        } = self;
        let operator: Vec<_> = operator
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let world = World::new(&operator).await;
        let (place_in, http) = (&world, &world.stack.http());
        let controls = controls
            .into_iter()
            .map(|(control, trace)| (control, Some(trace)));
        let only = std::env::var("ONLY").unwrap_or_default();
        let all = controls.chain(attempts.into_iter().map(|attempt| (attempt, None)));
        let runs = all.filter(|(a, _)| a.name.contains(&only)).enumerate().map(
            |(number, (attempt, expected))| async move {
                let name = attempt.name;
                let begin = std::time::Instant::now();
                let run = attempt.run(http, Place::make(place_in, number));
                let traces = match tokio::time::timeout(PATIENCE, run).await {
                    Ok(Ok(traces)) => traces,
                    Ok(Err(mistake)) => return Some(mistake),
                    Err(_) => return Some(format!("{name}: did not end within {PATIENCE:?}")),
                };
                eprintln!("DONE {:?} {name} {traces:?}", begin.elapsed());
                let is_good = match expected {
                    Some(trace) => traces.contains(&trace),
                    None => traces.is_empty(),
                };
                (!is_good).then(|| format!("{name}: {traces:?}, expected {expected:?}"))
            },
        );
        let wrong: Vec<_> = futures::stream::iter(runs)
            .buffer_unordered(AT_ONCE)
            .filter_map(|wrong| async { wrong })
            .collect()
            .await;
        let settings = world.path("home/.claude/settings.json");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(!settings.exists(), "an execution wrote the user's settings");
        world.end();
    }
}

/// The folders of one execution.
#[derive(Clone)]
struct Place {
    name: String,
    workspace: PathBuf,
    outside: PathBuf,
}

impl Place {
    fn make(world: &World, number: usize) -> Self {
        let name = format!("w{number}");
        let place = Self {
            workspace: world.path("workspaces").join(&name),
            outside: world.path("outside").join(&name),
            name,
        };
        for folder in [&place.workspace, &place.outside] {
            fs::create_dir_all(folder).expect("a folder");
            fs::write(folder.join("victim"), "precious\n").expect("a file");
        }
        fs::write(place.outside.join("secret"), SECRET).expect("a file");
        place
    }

    fn fill_in(&self, text: &str) -> String {
        text.replace(OUT, &self.outside.to_string_lossy())
    }

    fn fill_in_json(&self, value: &Value) -> Value {
        serde_json::from_str(&self.fill_in(&value.to_string())).expect("JSON")
    }

    /// Returns the traces of uses of tools.
    fn traces(&self, output: &str) -> Vec<&'static str> {
        let has = |folder: &Path, name: &str| folder.join(name).exists();
        [
            ("broken", has(&self.workspace, "broken")),
            ("broken outside", has(&self.outside, "broken")),
            ("allowed", has(&self.workspace, "allowed")),
            ("deleted", !has(&self.workspace, "victim")),
            ("deleted outside", !has(&self.outside, "victim")),
            (
                "settings",
                has(&self.workspace, ".claude/settings.local.json"),
            ),
            ("read", output.contains(SECRET)),
        ]
        .into_iter()
        .filter_map(|(trace, is_left)| is_left.then_some(trace))
        .collect()
    }
}
