//! Tests of [`Client`]: the events of a run across disconnects, and requests.

use std::time::Duration;

use client::{
    AttachParams, Client, Control, Error, Event, ExecuteParams, Options, OutputCheck, OutputError,
    Run,
};
use protocol::question::Decision;
use protocol::rpc::{RpcError, code};
use protocol::{Answer, ExecutionId, State};

use crate::fake::{Fake, Fault, Plan, unused_address};

const TEXT: &str =
    "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all.";

fn hasty() -> Options {
    Options {
        first_delay: Duration::from_millis(5),
        max_delay: Duration::from_millis(20),
        give_up: Duration::from_secs(5),
        ping: Duration::from_millis(100),
        ..Options::default()
    }
}

/// The events of a run, in sum.
struct Summary {
    text: String,
    answers: usize,
    disconnects: usize,
    gaps: Vec<std::ops::Range<u64>>,
    end: Result<(State, OutputCheck), Error>,
}

/// Reads a run to its end.
async fn read(run: &mut Run) -> Summary {
    let mut summary = Summary {
        text: String::new(),
        answers: 0,
        disconnects: 0,
        gaps: Vec::new(),
        end: Err(Error::Closed),
    };
    loop {
        match run.next().await {
            Ok(Some(Event::Output { offset, bytes })) => {
                let missing: u64 = summary.gaps.iter().map(|g| g.end - g.start).sum();
                assert_eq!(offset, summary.text.len() as u64 + missing);
                summary.text += std::str::from_utf8(&bytes).unwrap();
            }
            Ok(Some(Event::Answer(_))) => summary.answers += 1,
            Ok(Some(Event::Disconnected { .. })) => summary.disconnects += 1,
            Ok(Some(Event::Gap(gap))) => summary.gaps.push(gap),
            Ok(Some(Event::Terminal { update, verdict })) => {
                summary.end = Ok((update.status.state, verdict));
                assert!(run.next().await.unwrap().is_none());
                return summary;
            }
            Ok(Some(_)) => {}
            Ok(None) => return summary,
            Err(error) => {
                summary.end = Err(error);
                return summary;
            }
        }
    }
}

/// Executes a prompt against a fake bridge with this plan.
async fn execute(plan: Plan) -> (Fake, Summary) {
    let fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let summary = tokio::time::timeout(Duration::from_secs(20), read(&mut run))
        .await
        .unwrap();
    drop(run);
    client.close().await;
    (fake, summary)
}

#[tokio::test]
async fn a_run_yields_one_answer_the_whole_output_and_one_terminal_status() {
    let (fake, summary) = execute(Plan::of(TEXT)).await;
    assert_eq!(summary.text, TEXT);
    assert_eq!(summary.answers, 1);
    assert_eq!(summary.end, Ok((State::Completed, OutputCheck::Verified)));
    assert_eq!(fake.params("detach").len(), 0);
}

#[tokio::test]
async fn the_output_is_complete_after_disconnects_of_every_kind() {
    let faults = [
        Fault::Cut(0),
        Fault::Close(7, 1012),
        Fault::Refuse,
        Fault::Silent(14),
        Fault::Cut(7),
        Fault::Close(1, 1001),
        Fault::None,
    ];
    let (fake, summary) = execute(Plan::of(TEXT).faults(&faults)).await;
    assert_eq!(summary.text, TEXT);
    assert_eq!(summary.answers, 1, "a run yields its answer once");
    assert!(summary.disconnects >= 6, "{}", summary.disconnects);
    assert_eq!(summary.end, Ok((State::Completed, OutputCheck::Verified)));
    assert_eq!(
        fake.params("execute").len(),
        1,
        "an accepted execution is attached, not executed again"
    );
    let offsets: Vec<_> = fake
        .params("attach")
        .iter()
        .map(|p| p["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, [0, 7, 21, 28, 35]);
}

#[tokio::test]
async fn an_execute_without_an_answer_is_repeated_unchanged() {
    let faults = [Fault::CutBeforeAnswer, Fault::CutBeforeAnswer, Fault::None];
    let (fake, summary) = execute(Plan::of(TEXT).faults(&faults)).await;
    assert_eq!(summary.end, Ok((State::Completed, OutputCheck::Verified)));
    let executes = fake.params("execute");
    assert_eq!(executes.len(), 3);
    assert!(executes.iter().all(|p| p == &executes[0]));
}

#[tokio::test]
async fn a_hole_and_a_wrong_byte_are_errors() {
    let (_, summary) = execute(Plan::of(TEXT).faults(&[Fault::Hole])).await;
    assert_eq!(
        summary.end,
        Err(Error::Output(OutputError::Hole {
            expected: 7,
            got: 14
        }))
    );
    let (_, summary) = execute(Plan::of(TEXT).faults(&[Fault::Wrong])).await;
    assert!(
        matches!(summary.end, Err(Error::Output(OutputError::Crc { .. }))),
        "{:?}",
        summary.end
    );
}

#[tokio::test]
async fn bytes_freed_while_disconnected_are_a_gap() {
    let mut plan = Plan::of(TEXT).faults(&[Fault::Cut(14), Fault::None]);
    plan.kept_from = 30;
    let (_, summary) = execute(plan).await;
    assert_eq!((summary.gaps.len(), summary.gaps[0].clone()), (1, 14..30));
    assert_eq!(summary.text, format!("{}{}", &TEXT[..14], &TEXT[30..]));
    assert_eq!(
        summary.end,
        Ok((State::Completed, OutputCheck::Partial { missing: 16 }))
    );
}

#[tokio::test]
async fn a_run_fails_if_the_client_cannot_reconnect_in_time() {
    let fake = Fake::start(Plan::of(TEXT).faults(&[Fault::Cut(7), Fault::Refuse])).await;
    let options = Options {
        give_up: Duration::from_millis(100),
        ..hasty()
    };
    let client = Client::connect(&fake.url(), options).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let summary = read(&mut run).await;
    assert!(
        matches!(summary.end, Err(Error::GaveUp { .. })),
        "{:?}",
        summary.end
    );
    assert_eq!(summary.text, &TEXT[..7]);
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    let mut plan = Plan::of(TEXT);
    plan.refuse = Some(RpcError::new(
        code::QUEUE_FULL,
        "queue_full",
        "the queue is full",
    ));
    let (_, summary) = execute(plan).await;
    assert!(matches!(summary.end, Err(Error::Rpc(e)) if e.code == code::QUEUE_FULL));
    let error = Client::connect(&unused_address().await, hasty())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(matches!(
        Client::connect("ftp://x/ws", hasty()).await,
        Err(Error::Address(_))
    ));
    let fake = Fake::start(Plan::of(TEXT)).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let huge = ExecuteParams::prompt("x".repeat(14 * 1024 * 1024));
    assert!(matches!(client.execute(huge), Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn requests_are_answered_during_a_run_and_across_a_disconnect() {
    let mut plan = Plan::of(TEXT).faults(&[Fault::Cut(7), Fault::None]);
    plan.until_cancel = true;
    let fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let id = run.id();
    let (status, page, pong, cancelled, summary) = tokio::join!(
        client.status(id),
        client.list(5, None),
        client.ping(),
        async {
            // The answer follows the whole output: the fake sends the output without reading.
            client.ping().await?;
            client.control(id, Control::Cancel).await
        },
        read(&mut run),
    );
    assert_eq!(status.unwrap().execution_id, id);
    assert_eq!(page.unwrap().executions.len(), 1);
    pong.unwrap();
    cancelled.unwrap();
    assert_eq!(summary.text, TEXT);
    assert_eq!(summary.end.unwrap().0, State::Cancelled);
}

#[tokio::test]
async fn a_dropped_run_detaches_and_a_second_view_replaces_the_first() {
    let mut plan = Plan::of(TEXT);
    plan.until_cancel = true;
    let mut fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let id = ExecutionId::random();
    let mut first = client.attach(AttachParams::from_start(id));
    assert!(matches!(first.next().await, Ok(Some(Event::Answer(_)))));
    let second = client.attach(AttachParams::from_start(id));
    // The first run has not read that it was replaced. Its drop must not detach the second.
    drop(first);
    let third = client.attach(AttachParams::from_start(ExecutionId::random()));
    let mut other = client.attach(AttachParams::from_start(third.id()));
    drop(std::mem::replace(&mut other, third)); // `other` is now the replaced run
    assert!(matches!(read(&mut other).await.end, Err(Error::Closed)));
    client.ping().await.unwrap();
    let has_id = |params: &serde_json::Value| params["executionId"] == id.to_string();
    assert!(
        !fake.params("detach").iter().any(has_id),
        "the second view was detached"
    );
    drop(second);
    while !has_id(&fake.wait_for("detach").await["params"]) {}
}

/// Options with a long ping interval, so that a busy machine does not look like a lost bridge.
fn calm() -> Options {
    Options {
        ping: Duration::from_secs(10),
        ..hasty()
    }
}

/// A plan whose bridge accepts messages of at most 2000 bytes.
fn small_messages() -> Plan {
    Plan {
        message_bytes: 2000,
        until_cancel: true,
        ..Plan::of(TEXT)
    }
}

#[tokio::test]
async fn an_execute_over_the_limit_of_connected_is_refused_alone_and_not_sent() {
    let plan = Plan {
        limits: serde_json::json!({ "messageBytes": 2000 }),
        ..small_messages()
    };
    let mut fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let id = run.id();
    let large = client.execute(ExecuteParams::prompt("x".repeat(2000)));
    assert!(
        matches!(large, Err(Error::TooLarge { limit: 2000, .. })),
        "{large:?}"
    );
    client.control(id, Control::Cancel).await.unwrap();
    assert_eq!(read(&mut run).await.end.unwrap().0, State::Cancelled);
    fake.wait_for("control").await;
    assert_eq!(fake.params("execute").len(), 1);
}

/// `connected` may have no limits. The bridge then closes with code 1009, and the largest request
/// fails.
#[tokio::test]
async fn a_close_because_of_a_large_request_fails_only_that_request() {
    let mut fake = Fake::start(small_messages()).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let id = run.id();
    assert!(matches!(run.next().await, Ok(Some(Event::Answer(_)))));
    let mut large = client
        .execute(ExecuteParams::prompt("x".repeat(2000)))
        .unwrap();
    let refused = read(&mut large).await.end;
    assert!(matches!(refused, Err(Error::Protocol(_))), "{refused:?}");
    fake.wait_for("attach").await;
    client.control(id, Control::Cancel).await.unwrap();
    assert_eq!(read(&mut run).await.end.unwrap().0, State::Cancelled);
}

#[tokio::test]
async fn an_unread_run_is_detached_and_later_resumes_exactly() {
    let text = "0123456789abcdef".repeat(512 * 1024);
    let plan = Plan {
        chunk: 64 * 1024,
        ..Plan::of(&text)
    };
    let mut fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), calm()).await.unwrap();
    let mut slow = client.execute(ExecuteParams::prompt("p")).unwrap();
    assert!(matches!(slow.next().await, Ok(Some(Event::Answer(_)))));
    // 8 MiB arrive and are not read, and the session still answers.
    tokio::time::timeout(Duration::from_secs(10), client.ping())
        .await
        .expect("the session is read")
        .unwrap();
    let detached = fake.wait_for("detach").await;
    assert_eq!(detached["params"]["executionId"], slow.id().to_string());
    let summary = tokio::time::timeout(Duration::from_secs(20), read(&mut slow))
        .await
        .unwrap();
    assert_eq!(summary.end, Ok((State::Completed, OutputCheck::Verified)));
    assert_eq!(summary.disconnects, 0);
    assert!(summary.text == text, "{} bytes", summary.text.len());
    assert!(!fake.params("attach").is_empty());
}

#[tokio::test]
async fn an_unread_run_that_skips_drops_its_oldest_output_with_a_gap() {
    let text = "0123456789abcdef".repeat(512 * 1024);
    let plan = Plan {
        chunk: 64 * 1024,
        ..Plan::of(&text)
    };
    let fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), calm()).await.unwrap();
    let mut execute = ExecuteParams::prompt("p");
    execute.on_slow = protocol::rpc::OnSlow::Skip;
    let mut slow = client.execute(execute).unwrap();
    assert!(matches!(slow.next().await, Ok(Some(Event::Answer(_)))));
    tokio::time::timeout(Duration::from_secs(10), client.ping())
        .await
        .expect("the session is read")
        .unwrap();
    let summary = read(&mut slow).await;
    let missing: u64 = summary.gaps.iter().map(|gap| gap.end - gap.start).sum();
    assert!(missing > 0 && missing + summary.text.len() as u64 == text.len() as u64);
    assert_eq!(
        summary.end,
        Ok((State::Completed, OutputCheck::Partial { missing }))
    );
    assert_eq!(fake.params("detach").len(), 0);
}

#[tokio::test]
async fn events_are_read_in_parts() {
    let fake = Fake::start(Plan::of(TEXT)).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let id = ExecutionId::random();
    let (mut text, mut offset) = (String::new(), None);
    loop {
        let part = client.events(id, offset, 30).await.unwrap();
        assert_eq!((part.execution_id, part.offset), (id, text.len() as u64));
        text += &part.text;
        assert_eq!(part.next_offset, text.len() as u64);
        offset = Some(part.next_offset);
        if part.ended {
            break;
        }
    }
    assert_eq!(text, TEXT);
    let requests = fake.params("events");
    assert!(requests[0].get("offset").is_none() && requests[1]["offset"] == 30);
    client.close().await;
}

/// Reads a run to its end. Answers its question after so many reconnects, or never for `None`.
/// Returns the events about questions, in order.
async fn questions(plan: Plan, answer_after: Option<usize>) -> (Fake, Vec<String>) {
    let fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let (mut seen, mut question, mut reconnects) = (Vec::new(), None, 0);
    let read = async {
        while let Some(event) = run.next().await.unwrap() {
            match event {
                Event::Question(asked) => {
                    seen.push(asked.title.clone());
                    question = Some(asked.question_id);
                }
                Event::Reconnected => reconnects += 1,
                Event::QuestionClosed { closed, .. } => {
                    let cause = closed.map_or("unseen", |closed| closed.closed_by.as_str());
                    seen.push(cause.to_owned());
                }
                Event::Terminal { .. } => seen.push("terminal".to_owned()),
                _ => {}
            }
            if answer_after == Some(reconnects)
                && let Some(question) = question.take()
            {
                let answered = client.answer(run.id(), question, Answer::allow()).await;
                assert_eq!(answered.unwrap().decision, Decision::Allow);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .unwrap();
    (fake, seen)
}

#[tokio::test]
async fn a_question_is_answered_and_its_end_is_yielded() {
    let (fake, seen) = questions(Plan::asking(TEXT), Some(0)).await;
    assert_eq!(seen, ["rm x", "answer", "terminal"]);
    assert_eq!(fake.params("answer")[0]["decision"], "allow");
}

#[tokio::test]
async fn a_question_is_yielded_once_although_each_connection_announces_it() {
    let cut = Fault::CutAfterQuestion;
    let plan = Plan::asking(TEXT).faults(&[cut, cut, Fault::None]);
    let (_fake, seen) = questions(plan, Some(2)).await;
    assert_eq!(seen, ["rm x", "answer", "terminal"]);
}

#[tokio::test]
async fn an_answer_is_sent_again_after_a_lost_connection() {
    let plan = Plan::asking(TEXT).faults(&[Fault::CutAfterQuestion, Fault::None]);
    let (fake, seen) = questions(plan, Some(0)).await;
    // The run is attached again after the answer, so its bridge announces no end.
    assert_eq!(seen, ["rm x", "unseen", "terminal"]);
    assert_eq!(fake.params("answer").len(), 1);
}

#[tokio::test]
async fn the_end_of_a_question_is_yielded_although_nobody_announced_it() {
    let plan = Plan {
        answered_unseen: true,
        ..Plan::asking(TEXT).faults(&[Fault::CutAfterQuestion, Fault::None])
    };
    let (_fake, seen) = questions(plan, None).await;
    assert_eq!(seen, ["rm x", "unseen", "terminal"]);
}
