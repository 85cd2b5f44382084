//! Clients of executions with `"permissionPrompts": "client"`: each sends the messages of one
//! execution after the other, and answers the requests of its CLI.
//!
//! A feeder uses the Rust client, which reconnects by itself. It sends answers late, and sends some
//! calls again. At the end of an execution it compares both streams of the CLI, of which the
//! stand-in keeps copies, with what it has sent and received.

mod copies;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use client::{Client, Error, Event, ExecuteParams, Options, Run};
use protocol::{ExecutionId, message::InputParams};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    execution::Execution,
    plan::{Plan, Turns},
    plant::Plant,
    principal::Principal,
    world::{Phase, World},
};
use copies::Copies;

/// The number of feeders of a run.
pub(super) const FEEDERS: usize = 3;
/// The pause before a request is sent again.
const RETRY: Duration = Duration::from_millis(100);
/// `inputIdleSeconds` of the executions, longer than any outage of a run.
const INPUT_IDLE_SECONDS: u64 = 60;

/// Runs a feeder until the faults are over and its last execution has ended.
pub(super) async fn run(world: Arc<World>, number: usize, seed: u64) {
    let principal = Arc::clone(&world.principals[number % world.principals.len()]);
    let mut rng = StdRng::seed_from_u64(seed);
    while world.under_fire() {
        let (plan, turns) = Plan::of_client(&mut rng, principal.mark());
        let execution = new_execution(&world, &principal, plan, &mut rng);
        let client = loop {
            if let Some(client) = connect(&world, &principal).await {
                break client;
            }
            if world.phase() == Phase::Over {
                return;
            }
            tokio::time::sleep(RETRY).await;
        };
        let mut feeder = Feeder {
            copies: Copies::new(&world, &execution.id),
            world: &world,
            execution: &execution,
            client,
            turns,
            rng: StdRng::seed_from_u64(rng.random()),
            sent_turns: 0,
            accepted: 0,
            answered: Vec::new(),
            output: Vec::new(),
            read: 0,
        };
        if let Err(rule) = feeder.feed().await {
            world.violate(
                &format!("feeder {number}"),
                &format!("{}: {rule}", execution.id),
            );
        }
        feeder.client.close().await;
        let pause = rng.random_range(0..1000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

fn new_execution(
    world: &World,
    principal: &Principal,
    plan: Plan,
    rng: &mut StdRng,
) -> Arc<Execution> {
    let id = principal.new_id(rng);
    let extra = json!({
        "input": "stream", "permissionPrompts": "client", "model": "recorded",
        "inputIdleSeconds": INPUT_IDLE_SECONDS,
    });
    let execution = Arc::new(Execution::new(id, principal.number, plan, extra, None));
    world.add(Arc::clone(&execution));
    execution
}

async fn connect(world: &World, principal: &Principal) -> Option<Client> {
    let token = principal.token.as_ref().map(|token| token.parse());
    let options = Options {
        token: token.transpose().ok()?,
        max_delay: Duration::from_millis(500),
        answer_timeout: Duration::from_secs(10),
        ..Options::default()
    };
    let url = format!("ws://{}/ws", world.front);
    Client::connect(&url, options).await.ok()
}

/// The client of one execution.
struct Feeder<'a> {
    world: &'a World,
    execution: &'a Execution,
    client: Client,
    turns: Turns,
    copies: Copies,
    rng: StdRng,
    /// The number of messages that were accepted.
    sent_turns: usize,
    /// The number of bytes of input that were accepted.
    accepted: u64,
    /// The id of each answered request, with the answer.
    answered: Vec<(String, Value)>,
    output: Vec<u8>,
    /// The number of bytes of the output whose lines were handled.
    read: usize,
}

impl Feeder<'_> {
    /// Runs the execution to its end, and compares the copies of the CLI's streams.
    async fn feed(&mut self) -> Result<(), String> {
        loop {
            let params = serde_json::from_value::<ExecuteParams>(self.execution.params.clone());
            let params = params.map_err(|error| error.to_string())?;
            let failed = match self.client.execute(params) {
                Ok(run) => self.follow(run).await?,
                Err(error) => Some(error),
            };
            let Some(error) = failed else { return Ok(()) };
            if self.is_given_up(&error) {
                return Ok(());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Returns whether an error means that the execution is over for this client.
    fn is_given_up(&self, error: &Error) -> bool {
        let mut facts = self.execution.facts();
        let is_burned = matches!(error, Error::Rpc(error) if error.code == -32009);
        facts.refused |= is_burned && !facts.accepted && facts.may_cancel;
        facts.refused || facts.deleted || self.world.phase() == Phase::Over
    }

    /// Reads a view to its end, and sends what the CLI waits for. Returns the error that ended it;
    /// `None` after the end of the execution.
    async fn follow(&mut self, mut run: Run) -> Result<Option<Error>, String> {
        self.output.clear();
        let mut is_fed = false;
        loop {
            match run.next().await {
                Ok(Some(Event::Output { bytes, .. })) => {
                    self.output.extend_from_slice(&bytes);
                    self.lines().await?;
                }
                Ok(Some(Event::Terminal { update, .. })) => {
                    let state = update.status.state.as_str();
                    self.copies.check(state, &self.answered, &self.output)?;
                    let answers = self.answered.len() as u64;
                    let all = &self.world.control_answers;
                    all.fetch_add(answers, Ordering::Relaxed);
                    return Ok(None);
                }
                Ok(Some(Event::Gap(_))) => return Err("a gap in a short output".to_owned()),
                // The first event says that the execution exists.
                Ok(Some(_)) if !is_fed && self.sent_turns == 0 => {
                    is_fed = true;
                    self.next_turn().await?;
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            }
        }
    }

    /// Handles the complete lines of the output that are new.
    async fn lines(&mut self) -> Result<(), String> {
        while let Some(rest) = self.output.get(self.read..)
            && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        {
            let line = serde_json::from_slice::<Value>(&rest[..end]);
            self.read += end + 1;
            let Ok(line) = line else {
                return Err("a line of the output is no JSON".to_owned());
            };
            if line["type"] == "control_request" {
                self.answer(&line).await?;
            } else if line["subtype"] == "session_state_changed" && line["state"] == "idle" {
                self.next_turn().await?;
            }
        }
        Ok(())
    }

    /// Sends the next message, or the end of the input after the last one.
    async fn next_turn(&mut self) -> Result<(), String> {
        let Some(prompt) = self.turns.prompts.get(self.sent_turns) else {
            return self.send("", true).await.map(drop);
        };
        let mut prompt = prompt.clone();
        if self.sent_turns == 0 {
            let starts = self.world.starts.join(&self.execution.id);
            prompt.push_str(&format!("@spawn-log {}\n", starts.display()));
        }
        let message = json!({"role": "user", "content": prompt});
        let line = format!("{}\n", json!({"type": "user", "message": message}));
        // A later turn begins when the CLI is idle, so a repeated message would be seen.
        self.sent_turns += 1;
        self.send(&line, false).await.map(drop)
    }

    /// Answers a request of the CLI, sometimes late, and sometimes twice.
    async fn answer(&mut self, request: &Value) -> Result<(), String> {
        let id = request["request_id"].as_str().unwrap_or_default();
        let Some(answer) = self.turns.answers.get(self.answered.len()).cloned() else {
            return Err(format!("a request that its CLI does not make: {request}"));
        };
        if self.rng.random_bool(0.3) {
            let late = Duration::from_millis(self.rng.random_range(0..3000));
            tokio::time::sleep(late).await;
        }
        let line = |answer: &Value| {
            let inner = json!({"subtype": "success", "request_id": id, "response": answer});
            format!(
                "{}\n",
                json!({"type": "control_response", "response": inner})
            )
        };
        let first = line(&answer);
        if !self.send(&first, false).await? {
            return Ok(());
        }
        self.answered.push((id.to_owned(), answer));
        if self.world.plant() == Some(Plant::ControlAnswerTwice) {
            self.copies.add_to_stdin(&first);
        }
        if self.rng.random_bool(0.3) {
            // Another answer to the same request must not reach the CLI.
            let other = json!({"behavior": "deny", "message": "a second answer"});
            self.send(&line(&other), false).await?;
        }
        Ok(())
    }

    /// Sends input until it is accepted. Returns whether it was, which is false at the end of the
    /// execution.
    async fn send(&mut self, data: &str, eof: bool) -> Result<bool, String> {
        let execution_id: ExecutionId =
            self.execution.id.parse().map_err(|_| "no id".to_owned())?;
        let params = InputParams {
            execution_id: Some(execution_id),
            offset: self.accepted,
            data: data.to_owned(),
            eof,
        };
        let due = self.accepted + data.len() as u64;
        let mut repeats = u32::from(self.rng.random_bool(0.3));
        while self.world.phase() < Phase::Over {
            match self.client.request(params.clone()).await {
                Ok(accepted) if accepted.accepted != due => {
                    let total = accepted.accepted;
                    return Err(format!(
                        "input: {total} bytes are accepted instead of {due}"
                    ));
                }
                Ok(_) if repeats > 0 => repeats -= 1,
                Ok(_) => {
                    self.accepted = due;
                    return Ok(true);
                }
                // A hole or a malformed line would be a mistake of this client.
                Err(Error::Rpc(error)) if error.code == -32602 => {
                    return Err(format!("input at {} was refused: {error:?}", self.accepted));
                }
                Err(_) if self.execution.is_done() => return Ok(false),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
        Ok(false)
    }
}
