//! The scene of a transcript: both services, recorded sessions, and gates that hold an execution at
//! a point of its prompt.

use std::path::PathBuf;

use cc_tests::{
    harness::{self, Stack, StackOptions},
    stand_in, ws,
};
use serde_json::{Value, json};

use super::record::Transcript;
use crate::support::{PATIENCE, accept, id, until};

/// Replaces the folder of the workspaces.
const WORKSPACES: &str = "/workspaces";
/// Replaces every version.
pub(super) const VERSION: &str = "1.2.3";

/// Both services.
pub(super) struct Scene {
    pub(super) stack: Stack,
}

/// A recorded session.
pub(super) struct Session {
    pub(super) client: ws::Client,
    /// The number of messages before the transcript begins.
    from: usize,
}

/// A file that an execution waits for.
pub(super) struct Gate(PathBuf);

impl Gate {
    /// Returns the directive with which the stand-in CLI waits for the gate.
    pub(super) fn wait(&self) -> String {
        format!("@wait {}", self.0.display())
    }

    pub(super) fn open(&self) {
        std::fs::write(&self.0, "").expect("written");
    }
}

impl Scene {
    pub(super) async fn start() -> Self {
        Self::with(StackOptions::default()).await
    }

    pub(super) async fn with(options: StackOptions) -> Self {
        // The default depends on the number of cores, which differs between machines.
        let options = options.one_bridge().api("--simultaneous-starts=4");
        let stack = Stack::with(options).await;
        Self { stack }
    }

    /// Starts a scene in which one execution takes the only place until the gate opens.
    pub(super) async fn with_one_place() -> (Self, Gate) {
        let scene = Self::with(StackOptions::default().api("--running-executions=1")).await;
        let gate = scene.gate();
        scene.running(&gate.wait(), json!({})).await;
        (scene, gate)
    }

    pub(super) fn gate(&self) -> Gate {
        Gate(self.stack.path("tmp").join(id()))
    }

    /// Starts an execution over HTTP, and waits until it runs. Returns its id.
    pub(super) async fn running(&self, prompt: &str, extra: Value) -> String {
        let (http, id) = (self.stack.http(), id());
        accept(&http, &id, prompt, extra).await;
        until(&http, &id, "running", |status| status["state"] == "running").await;
        id
    }

    /// Starts an execution over HTTP, and waits until it has written so many bytes of output.
    pub(super) async fn written(&self, prompt: &str, bytes: u64) -> String {
        let id = self.running(prompt, json!({})).await;
        until(&self.stack.http(), &id, "so far", |status| {
            status["outputBytes"].as_u64() == Some(bytes)
        })
        .await;
        id
    }

    /// Runs a prompt over HTTP to its end. Returns its id.
    pub(super) async fn ended(&self, prompt: &str, extra: Value) -> String {
        let (_, status) = crate::support::run(&self.stack, prompt, extra).await;
        status["executionId"].as_str().expect("an id").to_owned()
    }

    /// Opens a recorded session once the bridge knows the limits of claude-api.
    pub(super) async fn session(&self) -> Session {
        self.session_with(ws::Options::default()).await
    }

    pub(super) async fn session_with(&self, options: ws::Options) -> Session {
        let options = ws::Options {
            record: true,
            ..options
        };
        harness::until("the limits at the bridge", PATIENCE, async || {
            let client = ws::Client::connect_with(self.stack.ws_addr(), options.clone()).await;
            if client.connected()["limits"].is_object() {
                let from = client.recorded().len();
                return Some(Session { client, from });
            }
            client.finish().await;
            None
        })
        .await
    }

    /// Creates an empty transcript that replaces the folders and the versions of this run.
    pub(super) fn transcript(&self) -> Transcript {
        let mut transcript = Transcript::default();
        let folder = self.stack.path("workspaces");
        transcript.names.text(folder.to_string_lossy(), WORKSPACES);
        let cli = stand_in::VERSION.split(' ').next().unwrap_or_default();
        transcript.names.text(cli, VERSION);
        transcript
    }

    /// Creates the transcript of a session's messages.
    pub(super) fn transcript_of(&self, session: &Session) -> Transcript {
        let mut transcript = self.transcript();
        transcript.names.session(&session.client.session_id());
        transcript.session(&session.messages());
        transcript
    }
}

impl Session {
    /// Begins the transcript behind the messages so far.
    pub(super) fn begin_here(&mut self) {
        self.from = self.client.recorded().len();
    }

    /// Returns the messages since the transcript began.
    pub(super) fn messages(&self) -> Vec<ws::Recorded> {
        self.client.recorded().split_off(self.from)
    }

    /// Attaches to a running execution from an offset, and waits for the first status.
    pub(super) async fn attach(&mut self, id: &str, offset: Option<u64>) {
        self.client.attach(id, offset).await.expect("attached");
        self.client.wait_status(id, "RUNNING").await;
    }
}
