use std::collections::BTreeSet;

use proptest::prelude::*;
use protocol::State;
use protocol::question::{Decision, QuestionKind, STATUS_QUESTIONS_MAX};
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// The questions of an execution, as claude-api knows them.
#[derive(Debug, Clone)]
struct Asking {
    id: ExecutionId,
    open: Vec<u128>,
    closed: Vec<u128>,
    has_ended: bool,
}

impl Asking {
    fn new(open: &[u128]) -> Self {
        Self {
            id: ExecutionId::random(),
            open: open.to_vec(),
            closed: Vec::new(),
            has_ended: false,
        }
    }

    fn close(&mut self, number: u128) {
        self.open.retain(|open| *open != number);
        self.closed.push(number);
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.closed.append(&mut self.open);
    }

    fn status(&self) -> Status {
        let mut status = Status::queued(self.id, NOW, "w".into());
        status.state = if self.has_ended {
            State::Completed
        } else {
            State::Running
        };
        let listed = self.open.iter().take(STATUS_QUESTIONS_MAX);
        status.questions = listed.map(|number| question(*number, 0).open()).collect();
        status.questions_open = self.open.len() as u64;
        status
    }

    /// Returns the list, with inputs of so many bytes.
    fn list(&self, bytes: usize) -> QuestionList {
        QuestionList {
            open: self.open.iter().map(|n| question(*n, bytes)).collect(),
            closed: self.closed.iter().map(|n| closed(*n)).collect(),
        }
    }
}

fn question(number: u128, bytes: usize) -> Question {
    Question {
        question_id: Uuid::from_u128(number),
        kind: QuestionKind::Permission,
        tool: "Bash".into(),
        display_name: None,
        title: number.to_string(),
        description: None,
        input: Some(json!({ "command": "x".repeat(bytes) })),
        input_bytes: bytes as u64,
        suggestions: Vec::new(),
        agent_id: None,
        asked_at: NOW,
        expires_at: None,
    }
}

fn closed(number: u128) -> ClosedQuestion {
    ClosedQuestion {
        question_id: Uuid::from_u128(number),
        closed_by: ClosedBy::Answer,
        decision: Some(Decision::Allow),
        principal: Some("ann".into()),
        closed_at: NOW,
    }
}

fn fetch(questions: &mut Questions, list: QuestionList) {
    assert!(questions.needs_list());
    questions.begin_fetch();
    assert!(!questions.needs_list());
    questions.on_list(list, NOW);
}

/// Takes all messages. Returns each as the number of its question, with the cause of an end.
fn taken(questions: &mut Questions) -> Vec<String> {
    std::iter::from_fn(|| questions.take())
        .map(|text| {
            let message: Value = serde_json::from_str(&text).unwrap();
            let params = &message["params"];
            let of = |object: &Value| {
                let id: Uuid = object["questionId"].as_str().unwrap().parse().unwrap();
                id.as_u128()
            };
            match message["method"].as_str().unwrap() {
                "question" => of(&params["question"]).to_string(),
                _ => format!("{} {}", of(params), params["closedBy"].as_str().unwrap()),
            }
        })
        .collect()
}

#[test]
fn a_view_announces_open_questions_once_and_then_their_ends() {
    let mut asking = Asking::new(&[1]);
    let mut questions = Questions::new(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["1"]);
    // The same status again, as after a reconnect to claude-api, needs no list.
    questions.on_status(&asking.status());
    assert!(!questions.needs_list());
    asking.open.push(2);
    questions.on_status(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["2"]);
    asking.close(1);
    questions.on_status(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["1 answer"]);
    assert!(!questions.are_settled());
    asking.end();
    questions.on_status(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert!(questions.are_settled());
    assert_eq!(taken(&mut questions), ["2 answer"]);
}

#[test]
fn a_view_without_open_questions_needs_no_list() {
    let mut asking = Asking::new(&[]);
    asking.closed.push(1);
    let mut questions = Questions::new(&asking.status());
    assert!(!questions.needs_list());
    asking.end();
    questions.on_status(&asking.status());
    assert!(!questions.needs_list() && questions.are_settled());
    assert!(!Questions::new(&asking.status()).needs_list());
}

#[test]
fn a_question_waits_for_the_status_that_shows_it() {
    let mut asking = Asking::new(&[1]);
    let mut questions = Questions::new(&asking.status());
    asking.open.push(2);
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["1"]);
    questions.on_status(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["2"]);
}

#[test]
fn a_status_during_a_fetch_causes_one_more() {
    let mut asking = Asking::new(&[1]);
    let mut questions = Questions::new(&asking.status());
    questions.begin_fetch();
    let before = asking.list(0);
    for number in 2..5 {
        asking.open.push(number);
        questions.on_status(&asking.status());
        assert!(!questions.needs_list(), "two fetches at a time");
    }
    questions.on_list(before, NOW);
    fetch(&mut questions, asking.list(0));
    assert!(!questions.needs_list());
    assert_eq!(taken(&mut questions), ["1", "2", "3", "4"]);
}

#[test]
fn a_slow_client_gets_only_questions_that_are_still_open() {
    let mut asking = Asking::new(&[1, 2]);
    let mut questions = Questions::new(&asking.status());
    fetch(&mut questions, asking.list(0));
    // The status alone shows that 1 is closed.
    asking.close(1);
    questions.on_status(&asking.status());
    assert_eq!(taken(&mut questions), ["2"]);
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), Vec::<String>::new());
    asking.open.push(3);
    questions.on_status(&asking.status());
    fetch(&mut questions, asking.list(0));
    asking.end();
    questions.on_status(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["2 answer"]);
}

#[test]
fn unsent_questions_are_bounded_and_the_others_are_fetched_later() {
    let asking = Asking::new(&(1..=32).collect::<Vec<_>>());
    let mut questions = Questions::new(&asking.status());
    let mut seen = Vec::new();
    let mut lists = 0;
    while questions.needs_list() {
        fetch(&mut questions, asking.list(16 * 1024));
        lists += 1;
        assert!(questions.held_bytes() <= UNSENT_BYTES + 1024);
        assert!(
            !questions.needs_list(),
            "fetched before the others are sent"
        );
        seen.append(&mut taken(&mut questions));
    }
    let expected: Vec<_> = (1..=32).map(|n: u128| n.to_string()).collect();
    assert_eq!(seen, expected);
    assert!(lists > 8, "{lists}");
    assert_eq!(questions.held_bytes(), 0);
}

#[test]
fn a_question_larger_than_the_bound_is_sent() {
    let asking = Asking::new(&[1, 2]);
    let mut questions = Questions::new(&asking.status());
    for number in ["1", "2"] {
        fetch(&mut questions, asking.list(2 * UNSENT_BYTES));
        assert_eq!(taken(&mut questions), [number]);
    }
    assert!(!questions.needs_list());
}

#[test]
fn a_list_from_before_the_end_is_not_the_last_one() {
    let mut asking = Asking::new(&[1]);
    let mut questions = Questions::new(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["1"]);
    asking.open.push(2);
    questions.on_status(&asking.status());
    questions.begin_fetch();
    let before = asking.list(0);
    asking.end();
    questions.on_status(&asking.status());
    questions.on_list(before, NOW);
    assert!(!questions.are_settled() && !questions.have_message());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["1 answer"]);
    assert!(questions.are_settled());
}

#[test]
fn without_a_list_announced_questions_count_as_closed_by_the_end() {
    let mut asking = Asking::new(&[1]);
    let mut questions = Questions::new(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["1"]);
    asking.open.push(2);
    questions.on_status(&asking.status());
    questions.begin_fetch();
    questions.on_gone(NOW);
    assert_eq!(taken(&mut questions), ["1 end"]);
    questions.on_list(asking.list(0), NOW);
    assert!(questions.are_settled() && !questions.needs_list());
    assert_eq!(taken(&mut questions), Vec::<String>::new());
}

#[test]
fn the_end_of_a_question_that_no_list_has_is_not_made_up_before_the_end() {
    let asking = Asking::new(&[1]);
    let mut questions = Questions::new(&asking.status());
    fetch(&mut questions, asking.list(0));
    assert_eq!(taken(&mut questions), ["1"]);
    let none = Asking {
        open: Vec::new(),
        ..asking.clone()
    };
    questions.on_status(&none.status());
    assert_eq!(questions.begin_fetch(), [Uuid::from_u128(1)]);
    questions.on_list(none.list(0), NOW);
    assert_eq!(taken(&mut questions), Vec::<String>::new());
    let mut end = none;
    end.end();
    questions.on_status(&end.status());
    fetch(&mut questions, end.list(0));
    assert_eq!(taken(&mut questions), ["1 end"]);
}

#[derive(Debug, Clone)]
enum Step {
    Ask,
    /// Closes the open question of this index.
    Close(prop::sample::Index),
    /// The follow stream sends the present status.
    Status,
    /// claude-api makes the list that is being fetched.
    List,
    /// The list arrives.
    Receive,
    /// The client reads one message.
    Take,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Ask),
        3 => any::<prop::sample::Index>().prop_map(Step::Close),
        4 => Just(Step::Status),
        4 => Just(Step::List),
        4 => Just(Step::Receive),
        4 => Just(Step::Take),
        1 => Just(Step::End),
    ]
}

/// A view of an asking execution, and its client.
struct Model {
    asking: Asking,
    asked: u128,
    questions: Questions,
    /// A fetched list that claude-api has made, or not yet.
    fetching: Option<Option<QuestionList>>,
    announced: BTreeSet<String>,
    closed: BTreeSet<String>,
}

impl Model {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Ask if self.asking.open.len() < 32 && !self.asking.has_ended => {
                self.asked += 1;
                self.asking.open.push(self.asked);
            }
            Step::Close(index) if !self.asking.open.is_empty() => {
                let number = *index.get(&self.asking.open);
                self.asking.close(number);
            }
            Step::Status => self.questions.on_status(&self.asking.status()),
            Step::List => {
                if let Some(list) = &mut self.fetching {
                    *list = Some(self.asking.list(8 * 1024));
                }
            }
            Step::Receive => {
                if let Some(Some(list)) = self.fetching.take_if(|list| list.is_some()) {
                    self.questions.on_list(list, NOW);
                }
            }
            Step::Take => self.take()?,
            Step::End => self.asking.end(),
            Step::Ask | Step::Close(_) => {}
        }
        if self.questions.needs_list() {
            prop_assert!(self.fetching.is_none(), "two fetches at a time");
            self.questions.begin_fetch();
            self.fetching = Some(None);
        }
        prop_assert!(self.questions.held_bytes() <= UNSENT_BYTES + 16 * 1024);
        Ok(())
    }

    fn take(&mut self) -> Result<(), TestCaseError> {
        let Some(text) = self.questions.take() else {
            prop_assert!(!self.questions.have_message());
            return Ok(());
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        let params = &message["params"];
        let id = |object: &Value| object["questionId"].as_str().unwrap().to_owned();
        if message["method"] == "question" {
            prop_assert!(self.announced.insert(id(&params["question"])), "twice");
        } else {
            prop_assert!(self.announced.contains(&id(params)), "not announced");
            prop_assert!(self.closed.insert(id(params)), "closed twice");
        }
        Ok(())
    }

    /// Lets everything arrive.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..200 {
            for step in [Step::Status, Step::List, Step::Receive, Step::Take] {
                self.step(&step)?;
            }
        }
        while self.questions.have_message() {
            self.take()?;
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_open_question_is_announced_once_and_closed_once(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let asking = Asking::new(&[]);
        let mut model = Model {
            questions: Questions::new(&asking.status()),
            asking,
            asked: 0,
            fetching: None,
            announced: BTreeSet::new(),
            closed: BTreeSet::new(),
        };
        for step in &steps {
            model.step(step)?;
        }
        model.settle()?;
        if !model.asking.has_ended {
            for number in &model.asking.open {
                let id = Uuid::from_u128(*number).to_string();
                prop_assert!(model.announced.contains(&id), "{} is open", number);
                prop_assert!(!model.closed.contains(&id));
            }
        }
        model.asking.end();
        model.settle()?;
        prop_assert!(model.questions.are_settled());
        prop_assert_eq!(&model.announced, &model.closed);
    }
}
