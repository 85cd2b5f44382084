//! The library: what a run yields through losses.

use std::time::Duration;

use client::{
    AttachParams, Client, Control, Error, Event, ExecuteParams, Options, OutputError, Run, Verdict,
};
use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, State};

use crate::fake::{Fake, Fault, Plan, nobody};

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

struct Seen {
    text: String,
    answers: usize,
    lost: usize,
    gaps: Vec<std::ops::Range<u64>>,
    end: Result<(State, Verdict), Error>,
}

async fn read(run: &mut Run) -> Seen {
    let mut seen = Seen {
        text: String::new(),
        answers: 0,
        lost: 0,
        gaps: Vec::new(),
        end: Err(Error::Closed),
    };
    loop {
        match run.next().await {
            Ok(Some(Event::Output { offset, bytes })) => {
                let gone: u64 = seen.gaps.iter().map(|g| g.end - g.start).sum();
                assert_eq!(offset, seen.text.len() as u64 + gone);
                seen.text += std::str::from_utf8(&bytes).unwrap();
            }
            Ok(Some(Event::Answer(_))) => seen.answers += 1,
            Ok(Some(Event::Lost { .. })) => seen.lost += 1,
            Ok(Some(Event::Gap(gap))) => seen.gaps.push(gap),
            Ok(Some(Event::Terminal { update, verdict })) => {
                seen.end = Ok((update.status.state, verdict));
                assert!(run.next().await.unwrap().is_none());
                return seen;
            }
            Ok(Some(_)) => {}
            Ok(None) => return seen,
            Err(error) => {
                seen.end = Err(error);
                return seen;
            }
        }
    }
}

async fn execute(plan: Plan) -> (Fake, Seen) {
    let fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(20), read(&mut run))
        .await
        .unwrap();
    drop(run);
    client.close().await;
    (fake, seen)
}

#[tokio::test]
async fn a_run_is_its_output_and_one_end() {
    let (fake, seen) = execute(Plan::of(TEXT)).await;
    assert_eq!(seen.text, TEXT);
    assert_eq!(seen.answers, 1);
    assert_eq!(seen.end, Ok((State::Completed, Verdict::Verified)));
    assert_eq!(fake.params("detach").len(), 0);
}

#[tokio::test]
async fn cuts_of_every_kind_join_exactly() {
    let faults = [
        Fault::Cut(0),
        Fault::Close(7, 1012),
        Fault::Refuse,
        Fault::Silent(14),
        Fault::Cut(7),
        Fault::Close(1, 1001),
        Fault::None,
    ];
    let (fake, seen) = execute(Plan::of(TEXT).faults(&faults)).await;
    assert_eq!(seen.text, TEXT);
    assert_eq!(seen.answers, 1, "the answer comes once");
    assert!(seen.lost >= 6, "{}", seen.lost);
    assert_eq!(seen.end, Ok((State::Completed, Verdict::Verified)));
    assert_eq!(
        fake.params("execute").len(),
        1,
        "accepted once, then only attached"
    );
    let offsets: Vec<_> = fake
        .params("attach")
        .iter()
        .map(|p| p["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, [0, 7, 21, 28, 35]);
}

#[tokio::test]
async fn an_execute_cut_before_its_answer_is_repeated_with_the_same_id() {
    let faults = [Fault::CutBeforeAnswer, Fault::CutBeforeAnswer, Fault::None];
    let (fake, seen) = execute(Plan::of(TEXT).faults(&faults)).await;
    assert_eq!(seen.end, Ok((State::Completed, Verdict::Verified)));
    let asked = fake.params("execute");
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|p| p == &asked[0]));
}

#[tokio::test]
async fn a_hole_and_a_wrong_byte_are_errors() {
    let (_, seen) = execute(Plan::of(TEXT).faults(&[Fault::Hole])).await;
    assert_eq!(
        seen.end,
        Err(Error::Output(OutputError::Hole {
            expected: 7,
            got: 14
        }))
    );
    let (_, seen) = execute(Plan::of(TEXT).faults(&[Fault::Wrong])).await;
    assert!(
        matches!(seen.end, Err(Error::Output(OutputError::Crc { .. }))),
        "{:?}",
        seen.end
    );
}

#[tokio::test]
async fn bytes_freed_while_away_are_a_gap() {
    let mut plan = Plan::of(TEXT).faults(&[Fault::Cut(14), Fault::None]);
    plan.kept_from = 30;
    let (_, seen) = execute(plan).await;
    assert_eq!((seen.gaps.len(), seen.gaps[0].clone()), (1, 14..30));
    assert_eq!(seen.text, format!("{}{}", &TEXT[..14], &TEXT[30..]));
    assert_eq!(
        seen.end,
        Ok((State::Completed, Verdict::Partial { missing: 16 }))
    );
}

#[tokio::test]
async fn a_bridge_that_stays_away_is_given_up() {
    let fake = Fake::start(Plan::of(TEXT).faults(&[Fault::Cut(7), Fault::Refuse])).await;
    let options = Options {
        give_up: Duration::from_millis(100),
        ..hasty()
    };
    let client = Client::connect(&fake.url(), options).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let seen = read(&mut run).await;
    assert!(
        matches!(seen.end, Err(Error::GaveUp { .. })),
        "{:?}",
        seen.end
    );
    assert_eq!(seen.text, &TEXT[..7]);
}

#[tokio::test]
async fn refusals_come_with_their_code() {
    let mut plan = Plan::of(TEXT);
    plan.refuse = Some(RpcError::new(
        code::QUEUE_FULL,
        "queue_full",
        "the queue is full",
    ));
    let (_, seen) = execute(plan).await;
    assert!(matches!(seen.end, Err(Error::Rpc(e)) if e.code == code::QUEUE_FULL));
    let error = Client::connect(&nobody().await, hasty()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(matches!(
        Client::connect("wss://x/ws", hasty()).await,
        Err(Error::Address(_))
    ));
    let fake = Fake::start(Plan::of(TEXT)).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let huge = ExecuteParams::prompt("x".repeat(14 * 1024 * 1024));
    assert!(matches!(client.execute(huge), Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn calls_are_answered_also_beside_a_run_and_across_a_loss() {
    let mut plan = Plan::of(TEXT).faults(&[Fault::Cut(7), Fault::None]);
    plan.until_cancel = true;
    let fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), hasty()).await.unwrap();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let id = run.id();
    let (status, page, pong, cancelled, seen) = tokio::join!(
        client.status(id),
        client.list(5, None),
        client.ping(),
        async {
            // Only once all output came: the fake sends output in one go.
            client.ping().await?;
            client.control(id, Control::Cancel).await
        },
        read(&mut run),
    );
    assert_eq!(status.unwrap().execution_id, id);
    assert_eq!(page.unwrap().executions.len(), 1);
    pong.unwrap();
    cancelled.unwrap();
    assert_eq!(seen.text, TEXT);
    assert_eq!(seen.end.unwrap().0, State::Cancelled);
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
    // Dropped without having read that it was replaced, which must not detach the second.
    drop(first);
    let third = client.attach(AttachParams::from_start(ExecutionId::random()));
    let mut other = client.attach(AttachParams::from_start(third.id()));
    drop(std::mem::replace(&mut other, third)); // the replacing view goes, the replaced one is told
    assert!(matches!(read(&mut other).await.end, Err(Error::Closed)));
    client.ping().await.unwrap();
    let is_it = |params: &serde_json::Value| params["executionId"] == id.to_string();
    assert!(
        !fake.params("detach").iter().any(is_it),
        "the second view is still there"
    );
    drop(second);
    while !is_it(&fake.wait_for("detach").await["params"]) {}
}

/// Options with a long ping interval, so that a busy machine is not taken for a dead bridge.
fn calm() -> Options {
    Options {
        ping: Duration::from_secs(10),
        ..hasty()
    }
}

/// A plan whose bridge takes messages of at most 2000 bytes.
fn small_messages() -> Plan {
    Plan {
        message_bytes: 2000,
        until_cancel: true,
        ..Plan::of(TEXT)
    }
}

/// OUTER A11. The greeted limit is checked before anything is sent.
#[tokio::test]
async fn an_execute_over_the_greeted_limit_is_refused_alone_and_not_sent() {
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

/// OUTER A11. The bridge may not know its limits when it greets: then its close of code 1009 names
/// the request.
#[tokio::test]
async fn a_close_for_one_large_request_refuses_that_one_and_no_other() {
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

/// OUTER A12. A run that nobody reads detaches; its session lives, and other runs continue.
#[tokio::test]
async fn a_run_that_is_not_read_holds_up_no_other_and_continues_exactly() {
    let text = "0123456789abcdef".repeat(512 * 1024);
    let plan = Plan {
        chunk: 64 * 1024,
        ..Plan::of(&text)
    };
    let mut fake = Fake::start(plan).await;
    let client = Client::connect(&fake.url(), calm()).await.unwrap();
    let mut slow = client.execute(ExecuteParams::prompt("p")).unwrap();
    assert!(matches!(slow.next().await, Ok(Some(Event::Answer(_)))));
    // 8 MiB arrive, nobody reads them, and the session still answers.
    tokio::time::timeout(Duration::from_secs(10), client.ping())
        .await
        .expect("the session is read")
        .unwrap();
    let detached = fake.wait_for("detach").await;
    assert_eq!(detached["params"]["executionId"], slow.id().to_string());
    let seen = tokio::time::timeout(Duration::from_secs(20), read(&mut slow))
        .await
        .unwrap();
    assert_eq!(seen.end, Ok((State::Completed, Verdict::Verified)));
    assert_eq!(seen.lost, 0);
    assert!(seen.text == text, "{} bytes", seen.text.len());
    assert!(!fake.params("attach").is_empty());
}

/// OUTER A12. With `onSlow: "skip"` the oldest output goes, announced as a gap.
#[tokio::test]
async fn a_skipping_run_that_is_not_read_loses_the_oldest_output_and_says_so() {
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
    let seen = read(&mut slow).await;
    let missing: u64 = seen.gaps.iter().map(|gap| gap.end - gap.start).sum();
    assert!(missing > 0 && missing + seen.text.len() as u64 == text.len() as u64);
    assert_eq!(
        seen.end,
        Ok((State::Completed, Verdict::Partial { missing }))
    );
    assert_eq!(fake.params("detach").len(), 0);
}

#[tokio::test]
async fn events_are_asked_for_part_by_part() {
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
    let asked = fake.params("events");
    assert!(asked[0].get("offset").is_none() && asked[1]["offset"] == 30);
    client.close().await;
}
