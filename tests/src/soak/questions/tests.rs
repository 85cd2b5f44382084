use serde_json::json;

use super::*;
use crate::soak::dialogue::Ask;

const ID: &str = "11111111-1111-4111-8111-111111111111";

fn dialogue() -> Dialogue {
    let ask = Ask {
        kind: "permission",
        tool: "Bash",
        title: "0 x".to_owned(),
        input: json!({"command": "0 x"}),
        patience: Patience::Endless,
        is_late: false,
    };
    Dialogue {
        asks: vec![ask],
        ..Dialogue::default()
    }
}

fn shown(id: &str) -> Value {
    json!({"questionId": id, "kind": "permission", "tool": "Bash", "title": "0 x",
        "expiresAt": "2030-01-01T00:00:00Z"})
}

fn open() -> Questions {
    let mut questions = Questions::default();
    questions
        .shown(&dialogue(), &shown(ID))
        .expect("a question");
    questions
}

fn sent(answer: &Value) -> Sent {
    Sent {
        question: ID.to_owned(),
        answer: answer.clone(),
        is_valid: true,
    }
}

fn replied(questions: &mut Questions, answer: &Value, reply: Reply<'_>) -> Result<(), String> {
    let sent = sent(answer);
    questions.offer(&sent);
    questions.replied(&sent, reply, Some("ann"), false)
}

fn result(decision: &str) -> Value {
    json!({"questionId": ID, "decision": decision, "principal": "ann"})
}

#[test]
fn one_answer_is_confirmed_and_the_others_learn_it() {
    let (allow, deny) = (json!({"decision": "allow"}), json!({"decision": "deny"}));
    let lost = json!({"closedBy": "answer", "decision": "allow", "principal": "ann"});
    let mut questions = open();
    let confirmed = result("allow");
    replied(&mut questions, &allow, Reply::Confirmed(&confirmed)).expect("the first");
    replied(&mut questions, &allow, Reply::Confirmed(&confirmed)).expect("the same");
    replied(&mut questions, &deny, Reply::Closed(&lost)).expect("another");
    assert_eq!((questions.repeats, questions.refused_late), (1, 1));
    assert_eq!(questions.all_closed(), Ok(()));
    let outcomes = questions.outcomes(&dialogue());
    let says = Outcome::Says(r#"allowed {"command":"0 x"}"#.to_owned());
    assert_eq!(outcomes, [[says]]);

    let denied = result("deny");
    assert!(replied(&mut questions, &deny, Reply::Confirmed(&denied)).is_err());
    assert!(replied(&mut questions, &allow, Reply::Closed(&lost)).is_err());
    let other = json!({"questionId": ID, "closedBy": "timeout", "decision": "deny"});
    assert!(questions.closed(&other).is_err());
}

#[test]
fn a_question_is_asked_once_and_closed_by_an_answer_that_was_given() {
    let mut questions = open();
    let other = shown("22222222-2222-4222-8222-222222222222");
    assert!(questions.shown(&dialogue(), &other).is_err());
    let mut unknown = shown(ID);
    unknown["title"] = "1 x".into();
    assert!(questions.shown(&dialogue(), &unknown).is_err());
    assert!(questions.all_closed().is_err());
    let closed = json!({"questionId": ID, "closedBy": "answer", "decision": "allow"});
    assert!(questions.closed(&closed).is_err());
}

#[test]
fn a_closed_question_is_open_in_no_later_list() {
    let mut questions = open();
    let earlier = Instant::now();
    let end = json!({"questionId": ID, "closedBy": "end", "decision": null});
    questions.closed(&end).expect("an end");
    assert_eq!(questions.open(&ID.into(), earlier, true), Ok(()));
    let later = Instant::now() + Duration::from_millis(1);
    assert!(questions.open(&ID.into(), later, true).is_err());
    assert!(questions.outcomes(&dialogue())[0].is_empty());
}

#[test]
fn a_question_that_was_open_for_long_must_be_announced() {
    let mut questions = open();
    let now = Instant::now();
    let limit = Duration::from_secs(5);
    let late = now + limit + Duration::from_secs(1);
    assert!(questions.unannounced(now, limit, |_| false).is_none());
    questions.open(&ID.into(), late, false).expect("open");
    assert!(questions.unannounced(now, limit, |_| false).is_some());
    assert!(questions.unannounced(now, limit, |_| true).is_none());
    assert!(questions.unannounced(late, limit, |_| false).is_none());
}
