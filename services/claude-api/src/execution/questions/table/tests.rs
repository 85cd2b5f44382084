use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn asked(number: u128, expires: Option<Duration>) -> NewQuestion {
    let request = json!({"subtype": "can_use_tool", "tool_name": "Bash",
        "input": {"command": format!("command {number}")}});
    let prompt = Prompt::read(&format!("r{number}"), &request).unwrap();
    let expires_at = expires.map(|expires| at(expires.as_secs() as i64));
    NewQuestion {
        question: prompt.question(Uuid::from_u128(number), &[], at(0), expires_at),
        prompt,
        rememberable: Vec::new(),
        input_is_fixed: false,
        expires,
    }
}

fn table(numbers: &[u128]) -> Table {
    let mut table = Table::default();
    for number in numbers {
        table.ask(asked(*number, Some(60 * SECOND)));
    }
    table
}

fn closed(number: u128, answer: &Answer) -> ClosedQuestion {
    ClosedQuestion {
        question_id: Uuid::from_u128(number),
        closed_by: ClosedBy::Answer,
        decision: Some(answer.decision),
        principal: Some("ann".into()),
        closed_at: at(1),
    }
}

#[test]
fn the_first_answer_closes_a_question_and_a_further_one_learns_how() {
    let mut table = table(&[1, 2]);
    let id = Uuid::from_u128(1);
    let begun = table.begin_answer(id, &Answer::allow()).unwrap();
    assert_eq!(begun.request_id, "r1");
    assert_eq!(
        table.begin_answer(id, &Answer::deny()),
        Err(AnswerRefusal::Answering)
    );
    let first = closed(1, &Answer::allow());
    table.finish_answer(first.clone());
    let refused = table.begin_answer(id, &Answer::deny()).unwrap_err();
    assert_eq!(refused, AnswerRefusal::Closed(first.clone()));
    assert_eq!(table.closed(id), Some(first));
    assert_eq!(table.for_status().1, 1);
}

#[test]
fn an_answer_that_the_disk_refused_leaves_the_question_open() {
    let mut table = table(&[1]);
    let id = Uuid::from_u128(1);
    table.begin_answer(id, &Answer::allow()).unwrap();
    table.abandon_answer(id);
    table.begin_answer(id, &Answer::deny()).unwrap();
}

#[test]
fn nothing_but_its_answer_closes_a_question_that_is_being_answered() {
    let mut table = table(&[1]);
    table
        .begin_answer(Uuid::from_u128(1), &Answer::allow())
        .unwrap();
    assert_eq!(table.withdraw("r1", at(1)), None);
    assert!(table.expire(100 * SECOND, at(100)).is_empty());
    assert_eq!(table.next_expiry(), None);
}

#[test]
fn a_question_expires_on_the_running_clock_and_is_denied() {
    let mut table = table(&[1]);
    table.ask(asked(2, None));
    assert_eq!(table.next_expiry(), Some(60 * SECOND));
    assert!(table.expire(59 * SECOND, at(59)).is_empty());
    let expired = table.expire(60 * SECOND, at(60));
    let [(question, request_id, response)] = expired.as_slice() else {
        panic!("{expired:?}");
    };
    assert_eq!(question.closed_by, ClosedBy::Timeout);
    assert_eq!(request_id, "r1");
    assert_eq!(response["behavior"], "deny");
    assert_eq!(
        table.next_expiry(),
        None,
        "a question without a limit stays"
    );
}

#[test]
fn a_pause_moves_the_shown_timeout() {
    let mut table = table(&[1]);
    table.delay(30 * SECOND);
    assert_eq!(table.list().open[0].expires_at, Some(at(90)));
}

#[test]
fn the_cli_withdraws_a_question_and_the_end_closes_all() {
    let mut table = table(&[1, 2, 3]);
    let withdrawn = table.withdraw("r2", at(5)).unwrap();
    assert_eq!(withdrawn.closed_by, ClosedBy::Withdrawn);
    assert_eq!(table.withdraw("r2", at(6)), None);
    table.end(at(7));
    table.ask(asked(4, None));
    assert!(table.is_full(0).is_some());
    let list = table.list();
    assert!(list.open.is_empty());
    let causes: Vec<_> = list.closed.iter().map(|closed| closed.closed_by).collect();
    assert_eq!(causes, [ClosedBy::Withdrawn, ClosedBy::End, ClosedBy::End]);
    let late = table.begin_answer(Uuid::from_u128(1), &Answer::allow());
    assert!(matches!(late, Err(AnswerRefusal::Closed(_))));
    let unknown = Uuid::from_u128(99);
    assert_eq!(
        table.begin_answer(unknown, &Answer::allow()),
        Err(AnswerRefusal::Unknown(unknown))
    );
}

#[test]
fn open_questions_and_their_inputs_are_bounded() {
    let numbers: Vec<u128> = (0..OPEN_MAX as u128).collect();
    assert!(table(&numbers).is_full(0).unwrap().contains("32 questions"));
    assert_eq!(table(&numbers[1..]).is_full(0), None);
    assert!(table(&[1]).is_full(OPEN_BYTES_MAX).is_some());
    let list = table(&numbers).for_status();
    assert_eq!(
        (list.0.len(), list.1),
        (STATUS_QUESTIONS_MAX, OPEN_MAX as u64)
    );
}

#[test]
fn a_bad_answer_leaves_the_question_open() {
    let mut table = table(&[1]);
    let bad = Answer {
        interrupt: true,
        ..Answer::allow()
    };
    let refused = table.begin_answer(Uuid::from_u128(1), &bad);
    assert!(matches!(refused, Err(AnswerRefusal::Bad(_))));
    assert!(
        table
            .begin_answer(Uuid::from_u128(1), &Answer::allow())
            .is_ok()
    );
}
