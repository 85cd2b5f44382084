//! Any requests with any answers in any order, against a simple model: every request is answered exactly once, an
//! execution has at most one view, a view begins directly behind its answer, and the last request about a view
//! that was granted decides whether there is one.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use super::*;

/// A request about the execution of this number.
#[derive(Debug, Clone)]
enum Request {
    Execute(u8),
    /// A notification: no id, so no answer.
    Tell(u8),
    Attach(u8),
    Detach(u8),
    Cancel(Option<u8>),
    Status(Option<u8>),
    Input(u8),
    List,
    Ping,
    Nonsense,
}

#[derive(Debug, Clone)]
enum Step {
    Ask(Request),
    Batch(Vec<Request>),
    /// One that is open comes back, well or not.
    Back(Index, bool),
}

fn request() -> impl Strategy<Value = Request> {
    use Request::{Attach, Cancel, Detach, Execute, Input, List, Nonsense, Ping, Tell};
    let id = 0..4_u8;
    prop_oneof![
        3 => id.clone().prop_map(Execute),
        1 => id.clone().prop_map(Tell),
        3 => id.clone().prop_map(Attach),
        2 => id.clone().prop_map(Detach),
        1 => prop::option::of(id.clone()).prop_map(Cancel),
        1 => prop::option::of(id.clone()).prop_map(Request::Status),
        1 => id.prop_map(Input),
        1 => Just(List),
        1 => Just(Ping),
        1 => Just(Nonsense),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => request().prop_map(Step::Ask),
        1 => prop::collection::vec(request(), 1..4).prop_map(Step::Batch),
        5 => (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(which, well)| Step::Back(which, well)),
    ]
}

fn execution(number: u8) -> ExecutionId {
    ExecutionId::from(Uuid::from_u128(
        0x4000_8000_0000_0000_0000 + u128::from(number),
    ))
}

/// What the machine asked for and has not got.
enum Open {
    Job(Job),
    Call(Token, Call),
}

/// A view's state, as its requests decide it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wish {
    View,
    None,
}

struct Model {
    machine: Machine,
    open: Vec<Open>,
    /// Requests by their id, in order: what one asks of which view.
    asked: Vec<Option<(ExecutionId, Wish)>>,
    answers: HashMap<u64, bool>,
    /// Notifications of executes: told, refused or accepted.
    told: usize,
    settled: usize,
    views: HashMap<ExecutionId, u64>,
    used: HashSet<u64>,
}

impl Model {
    fn message(&mut self, request: &Request) -> Value {
        let id = self.asked.len() as u64;
        let about = |number: u8| json!({"executionId": execution(number)});
        let maybe = |number: Option<u8>| number.map_or_else(|| json!({}), about);
        let (name, params, wish) = match *request {
            Request::Execute(n) | Request::Tell(n) => {
                let params = json!({"prompt": "x", "executionId": execution(n)});
                ("execute", params, Some((execution(n), Wish::View)))
            }
            Request::Attach(n) => ("attach", about(n), Some((execution(n), Wish::View))),
            Request::Detach(n) => ("detach", about(n), Some((execution(n), Wish::None))),
            Request::Cancel(n) => {
                let mut params = maybe(n);
                params["type"] = "CANCEL".into();
                ("control", params, None)
            }
            Request::Status(n) => ("status", maybe(n), None),
            Request::Input(n) => {
                let params = json!({"executionId": execution(n), "offset": 0, "data": "{}\n"});
                ("input", params, None)
            }
            Request::List => ("list", json!({}), None),
            Request::Ping => ("ping", json!({}), None),
            Request::Nonsense => ("nonsense", json!({}), None),
        };
        if matches!(request, Request::Tell(_)) {
            self.told += 1;
            return json!({"jsonrpc": "2.0", "method": name, "params": params});
        }
        self.asked.push(wish);
        json!({"jsonrpc": "2.0", "id": id, "method": name, "params": params})
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let actions = match step {
            Step::Ask(request) => {
                let text = self.message(request).to_string();
                self.machine.on_text(&text, None)
            }
            Step::Batch(requests) => {
                let batch: Vec<_> = requests.iter().map(|r| self.message(r)).collect();
                let text = Value::from(batch).to_string();
                self.machine.on_text(&text, None)
            }
            Step::Back(which, well) => {
                if self.open.is_empty() {
                    return Ok(());
                }
                self.back(which.index(self.open.len()), *well)
            }
        };
        self.take(actions)
    }

    /// The executor answers executes in order; calls come back as they like.
    fn back(&mut self, which: usize, well: bool) -> Vec<Action> {
        let job = |open: &Open| matches!(open, Open::Job(_));
        let which = if job(&self.open[which]) {
            self.open.iter().position(job).unwrap()
        } else {
            which
        };
        let error = || RpcError::new(-32005, "x", "x").with("accepted", "unknown");
        match self.open.remove(which) {
            Open::Job(Job { token, execute, .. }) => {
                let result = if well {
                    Ok(running(execute.id))
                } else {
                    Err(error())
                };
                self.machine.on_executed(token, result)
            }
            Open::Call(token, call) => {
                let (result, ended) = if well {
                    outcome(call)
                } else {
                    (Err(error()), vec![])
                };
                self.machine.on_called(token, result, &ended)
            }
        }
    }

    fn take(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        let mut granted = Vec::new();
        for action in actions {
            match action {
                Action::Send(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    for one in message.as_array().unwrap_or(&vec![message.clone()]) {
                        granted.extend(self.answered(one)?);
                    }
                }
                Action::Execute(job) => self.open.push(Open::Job(job)),
                Action::Call(token, call) => self.open.push(Open::Call(token, call)),
                Action::StopRetrying(_) => {}
                Action::View(number, start) => {
                    let id = start.status.execution_id;
                    prop_assert!(self.used.insert(number), "view {} twice", number);
                    prop_assert_eq!(self.views.insert(id, number), None, "a second view");
                    // That of a notification has no answer to stand behind.
                    if !granted.contains(&id) {
                        self.settled += 1;
                    }
                }
                Action::Unview(number) => {
                    let before = self.views.len();
                    self.views.retain(|_, view| *view != number);
                    prop_assert_eq!(self.views.len() + 1, before, "no view {}", number);
                }
            }
        }
        Ok(())
    }

    /// The execution that an answer is about.
    fn answered(&mut self, message: &Value) -> Result<Option<ExecutionId>, TestCaseError> {
        let Some(id) = message["id"].as_u64() else {
            prop_assert_eq!(&message["params"]["reason"], "rejected", "{}", message);
            self.settled += 1;
            return Ok(None);
        };
        prop_assert!(id < self.asked.len() as u64, "{}", message);
        let well = message.get("result").is_some();
        prop_assert_ne!(well, message.get("error").is_some());
        prop_assert_eq!(
            self.answers.insert(id, well),
            None,
            "answered twice: {}",
            message
        );
        Ok(message["result"]["executionId"]
            .as_str()
            .map(|id| id.parse().unwrap()))
    }

    /// All is answered: what must hold then.
    fn finish(mut self, tells: bool) -> Result<(), TestCaseError> {
        while !self.open.is_empty() {
            let actions = self.back(0, true);
            self.take(actions)?;
        }
        prop_assert_eq!(self.answers.len(), self.asked.len(), "not all are answered");
        prop_assert_eq!(self.machine.open_calls(), 0);
        if tells {
            return Ok(());
        }
        let mut wishes: HashMap<ExecutionId, Wish> = HashMap::new();
        for (number, asked) in self.asked.iter().enumerate() {
            if let Some((id, wish)) = *asked
                && self.answers[&(number as u64)]
            {
                wishes.insert(id, wish);
            }
        }
        for (id, wish) in wishes {
            prop_assert_eq!(self.views.contains_key(&id), wish == Wish::View, "{}", id);
        }
        Ok(())
    }
}

fn running(id: ExecutionId) -> Status {
    status(id, State::Running, (id.uuid().as_u128() & 0xff) as i64)
}

/// What a call gives where all goes well; none of those that were to be looked through lives.
fn outcome(call: Call) -> (Result<Outcome, RpcError>, Vec<ExecutionId>) {
    let status = |id| Outcome::Status(Box::new(running(id)));
    let outcome = match call {
        Call::Status(Target::One(id)) | Call::Control(_, Target::One(id)) => status(id),
        Call::List(..) => Outcome::Page(Box::new(protocol::Page {
            executions: Vec::new(),
            next: None,
        })),
        Call::Attach(attach) => Outcome::Attach(Box::new(running(attach.execution_id)), attach),
        Call::Input(_, data, offset, _) => Outcome::Input(offset + data.len() as u64),
        Call::Status(Target::FirstLive(ref ids)) | Call::Control(_, Target::FirstLive(ref ids)) => {
            let ended = ids.clone();
            return (Ok(Outcome::NothingLive(call)), ended);
        }
        Call::Detach(id) => panic!("a detach of {id} asks nobody"),
    };
    (Ok(outcome), Vec::new())
}

proptest! {
    #[test]
    fn every_request_is_answered_once_and_views_follow_the_order(steps in prop::collection::vec(step(), 0..60)) {
        let mut model = Model {
            machine: machine(),
            open: Vec::new(),
            asked: Vec::new(),
            answers: HashMap::new(),
            told: 0,
            settled: 0,
            views: HashMap::new(),
            used: HashSet::new(),
        };
        for step in &steps {
            model.step(step)?;
        }
        let tells = model.told > 0;
        model.finish(tells)?;
    }
}
