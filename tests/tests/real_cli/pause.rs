//! Both services with the real CLI, paused for longer than its own clocks allow.
//!
//! The CLI has two watchdogs of an answer's stream. The watchdog for events cannot be shortened
//! (`CLAUDE_STREAM_IDLE_TIMEOUT_MS` below 300 s counts as 300 s), so one of these tests waits for
//! five minutes. The watchdog for bytes has the same limit, but never more than 30 minutes; a
//! variable of its own, which only these tests set, shortens it to 10 s.

use std::time::{Duration, Instant};

use cc_tests::{
    harness::{Stack, StackOptions, eventually},
    http::Http,
    model, ws,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{PATIENCE, claude};

const WATCHDOG: &str = "CLAUDE_STREAM_IDLE_TIMEOUT_MS";
/// A little longer than the CLI's own limit.
const BEYOND_WATCHDOG: Duration = Duration::from_secs(310);
const BYTE_WATCHDOG: &str = "CLAUDE_ENABLE_BYTE_WATCHDOG";
const BYTE_LIMIT: (&str, &str) = ("CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS", "10000");
const BEYOND_BYTE_LIMIT: Duration = Duration::from_secs(20);
/// Words of the answer, which takes 10 s, 50 ms a word. In the middle the model stalls for longer
/// than the pause, so that no byte waits when the pause ends.
const WORDS: u64 = 200;
/// Milliseconds for a process's signals, statuses and last words on a busy machine.
const SLACK_MS: u64 = 3000;

/// Both services with the real CLI, and its model.
pub(super) struct World {
    pub(super) stack: Stack,
    model: Http,
    serving: JoinHandle<std::io::Result<()>>,
}

impl World {
    /// Starts services that allow Bash, with more variables for claude-api.
    pub(super) async fn new(environment: &[(&str, &str)]) -> Self {
        let options = StackOptions::default().env("CLAUDE_API_ALLOWED_TOOLS", "Bash");
        Self::with(options, environment).await
    }

    /// Starts services with these options, and with more variables for claude-api.
    pub(super) async fn with(options: StackOptions, environment: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let config = model::Config::default();
        let serving = tokio::spawn(model::serve(listener, config, std::future::pending()));
        let mut options = StackOptions {
            claude_bin: Some(claude()),
            ..options
        }
        .api(format!("--pass-env={}", BYTE_LIMIT.0))
        .env("LANG", "C.UTF-8")
        .env("ANTHROPIC_BASE_URL", &base);
        for (name, value) in environment {
            options = options.env(*name, *value);
        }
        Self {
            stack: Stack::with(options).await,
            model: Http::at(&base),
            serving,
        }
    }

    pub(super) async fn client(&self) -> ws::Client {
        let options = ws::Options {
            patience: PATIENCE,
            ..ws::Options::default()
        };
        ws::Client::connect_with(self.stack.ws_addr(), options).await
    }

    /// Returns the number of requests to the model.
    pub(super) async fn requests(&self) -> u64 {
        let (_, stats) = self.model.get("/stats").await.expect("an answer");
        stats["requests"].as_u64().expect("a count")
    }

    /// Returns the path of a folder or file of the stack.
    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.stack.path(name)
    }

    pub(super) fn end(self) {
        self.stack.assert_quiet();
        self.serving.abort();
    }
}

/// Pauses an execution for this time, asserts that it writes nothing, and resumes it. Returns the
/// milliseconds of the pause.
async fn pause(client: &mut ws::Client, id: &str, length: Duration) -> u64 {
    client.control("PAUSE", Some(id)).await.expect("accepted");
    client.wait_status(id, "PAUSED").await;
    let began = Instant::now();
    let before = client.received(id);
    tokio::time::sleep(length).await;
    // Bytes that were in the pipes still arrive.
    let after = client.received(id);
    assert!(
        after - before < 1000,
        "{before} {after}: output during the pause"
    );
    let paused = began.elapsed();
    client.control("RESUME", Some(id)).await.expect("accepted");
    milliseconds(paused)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("it fits")
}

/// Result of an answer that was paused in its middle.
struct Paused {
    text: String,
    end: Value,
    /// Number of requests to the model.
    requests: u64,
    /// Milliseconds of the whole run, and of the pause.
    total_ms: u64,
    pause_ms: u64,
}

impl std::fmt::Display for Paused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            text,
            end,
            requests,
            total_ms,
            pause_ms,
        } = self;
        write!(
            f,
            "paused for {pause_ms} of {total_ms} ms, durationMs {}, {} bytes, restarts {}, \
             {requests} requests to the model",
            end["durationMs"],
            text.len(),
            end["restarts"],
        )
    }
}

async fn paused_in_mid_answer(world: &World, length: Duration) -> Paused {
    let mut client = world.client().await;
    let began = Instant::now();
    let (half, stall) = (WORDS / 2, length.as_secs() + 5);
    let prompt = format!("@tokens {half} 50\n@stall {stall}\n@tokens {half} 50");
    let id = client.start(&prompt).await;
    client.wait_output(&id, 300).await;
    let pause_ms = pause(&mut client, &id, length).await;
    let (output, end) = client.wait_terminal(&id).await;
    let total_ms = milliseconds(began.elapsed());
    client.finish().await;
    let requests = world.requests().await;
    Paused {
        text: String::from_utf8(output).expect("output is UTF-8"),
        end,
        requests,
        total_ms,
        pause_ms,
    }
}

/// Compares two runs with the same pause. In the control run, whose environment has one more
/// variable, the CLI repeats its request. In the run with our environment it does not.
async fn compare_with_control(length: Duration, both: &[(&str, &str)], control: (&str, &str)) {
    let more = [both, &[control]].concat();
    let (control, ours) = tokio::join!(World::new(&more), World::new(both));
    let (repeated, paused) = tokio::join!(
        paused_in_mid_answer(&control, length),
        paused_in_mid_answer(&ours, length)
    );
    let Paused {
        text,
        end,
        requests,
        total_ms,
        pause_ms,
    } = &paused;
    let half: String = (1..=WORDS / 2)
        .map(|number| format!("word{number} "))
        .collect();
    assert_eq!(*text, half.repeat(2), "each word once: {paused}");
    assert_eq!(
        (&end["status"], &end["exitCode"], &end["restarts"]),
        (&json!("COMPLETED"), &json!(0), &json!(0)),
        "{end}"
    );
    assert_eq!((*requests, &end["warnings"]), (1, &json!([])), "{end}");
    let duration = end["durationMs"].as_u64().expect("a duration");
    assert!(
        (total_ms - pause_ms).abs_diff(duration) < SLACK_MS,
        "{paused}"
    );
    assert_eq!(
        (repeated.requests, &repeated.end["restarts"]),
        (2, &json!(1)),
        "the control: {repeated}"
    );
    for world in [control, ours] {
        world.end();
    }
}

#[tokio::test]
async fn n1_a_pause_longer_than_the_clis_event_watchdog_repeats_nothing() {
    compare_with_control(BEYOND_WATCHDOG, &[], (WATCHDOG, "1")).await;
}

#[tokio::test]
async fn n1_a_pause_longer_than_the_clis_byte_watchdog_repeats_nothing() {
    compare_with_control(BEYOND_BYTE_LIMIT, &[BYTE_LIMIT], (BYTE_WATCHDOG, "1")).await;
}

/// Runs a tool that takes 12 s, of which it is paused for 8 s: it still runs when the CLI checks
/// its own clock again. `input` is more of the tool's input.
async fn tool_paused(environment: &[(&str, &str)], input: Value) -> (String, Value) {
    let world = World::new(environment).await;
    let mut client = world.client().await;
    let begun = world.stack.path("tmp").join("begun");
    let command = format!("touch {}; sleep 12; echo finished", begun.display());
    let mut tool = json!({"command": command, "description": "Sleep"});
    if let (Value::Object(tool), Value::Object(input)) = (&mut tool, input) {
        tool.extend(input);
    }
    let id = client.start(&format!("@tool Bash {tool}")).await;
    eventually("the tool to run", PATIENCE, || begun.exists().then_some(())).await;
    pause(&mut client, &id, Duration::from_secs(8)).await;
    let (output, end) = client.wait_terminal(&id).await;
    client.finish().await;
    world.end();
    (String::from_utf8(output).expect("output is UTF-8"), end)
}

#[tokio::test]
async fn a_tool_whose_time_limit_passed_in_a_pause_is_named() {
    let default = [("BASH_DEFAULT_TIMEOUT_MS", "6000")];
    let ((default_limit, one), (own_limit, two), (in_time, three)) = tokio::join!(
        tool_paused(&default, json!({})),
        tool_paused(&[], json!({"timeout": 6000})),
        tool_paused(&default, json!({"timeout": 60_000})),
    );
    for (text, end) in [(default_limit, one), (own_limit, two)] {
        println!("{text} {}", end["warnings"]);
        assert!(text.contains("timed out"), "{text}");
        let warning = &end["warnings"][0];
        assert_eq!(warning["code"], "tool_time_limit_passed", "{end}");
        assert_eq!(
            (&warning["data"]["tool"], &warning["data"]["limitMs"]),
            (&json!("Bash"), &json!(6000))
        );
    }
    println!("{in_time} {}", three["warnings"]);
    assert_eq!(
        (in_time.trim(), &three["warnings"]),
        ("finished", &json!([]))
    );
}
