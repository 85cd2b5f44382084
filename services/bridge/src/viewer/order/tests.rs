use super::*;
use proptest::prelude::*;
use protocol::ExecutionId;

fn status(state: State) -> Status {
    let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
    status.state = state;
    status
}

fn order(state: State) -> Order {
    Order::new(status(state), None, None, 64 * 1024)
}

fn with(order: &Order, change: impl FnOnce(&mut Status)) -> Status {
    let mut status = order.newest_status().clone();
    change(&mut status);
    status
}

/// Takes all messages. Returns the word of each status, the code of each notice, and the `method`
/// of any other message.
fn words(order: &mut Order) -> Vec<String> {
    let next = || order.next(Timestamp::UNIX_EPOCH);
    std::iter::from_fn(next).map(|m| word(&m)).collect()
}

fn word(message: &str) -> String {
    let message: Value = serde_json::from_str(message).unwrap();
    let params = &message["params"];
    let name = [&params["status"], &params["code"], &message["method"]]
        .into_iter()
        .find_map(Value::as_str);
    name.unwrap().to_owned()
}

#[test]
fn the_terminal_status_follows_the_last_byte_and_is_the_last_message() {
    let mut order = order(State::Running);
    order.on_bytes(&Bytes::from_static(b"ab"));
    let end = with(&order, |s| {
        s.state = State::Completed;
        s.output_bytes = 4;
        s.crc32 = Some(crc32_text(crc32fast::hash(b"abcd")));
    });
    order.on_status(end.clone());
    assert_eq!(words(&mut order), ["RUNNING", "output"]);
    assert!(!order.has_message() && order.has_more_upstream());
    order.on_bytes(&Bytes::from_static(b"cd"));
    order.on_status(end);
    assert_eq!(words(&mut order), ["output", "COMPLETED"]);
    assert!(order.is_done() && !order.has_message());
    order.on_gone(Timestamp::UNIX_EPOCH);
    order.on_unreachable();
    assert_eq!(words(&mut order), Vec::<String>::new());
}

#[test]
fn a_view_of_an_ended_execution_has_only_the_terminal_status() {
    assert_eq!(words(&mut order(State::Cancelled)), ["CANCELLED"]);
}

#[test]
fn the_first_running_after_a_pause_is_resumed() {
    let mut order = order(State::Running);
    for state in [State::Paused, State::Running, State::Running] {
        let next = with(&order, |s| s.state = state);
        order.on_status(next);
    }
    assert_eq!(words(&mut order), ["RUNNING", "PAUSED", "RESUMED"]);
    let next = with(&order, |_| ());
    order.on_status(next);
    assert_eq!(words(&mut order), ["RUNNING"]);
}

#[test]
fn unsent_heartbeats_replace_each_other() {
    let mut order = order(State::Running);
    for _ in 0..1000 {
        let next = with(&order, |s| s.output_bytes += 1);
        order.on_status(next);
    }
    assert_eq!(words(&mut order), ["RUNNING"]);
}

#[test]
fn the_first_status_of_a_connection_is_sent_only_if_it_is_new() {
    let mut order = order(State::Running);
    let same = with(&order, |s| s.output_bytes = 5);
    order.on_first_status(same);
    assert_eq!(words(&mut order), ["RUNNING"]);
    assert_eq!(order.newest_status().output_bytes, 5);
    let paused = with(&order, |s| s.state = State::Paused);
    order.on_first_status(paused);
    assert_eq!(words(&mut order), ["PAUSED"]);
}

#[test]
fn an_outage_is_reported_once_and_then_in_each_heartbeat() {
    let mut order = order(State::Running);
    assert_eq!(words(&mut order), ["RUNNING"]);
    order.on_unreachable();
    order.on_unreachable();
    let first = order.next(Timestamp::UNIX_EPOCH).unwrap();
    assert!(first.contains(r#""upstream":"unreachable""#));
    assert_eq!(words(&mut order), ["upstream_unreachable"]);
    order.on_heartbeat();
    assert_eq!(words(&mut order), ["RUNNING"]);
    let next = with(&order, |_| ());
    order.on_status(next);
    assert!(
        !order
            .next(Timestamp::UNIX_EPOCH)
            .unwrap()
            .contains("unreachable")
    );
    // No status was sent for a heartbeat, although nothing failed. The last one is repeated.
    order.on_heartbeat();
    let again = order.next(Timestamp::UNIX_EPOCH).unwrap();
    assert!(again.contains("RUNNING") && !again.contains("unreachable"));
}

#[test]
fn an_outage_between_the_end_and_the_last_bytes_is_reported() {
    let mut order = order(State::Running);
    let end = with(&order, |s| {
        s.state = State::Completed;
        s.output_bytes = 2;
    });
    order.on_status(end);
    assert_eq!(words(&mut order), ["RUNNING"]);
    order.on_heartbeat();
    assert!(!order.has_message(), "claude-api can be reached");
    order.on_unreachable();
    let heartbeat = order.next(Timestamp::UNIX_EPOCH).unwrap();
    assert!(heartbeat.contains(r#""upstream":"unreachable""#) && heartbeat.contains("RUNNING"));
    assert_eq!(words(&mut order), ["upstream_unreachable"]);
    order.on_heartbeat();
    assert_eq!(words(&mut order), ["RUNNING"]);
    order.on_bytes(&Bytes::from_static(b"ab"));
    order.on_unreachable();
    order.on_heartbeat();
    assert_eq!(words(&mut order), ["output", "COMPLETED"]);
    // An execution that ended before the attach has only the terminal status.
    let mut ended = status(State::Failed);
    ended.output_bytes = 1;
    let mut order = Order::new(ended, None, None, 64 * 1024);
    order.on_unreachable();
    order.on_heartbeat();
    assert_eq!(words(&mut order), ["upstream_unreachable"]);
}

#[test]
fn a_lost_execution_is_interrupted_with_the_received_bytes() {
    let mut order = order(State::Running);
    order.on_bytes(&Bytes::from_static(b"abc"));
    order.on_gone(Timestamp::UNIX_EPOCH);
    let mut last = String::new();
    while let Some(message) = order.next(Timestamp::UNIX_EPOCH) {
        last = message;
    }
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["params"]["status"], "INTERRUPTED");
    assert_eq!(last["params"]["reason"], "lost");
    assert_eq!(last["params"]["outputBytes"], 3);
    assert_eq!(last["params"]["exitCode"], Value::Null);
}

#[test]
fn a_lost_execution_sends_no_later_bytes_and_no_unfinished_character() {
    let mut order = order(State::Running);
    order.on_bytes(&Bytes::from_static(b"a\xc3"));
    order.on_gone(Timestamp::UNIX_EPOCH);
    // The output stream still has some bytes.
    assert!(!order.wants_bytes());
    order.on_bytes(&Bytes::from_static(b"\xa9zz"));
    let next = || order.next(Timestamp::UNIX_EPOCH);
    let messages: Vec<Value> = std::iter::from_fn(next)
        .map(|message| serde_json::from_str(&message).unwrap())
        .collect();
    let [running, output, end] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(running["params"]["status"], "RUNNING");
    assert_eq!(output["params"]["content"], "a");
    assert_eq!(end["params"]["outputBytes"], 1);
    assert_eq!(end["params"]["crc32"], Value::Null);
}

#[test]
fn a_terminal_execution_whose_bytes_are_gone_has_a_gap() {
    let mut end = status(State::Completed);
    end.output_bytes = 10;
    let mut order = Order::new(end, None, None, 64 * 1024);
    assert!(!order.has_message());
    order.on_gone(Timestamp::UNIX_EPOCH);
    assert_eq!(words(&mut order), ["gap", "COMPLETED"]);
}

#[test]
fn freed_bytes_are_a_gap_at_the_start_of_a_view() {
    let mut first = status(State::Running);
    first.kept_from = 7;
    first.output_bytes = 9;
    let mut order = Order::new(first, None, None, 64 * 1024);
    assert_eq!(order.read_from(), 7);
    assert_eq!(words(&mut order), ["RUNNING", "gap"]);
    assert!(order.wants_bytes());
}

#[test]
fn a_wrong_crc_is_reported_before_the_terminal_status() {
    let mut order = order(State::Running);
    order.on_bytes(&Bytes::from_static(b"ab"));
    let end = with(&order, |s| {
        s.state = State::Completed;
        s.output_bytes = 2;
        s.crc32 = Some("00000000".into());
    });
    order.on_status(end);
    assert_eq!(
        words(&mut order),
        ["RUNNING", "output", "output_mismatch", "COMPLETED"]
    );
}

proptest! {
    #[test]
    fn every_view_has_exactly_one_terminal_status_and_it_is_last(
        steps in prop::collection::vec(0u8..9, 0..60),
    ) {
        let mut order = order(State::Queued);
        let mut got: Vec<String> = Vec::new();
        for step in steps {
            match step {
                0..3 if !order.is_terminal() => order.on_bytes(&Bytes::from("é!")),
                3 => { let s = with(&order, |s| s.state = State::Running); order.on_status(s); }
                4 => { let s = with(&order, |s| s.state = State::Paused); order.on_status(s); }
                5 => order.on_unreachable(),
                6 => order.on_heartbeat(),
                7 => got.extend(order.next(Timestamp::UNIX_EPOCH).map(|m| word(&m))),
                8 if got.len() > 10 => order.on_gone(Timestamp::UNIX_EPOCH),
                _ => {}
            }
        }
        let read = order.read_from();
        let end = with(&order, |s| { s.state = State::Failed; s.output_bytes = read; });
        order.on_status(end);
        got.extend(words(&mut order));
        let ends = ["FAILED", "INTERRUPTED"];
        prop_assert_eq!(got.iter().filter(|w| ends.contains(&w.as_str())).count(), 1);
        prop_assert!(ends.contains(&got.last().unwrap().as_str()));
        prop_assert_eq!(&got[0], "QUEUED");
    }
}

#[test]
fn the_elapsed_time_never_decreases() {
    let mut order = order(State::Running);
    let elapsed = |order: &mut Order, second| {
        let now = Timestamp::from_second(second).unwrap();
        let message: Value = serde_json::from_str(&order.next(now).unwrap()).unwrap();
        message["params"]["elapsedMs"].as_u64().unwrap()
    };
    assert_eq!(elapsed(&mut order, 10), 10_000);
    // The execution ended before that heartbeat, and its terminal status arrives later.
    let end = with(&order, |s| {
        s.state = State::Completed;
        s.ended_at = Some(Timestamp::from_second(9).unwrap());
        s.crc32 = Some(crc32_text(crc32fast::hash(b"")));
    });
    order.on_status(end);
    assert_eq!(elapsed(&mut order, 11), 10_000);
}

#[test]
fn a_lost_execution_never_ends_before_its_start() {
    let mut order = order(State::Running);
    let started = Timestamp::from_second(7200).unwrap();
    let running = with(&order, |s| s.started_at = Some(started));
    order.on_status(running);
    order.on_gone(Timestamp::from_second(10).unwrap());
    assert_eq!(order.newest_status().ended_at, Some(started));
}

/// Views whose output ends inside a character must not use up a session's floor, because the
/// unfinished character cannot be sent before more bytes are read.
#[test]
fn an_unfinished_character_is_not_charged_with_read_ahead() {
    let mut order = order(State::Running);
    words(&mut order);
    order.on_bytes(&Bytes::from_static(&"x\u{20ac}".as_bytes()[..3]));
    assert!(order.held_bytes() > 1024, "{}", order.held_bytes());
    assert_eq!(words(&mut order), ["output"]);
    assert!(!order.has_message());
    assert!(order.held_bytes() <= 3, "{}", order.held_bytes());
}

/// Returns an open question, and a list that has it.
fn question() -> QuestionList {
    let question = serde_json::from_value(json!({
        "questionId": "018f4e2a-7b3c-7def-8123-456789abcdef", "kind": "permission", "tool": "Bash",
        "displayName": null, "title": "ls", "description": null, "input": {"command": "ls"},
        "inputBytes": 16, "suggestions": [], "agentId": null, "askedAt": "2026-01-02T03:04:05Z",
        "expiresAt": null,
    }));
    QuestionList {
        open: vec![question.unwrap()],
        closed: Vec::new(),
    }
}

/// Returns a view that has announced a question.
fn asking() -> Order {
    let mut first = status(State::Running);
    first.questions = vec![question().open[0].open()];
    first.questions_open = 1;
    let mut order = Order::new(first, None, None, 64 * 1024);
    assert!(order.questions().needs_list());
    order.questions().begin_fetch();
    order.on_questions(question(), Timestamp::UNIX_EPOCH);
    assert!(order.held_bytes() > 1024);
    assert_eq!(words(&mut order), ["RUNNING", "question"]);
    order
}

fn completed(order: &Order) -> Status {
    with(order, |s| {
        s.state = State::Completed;
        s.questions.clear();
        s.questions_open = 0;
    })
}

#[test]
fn the_terminal_status_waits_for_the_ends_of_announced_questions() {
    let mut order = asking();
    let end = completed(&order);
    order.on_status(end);
    assert!(!order.has_message());
    assert_eq!(words(&mut order), Vec::<String>::new());
    assert!(order.questions().needs_list());
    order.questions().begin_fetch();
    // The client still gets heartbeats while claude-api cannot be reached.
    order.on_unreachable();
    assert_eq!(words(&mut order), ["RUNNING", "upstream_unreachable"]);
    order.on_heartbeat();
    assert_eq!(words(&mut order), ["RUNNING"]);
    order.on_questions(QuestionList::default(), Timestamp::UNIX_EPOCH);
    order.on_heartbeat();
    assert_eq!(words(&mut order), ["questionClosed", "COMPLETED"]);
    assert!(order.is_done());
}

#[test]
fn a_lost_execution_closes_its_questions() {
    let mut order = asking();
    order.on_gone(Timestamp::UNIX_EPOCH);
    assert_eq!(words(&mut order), ["questionClosed", "INTERRUPTED"]);
}
