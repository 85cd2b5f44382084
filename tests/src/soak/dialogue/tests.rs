use serde_json::json;

use super::*;

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn says(line: &str) -> Vec<Outcome> {
    vec![Outcome::Says(line.to_owned())]
}

/// One turn with two questions, then one without.
fn dialogue() -> Dialogue {
    Dialogue {
        parts: vec![
            text("before"),
            Part::Ask(0),
            text("between"),
            Part::Ask(1),
            Part::NextTurn,
            text("after"),
        ],
        ..Dialogue::default()
    }
}

#[test]
fn a_text_fits_if_it_has_one_possible_outcome_of_each_question() {
    let whole = "before\n\nallowed x\nbetween\n\ndenied Nobody answered in time, so\n\n\nafter";
    let outcomes = [
        [says("denied y"), says("allowed x")].concat(),
        vec![Outcome::TIMEOUT],
    ];
    let fit = |text: &str| dialogue().fit(text.as_bytes(), true, &outcomes);
    for end in 0..whole.len() {
        let fit = fit(&whole[..end]);
        assert!(
            fit.is_prefix && !fit.is_complete && !fit.is_cut_short,
            "{end}: {fit:?}"
        );
    }
    assert!(fit(whole).is_complete);
    for other in [
        whole.replace("allowed x", "allowed z"),
        whole.replace("allowed x\n", "allowed x\nallowed x\n"),
        whole.replace("allowed x\n", ""),
        format!("{whole}after"),
    ] {
        assert_eq!(fit(&other), Fit::default(), "{other}");
    }
    let deltas = whole.replace("\n\n", "");
    assert!(
        dialogue()
            .fit(deltas.as_bytes(), false, &outcomes)
            .is_complete
    );
}

#[test]
fn nothing_follows_an_open_question() {
    let outcomes = [says("allowed x"), Vec::new()];
    let fit = |text: &str| dialogue().fit(text.as_bytes(), true, &outcomes);
    assert!(fit("before\n\nallowed x\nbetween").is_prefix);
    assert!(!fit("before\n\nallowed x\nbetween\n\nafter").is_prefix);
}

#[test]
fn an_ended_turn_continues_with_the_next_one_or_cuts_the_dialogue() {
    let outcomes = [vec![Outcome::EndsTurn], says("never")];
    let mut dialogue = dialogue();
    let fit = dialogue.fit(b"before\n\nafter", true, &outcomes);
    assert!(fit.is_complete && !fit.is_cut_short, "{fit:?}");
    dialogue.parts.truncate(4);
    let fit = dialogue.fit(b"before", true, &outcomes);
    assert!(fit.is_cut_short && !fit.is_complete, "{fit:?}");
}

#[test]
fn an_answer_has_the_outcome_that_the_stand_in_says() {
    let ask = Ask {
        kind: "permission",
        tool: "Bash",
        title: "x".to_owned(),
        input: json!({"command": "x"}),
        patience: Patience::Endless,
        is_late: false,
    };
    let outcome = |answer| ask.outcome(&answer);
    assert_eq!(
        outcome(json!({"decision": "allow", "updatedInput": {"command": "y"}})),
        Outcome::Says(r#"allowed {"command":"y"}"#.to_owned())
    );
    assert_eq!(
        outcome(json!({"decision": "deny", "message": "no"})),
        Outcome::Says("denied no".to_owned())
    );
    assert_eq!(
        outcome(json!({"decision": "deny", "interrupt": true})),
        Outcome::EndsTurn
    );
}
