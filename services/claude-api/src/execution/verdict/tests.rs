//! The truth table of exit, result and cause: each cell is one state.

use super::*;

fn outcome(is_error: bool, status: Option<u16>, text: &str) -> Outcome {
    Outcome {
        is_error,
        api_error_status: status,
        text: Some(text.to_owned()),
        ..Outcome::default()
    }
}

fn judge(
    ended_by: EndedBy,
    code: Option<i32>,
    signal: Option<i32>,
    outcome: Option<&Outcome>,
) -> Verdict {
    verdict(&Facts {
        ended_by,
        exit: &Exit::reaped(code, signal),
        outcome,
        answered: false,
        budget_spent: false,
        stderr: "line\nlast words\n\n",
    })
}

#[test]
fn each_pair_of_exit_and_result_has_one_state_and_reason() {
    let good = outcome(false, None, "done");
    let bad = outcome(true, Some(500), "API Error");
    let exits = [
        (Some(0), None),
        (Some(7), None),
        (None, Some(9)),
        (None, None),
    ];
    let results = [Some(&good), Some(&bad), None];
    let expected = [
        [
            (State::Completed, None),
            (State::Failed, Some(Reason::CliError)),
            (State::Failed, Some(Reason::NoResult)),
        ],
        [
            (State::Failed, Some(Reason::NonzeroExit)),
            (State::Failed, Some(Reason::CliError)),
            (State::Failed, Some(Reason::NonzeroExit)),
        ],
        [(State::Failed, Some(Reason::KilledBySignal)); 3],
        [
            (State::Failed, Some(Reason::NonzeroExit)),
            (State::Failed, Some(Reason::CliError)),
            (State::Failed, Some(Reason::NoResult)),
        ],
    ];
    for ((code, signal), row) in exits.into_iter().zip(expected) {
        for (result, (state, reason)) in results.into_iter().zip(row) {
            let got = judge(EndedBy::Itself, code, signal, result);
            assert_eq!(
                (got.state, got.reason),
                (state, reason),
                "{code:?} {signal:?} {result:?}"
            );
            assert_eq!(got.exit_code, code, "an unknown exit code is null");
            assert_eq!(got.error.is_some(), state == State::Failed);
        }
    }
}

#[test]
fn the_more_specific_reason_wins() {
    let failed = |status, kind: &str, terminal: &str| Outcome {
        error_kind: Some(kind.to_owned()),
        terminal_reason: Some(terminal.to_owned()),
        ..outcome(true, status, "x")
    };
    for (outcome, code, signal, reason) in [
        (
            failed(Some(401), "authentication_failed", "api_error"),
            Some(1),
            None,
            Reason::AuthFailed,
        ),
        (
            failed(Some(403), "authentication_failed", "api_error"),
            Some(1),
            None,
            Reason::AuthFailed,
        ),
        (
            failed(None, "authentication_failed", "api_error"),
            Some(1),
            None,
            Reason::AuthFailed,
        ),
        (
            failed(Some(429), "rate_limit", "api_error"),
            Some(1),
            None,
            Reason::UsageLimit,
        ),
        (
            failed(Some(400), "invalid_request", "prompt_too_long"),
            Some(1),
            None,
            Reason::PromptTooLong,
        ),
        (
            failed(None, "invalid_request", "blocking_limit"),
            Some(1),
            None,
            Reason::PromptTooLong,
        ),
        (
            failed(Some(413), "invalid_request", "image_error"),
            Some(1),
            None,
            Reason::PromptTooLong,
        ),
        (
            failed(Some(400), "billing_error", "api_error"),
            Some(1),
            None,
            Reason::CliError,
        ),
        (
            failed(Some(401), "authentication_failed", "api_error"),
            None,
            Some(9),
            Reason::AuthFailed,
        ),
        (
            failed(Some(500), "server_error", "api_error"),
            None,
            Some(9),
            Reason::KilledBySignal,
        ),
    ] {
        let got = judge(EndedBy::Itself, code, signal, Some(&outcome));
        assert_eq!(
            (got.state, got.reason),
            (State::Failed, Some(reason)),
            "{outcome:?}"
        );
    }
}

#[test]
fn an_answer_that_reads_like_an_error_is_no_failure() {
    let got = judge(
        EndedBy::Itself,
        Some(0),
        None,
        Some(&outcome(false, None, "Prompt is too long")),
    );
    assert_eq!(got.state, State::Completed);
}

#[test]
fn each_cause_has_its_state_and_reason() {
    let good = outcome(false, None, "done");
    for (ended_by, state, reason, code) in [
        (EndedBy::Cancel, State::Cancelled, None, Some(143)),
        (
            EndedBy::Idle,
            State::TimedOut,
            Some(Reason::IdleTimeout),
            Some(143),
        ),
        (
            EndedBy::Deadline,
            State::TimedOut,
            Some(Reason::Deadline),
            Some(143),
        ),
        (
            EndedBy::Stop,
            State::Interrupted,
            Some(Reason::ServiceStopped),
            None,
        ),
        (
            EndedBy::RunnerDeath,
            State::Interrupted,
            Some(Reason::RunnerDied),
            None,
        ),
        (
            EndedBy::Linger,
            State::Completed,
            Some(Reason::Lingered),
            None,
        ),
    ] {
        let got = judge(ended_by, Some(143), None, Some(&good));
        assert_eq!(
            (got.state, got.reason, got.exit_code),
            (state, reason, code)
        );
    }
    let bad = outcome(true, None, "x");
    let got = judge(EndedBy::Linger, None, Some(15), Some(&bad));
    assert_eq!(
        (got.state, got.reason, got.exit_code),
        (State::Failed, Some(Reason::CliError), None)
    );
}

#[test]
fn a_stop_after_the_whole_answer_is_lingered() {
    let (good, bad) = (outcome(false, None, "done"), outcome(true, Some(500), "x"));
    let interrupted = (State::Interrupted, Some(Reason::ServiceStopped));
    let lingered = (State::Completed, Some(Reason::Lingered));
    for (ended_by, outcome, answered, expected) in [
        (EndedBy::Stop, Some(&good), true, lingered),
        // stdin is open, or another turn has begun.
        (EndedBy::Stop, Some(&good), false, interrupted),
        (EndedBy::Stop, Some(&bad), true, interrupted),
        (EndedBy::Stop, None, false, interrupted),
        (EndedBy::Cancel, Some(&good), true, (State::Cancelled, None)),
    ] {
        let got = verdict(&Facts {
            ended_by,
            exit: &Exit::Signal(15),
            outcome,
            answered,
            budget_spent: false,
            stderr: "",
        });
        assert_eq!((got.state, got.reason), expected, "{ended_by:?} {answered}");
        assert_eq!(got.exit_code, None);
    }
}

/// Found by the soak with seed 904417. The module's documentation explains the decision.
#[test]
fn a_stop_between_the_result_and_the_exit_is_lingered_and_a_reaped_exit_code_counts() {
    let good = outcome(false, None, "done");
    for (ended_by, code, signal, state, reason, shown) in [
        // TERM was sent first: the exit code that was due is unknown.
        (
            EndedBy::Stop,
            None,
            Some(15),
            State::Completed,
            Some(Reason::Lingered),
            None,
        ),
        (
            EndedBy::Stop,
            Some(143),
            None,
            State::Completed,
            Some(Reason::Lingered),
            None,
        ),
        // The CLI was reaped before TERM: `Phase` makes that `Itself`.
        (
            EndedBy::Itself,
            Some(3),
            None,
            State::Failed,
            Some(Reason::NonzeroExit),
            Some(3),
        ),
        (
            EndedBy::Itself,
            Some(0),
            None,
            State::Completed,
            None,
            Some(0),
        ),
    ] {
        let got = verdict(&Facts {
            ended_by,
            exit: &Exit::reaped(code, signal),
            outcome: Some(&good),
            answered: true,
            budget_spent: false,
            stderr: "",
        });
        let got = (got.state, got.reason, got.exit_code);
        assert_eq!(
            got,
            (state, reason, shown),
            "{ended_by:?} {code:?} {signal:?}"
        );
    }
}

#[test]
fn an_error_names_the_failed_spawn_or_the_last_line_of_stderr() {
    let got = verdict(&Facts {
        ended_by: EndedBy::Itself,
        exit: &Exit::NotStarted("No such file".to_owned()),
        outcome: None,
        answered: false,
        budget_spent: false,
        stderr: "",
    });
    assert_eq!(
        (got.state, got.reason),
        (State::Failed, Some(Reason::SpawnFailed))
    );
    assert!(got.error.unwrap().message.contains("No such file"));
    let got = judge(EndedBy::Itself, Some(3), None, None);
    assert!(got.error.unwrap().message.ends_with("code 3: last words"));
}

#[test]
fn each_limit_that_the_client_set_has_its_own_reason() {
    let limit = |subtype: &str, terminal: Option<&str>| Outcome {
        subtype: subtype.to_owned(),
        terminal_reason: terminal.map(str::to_owned),
        text: None,
        ..outcome(true, None, "")
    };
    for (outcome, reason) in [
        (limit("error_max_turns", None), "max_turns"),
        (limit("", Some("max_turns")), "max_turns"),
        (limit("error_max_budget_usd", None), "max_budget"),
        (limit("", Some("budget_exhausted")), "max_budget"),
        (limit("error_during_execution", None), "cli_error"),
    ] {
        let got = judge(EndedBy::Itself, Some(1), None, Some(&outcome));
        let reason_text = serde_json::to_value(got.reason).expect("a reason");
        assert_eq!(reason_text, reason, "{outcome:?}");
    }
}

#[test]
fn a_failure_names_the_subtype_and_its_message_is_never_empty() {
    let silent = |subtype: &str, text: Option<&str>| Outcome {
        subtype: subtype.to_owned(),
        text: text.map(str::to_owned),
        errors: vec![String::new()],
        ..outcome(true, None, "")
    };
    for text in [None, Some(""), Some(" \n"), Some("words")] {
        let result = silent("error_during_execution", text);
        let got = judge(EndedBy::Itself, Some(0), None, Some(&result));
        let message = got.error.expect("an error").message;
        assert!(message.contains("error_during_execution"), "{message}");
        assert!(message.contains(text.unwrap_or_default().trim()));
    }
    for (outcome, stderr) in [(None, ""), (Some(silent("", Some(" "))), ""), (None, "x")] {
        for code in [None, Some(0), Some(3)] {
            let message = verdict(&Facts {
                ended_by: EndedBy::Itself,
                exit: &Exit::reaped(code, None),
                outcome: outcome.as_ref(),
                answered: false,
                budget_spent: false,
                stderr,
            })
            .error
            .expect("an error")
            .message;
            assert!(!message.trim().is_empty(), "{outcome:?} {code:?}");
            assert!(!message.trim_end().ends_with(':'), "{message}");
        }
    }
    let refused = outcome(true, Some(401), "");
    let got = judge(EndedBy::Itself, Some(1), None, Some(&refused));
    let message = got.error.expect("an error").message;
    assert!(!message.contains(": ;"), "{message}");
}

/// The error of a missing credential once read "the credential was refused".
#[test]
fn a_missing_credential_is_not_reported_as_refused() {
    let failure = |status| Outcome {
        error_kind: Some("authentication_failed".to_owned()),
        ..outcome(true, status, "Not logged in")
    };
    for (status, wanted, unwanted) in [
        (None, "there is no credential", "refused"),
        (Some(401), "refused", "there is no"),
    ] {
        let got = judge(EndedBy::Itself, Some(1), None, Some(&failure(status)));
        assert_eq!(got.reason, Some(Reason::AuthFailed));
        let message = got.error.expect("it failed").message;
        assert!(
            message.contains(wanted) && !message.contains(unwanted),
            "{message}"
        );
    }
}

/// The error once named the program, whatever the cause was.
#[test]
fn the_error_of_a_failed_start_names_only_its_cause() {
    let got = verdict(&Facts {
        ended_by: EndedBy::Itself,
        exit: &Exit::NotStarted("workspace \"w\": closed; open it".to_owned()),
        outcome: None,
        answered: false,
        budget_spent: false,
        stderr: "",
    });
    assert_eq!(
        got.error.expect("it failed").message,
        "the CLI could not be started: workspace \"w\": closed; open it"
    );
}

#[test]
fn a_402_is_the_end_of_a_budget_only_if_one_is_used_up() {
    let outcome = Outcome {
        is_error: true,
        api_error_status: Some(402),
        ..Outcome::default()
    };
    for (budget_spent, reason) in [(true, Reason::MaxBudget), (false, Reason::CliError)] {
        let got = verdict(&Facts {
            ended_by: EndedBy::Itself,
            exit: &Exit::Code(1),
            outcome: Some(&outcome),
            answered: false,
            budget_spent,
            stderr: "",
        });
        assert_eq!(got.reason, Some(reason));
    }
}
