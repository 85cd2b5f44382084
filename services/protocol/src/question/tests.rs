use serde_json::json;

use super::*;
use crate::message::{AnswerParams, ServerMessage};

fn question() -> Question {
    Question {
        question_id: Uuid::from_u128(7),
        kind: QuestionKind::Permission,
        tool: "Bash".into(),
        display_name: None,
        title: "\u{e9}".repeat(150),
        description: None,
        input: Some(json!({"command": "ls"})),
        input_bytes: 16,
        suggestions: vec!["Bash(ls)".into()],
        agent_id: None,
        asked_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }
}

#[test]
fn a_title_in_the_status_is_cut_between_characters() {
    assert_eq!(question().open().title, "\u{e9}".repeat(100));
    assert_eq!(cut("a\u{e9}", 2), "a");
    assert_eq!(cut("a\u{e9}", 3), "a\u{e9}");
}

#[test]
fn a_large_input_is_left_out_of_messages() {
    assert!(question().shortened().input.is_some());
    let mut large = question();
    large.input_bytes = MESSAGE_INPUT_BYTES_MAX as u64 + 1;
    assert_eq!(large.shortened().input, None);
}

#[test]
fn an_answer_has_only_what_was_given_and_refuses_unknown_members() {
    let json = serde_json::to_value(Answer::deny()).unwrap();
    assert_eq!(json, json!({"decision": "deny"}));
    let nulls = r#"{"decision":"allow","message":null,"remember":null,"interrupt":null}"#;
    assert_eq!(
        serde_json::from_str::<Answer>(nulls).unwrap(),
        Answer::allow()
    );
    assert!(serde_json::from_str::<Answer>(r#"{"decision":"allow","x":1}"#).is_err());
    assert!(serde_json::from_str::<Answer>(r#"{"decision":"maybe"}"#).is_err());
}

#[test]
fn parameters_of_an_answer_have_its_members_beside_the_ids() {
    let answer = Answer {
        message: Some("no".into()),
        interrupt: true,
        ..Answer::deny()
    };
    let params = AnswerParams::new(ExecutionId::random(), Uuid::from_u128(7), answer.clone());
    let json = serde_json::to_value(&params).unwrap();
    assert_eq!(json["message"], "no");
    assert_eq!(json["decision"], "deny");
    let read: AnswerParams = serde_json::from_value(json).unwrap();
    assert_eq!(read.answer(), answer);
}

#[test]
fn notifications_of_questions_are_read_as_they_were_written() {
    let asked = ServerMessage::Question(Box::new(QuestionAsked {
        execution_id: ExecutionId::random(),
        question: question(),
    }));
    let closed = ServerMessage::QuestionClosed(Box::new(QuestionClosed {
        execution_id: ExecutionId::random(),
        closed: ClosedQuestion {
            question_id: Uuid::from_u128(7),
            closed_by: ClosedBy::Answer,
            decision: Some(Decision::Allow),
            principal: Some("ann".into()),
            closed_at: Timestamp::UNIX_EPOCH,
        },
    }));
    for message in [asked, closed] {
        assert_eq!(
            ServerMessage::from_json(&message.to_json()).unwrap(),
            message
        );
    }
}
