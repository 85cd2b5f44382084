//! Any requests with any answers in any order, against a simple model: every request is answered
//! exactly once, an execution has at most one view, a view begins directly behind its answer, and
//! the last request about a view that was granted decides whether there is one. An execute that is
//! a notification is told of when it is refused, and has a view like any other when it is not.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use steps::{Request, Step, step};

mod steps;

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

struct Asked {
    /// What it asks of which view.
    wish: Option<(ExecutionId, Wish)>,
    /// Nobody answers it.
    told: bool,
}

struct Model {
    machine: Machine,
    open: Vec<Open>,
    /// By their number, in order. It is a request's id, and an execute's prompt.
    asked: Vec<Asked>,
    /// Whether it was granted; of a notification this is what came of its job.
    answers: HashMap<u64, bool>,
    /// Accepted notifications whose view may begin, without an answer.
    unanswered: Vec<ExecutionId>,
    /// Notifications that were refused, and how many of them were told of.
    refused: usize,
    rejections: usize,
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
                let params = json!({"prompt": id.to_string(), "executionId": execution(n)});
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
            Request::Events(n) => ("events", about(n), None),
            Request::List => ("list", json!({}), None),
            Request::Ping => ("ping", json!({}), None),
            Request::Nonsense => ("nonsense", json!({}), None),
        };
        let told = matches!(request, Request::Tell(_));
        self.asked.push(Asked { wish, told });
        if told {
            return json!({"jsonrpc": "2.0", "method": name, "params": params});
        }
        json!({"jsonrpc": "2.0", "id": id, "method": name, "params": params})
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let first = self.asked.len() as u64;
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
        // A notification that was not handed over is refused.
        let handed_over: HashSet<u64> = actions.iter().filter_map(number).collect();
        for new in first..self.asked.len() as u64 {
            if self.asked[new as usize].told && !handed_over.contains(&new) {
                self.answers.insert(new, false);
                self.refused += 1;
            }
        }
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
            Open::Job(Job { token, execute }) => {
                let number = prompt(&execute.body);
                if self.asked[number as usize].told {
                    self.answers.insert(number, well);
                    if well {
                        self.unanswered.push(execute.id);
                    } else {
                        self.refused += 1;
                    }
                }
                let result = if well {
                    Ok(running(execute.id))
                } else {
                    Err(error())
                };
                self.machine.on_executed(token, result)
            }
            Open::Call(token, call) => {
                let (result, ended) = if well {
                    reply_to(call)
                } else {
                    (Err(error()), vec![])
                };
                self.machine.on_called(token, result, &ended)
            }
        }
    }

    fn take(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        let mut granted = Vec::new();
        // The view that begins next: only in a batch can a later request have had its say before
        // the answer.
        let mut due = None;
        for action in actions {
            if !matches!(action, Action::View(..) | Action::Unview(_)) {
                prop_assert_eq!(due, None, "no view begins behind its answer");
            }
            match action {
                Action::Send(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    match message.as_array() {
                        Some(answers) => {
                            for one in answers {
                                granted.extend(self.answered(one)?);
                            }
                        }
                        None => {
                            due = self.answered(&message)?;
                            granted.extend(due);
                        }
                    }
                }
                Action::Execute(token, execute) => {
                    self.open.push(Open::Job(Job { token, execute }))
                }
                Action::Call(token, call) => self.open.push(Open::Call(token, call)),
                Action::StopRetrying(_) => {}
                Action::View(number, start) => {
                    let id = start.status.execution_id;
                    prop_assert!(self.used.insert(number), "view {} twice", number);
                    prop_assert_eq!(self.views.insert(id, number), None, "a second view");
                    prop_assert!(due.take().is_none_or(|due| due == id), "another view");
                    // That of a notification has no answer to stand behind.
                    let from = if granted.contains(&id) {
                        &mut granted
                    } else {
                        &mut self.unanswered
                    };
                    let place = from.iter().position(|from| *from == id);
                    prop_assert!(place.is_some(), "nobody asked for a view of {}", id);
                    from.swap_remove(place.unwrap());
                }
                Action::Unview(number) => {
                    let before = self.views.len();
                    self.views.retain(|_, view| *view != number);
                    prop_assert_eq!(self.views.len() + 1, before, "no view {}", number);
                }
            }
        }
        prop_assert_eq!(due, None, "no view begins behind its answer");
        Ok(())
    }

    /// The execution whose view an answer grants.
    fn answered(&mut self, message: &Value) -> Result<Option<ExecutionId>, TestCaseError> {
        let Some(id) = message["id"].as_u64() else {
            prop_assert_eq!(&message["params"]["reason"], "rejected", "{}", message);
            self.rejections += 1;
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
        let wish = self.asked[id as usize].wish;
        Ok(wish
            .filter(|(_, wish)| well && *wish == Wish::View)
            .map(|(id, _)| id))
    }

    /// All is answered: what must hold then.
    fn finish(mut self) -> Result<(), TestCaseError> {
        while !self.open.is_empty() {
            let actions = self.back(0, true);
            self.take(actions)?;
        }
        prop_assert_eq!(self.answers.len(), self.asked.len(), "not all are answered");
        prop_assert_eq!(self.machine.open_calls(), 0);
        prop_assert_eq!(self.rejections, self.refused, "refused without a word");
        let mut wishes: HashMap<ExecutionId, Wish> = HashMap::new();
        for (number, asked) in self.asked.iter().enumerate() {
            if let Some((id, wish)) = asked.wish
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

/// The number of the execute that is handed over.
fn number(action: &Action) -> Option<u64> {
    match action {
        Action::Execute(_, execute) => Some(prompt(&execute.body)),
        _ => None,
    }
}

fn prompt(body: &[u8]) -> u64 {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["prompt"].as_str().unwrap().parse().unwrap()
}

fn running(id: ExecutionId) -> Status {
    status(id, State::Running, (id.uuid().as_u128() & 0xff) as i64)
}

/// What a call gives where all goes well; none of those that were to be looked through lives.
fn reply_to(call: Call) -> (Result<CallReply, RpcError>, Vec<ExecutionId>) {
    let status = |id| CallReply::Status(Box::new(running(id)));
    let reply = match call {
        Call::Status(Target::One(id)) | Call::Control(_, Target::One(id)) => status(id),
        Call::List(..) => CallReply::Page(Box::new(ListPage {
            executions: Vec::new(),
            next: None,
            ..ListPage::default()
        })),
        Call::Events(events) => CallReply::Events(Box::new(EventsPart {
            id: events.execution_id,
            offset: 0,
            bytes: "{}\n".into(),
            is_all: true,
            ended: true,
        })),
        Call::Attach(attach) => CallReply::Attach(Box::new(running(attach.execution_id)), attach),
        Call::Input(_, data, offset, _) => CallReply::Input(offset + data.len() as u64),
        Call::Status(Target::FirstLive(ref ids)) | Call::Control(_, Target::FirstLive(ref ids)) => {
            let ended = ids.clone();
            return (Ok(CallReply::NothingLive(call)), ended);
        }
        Call::Detach(id) => panic!("a detach of {id} asks nobody"),
    };
    (Ok(reply), Vec::new())
}

proptest! {
    #[test]
    fn every_request_is_answered_once_and_views_follow_the_order(steps in prop::collection::vec(step(), 0..60)) {
        let mut model = Model {
            machine: machine(),
            open: Vec::new(),
            asked: Vec::new(),
            answers: HashMap::new(),
            unanswered: Vec::new(),
            refused: 0,
            rejections: 0,
            views: HashMap::new(),
            used: HashSet::new(),
        };
        for step in &steps {
            model.step(step)?;
        }
        model.finish()?;
    }
}
