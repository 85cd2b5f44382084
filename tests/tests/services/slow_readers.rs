//! Clients that do not read cost little memory, delay no other client, and get all output later.
//! Output arrives as it is written (F9, F13, I6).

use std::{
    collections::HashMap,
    fs,
    time::{Duration, SystemTime},
};

use cc_tests::{
    faults::{FaultProxy, Faults, Pipe},
    harness::{Stack, StackOptions},
    ws,
};
use serde_json::{Value, json};

const EXECUTIONS: usize = 3;
const LAGGARDS: usize = 20;
/// Output of each execution, in millions of bytes: 60 MB in all.
const MEGABYTES: u64 = 20;
/// Deltas of 8 KiB a second; the speed of the CLI is not under test.
const RATE: u64 = 800;
/// Memory that a client that does not read may cost the bridge: a few chunks and messages in
/// transit. Totals depend on the build and the allocator; scripts/bench measures those of a release
/// build.
const LAGGARD_BYTES: u64 = 400 << 10;
/// Receive window of a client that hangs: small, so that unread bytes soon stay with the services.
const WINDOW_BYTES: u32 = 16 * 1024;

async fn client(stack: &Stack, receive_buffer: Option<u32>) -> ws::Client {
    let options = ws::Options {
        keep_output: false,
        receive_buffer,
        patience: Duration::from_secs(120),
        ..ws::Options::default()
    };
    ws::Client::connect_with(stack.ws_addr(), options).await
}

/// Starts clients that read, each with a paused execution.
async fn readers(stack: &Stack) -> Vec<(ws::Client, String)> {
    let mut readers = Vec::new();
    for _ in 0..EXECUTIONS {
        let mut reader = client(stack, None).await;
        let prompt = format!("@rate {RATE}\n@megabytes {MEGABYTES}");
        let id = reader.start(&prompt).await;
        reader.control("PAUSE", Some(&id)).await.expect("a pause");
        reader.wait_status(&id, "PAUSED").await;
        readers.push((reader, id));
    }
    readers
}

/// Resumes the executions and reads them to their ends; returns the terminal statuses by id.
async fn read(mut readers: Vec<(ws::Client, String)>) -> HashMap<String, Value> {
    for (reader, id) in &mut readers {
        reader.control("RESUME", Some(id)).await.expect("a resume");
    }
    let mut ends = HashMap::new();
    for (reader, id) in readers {
        let (_, end) = reader.wait_terminal(&id).await;
        assert_eq!(end["status"], "COMPLETED", "{end}");
        let received = reader.received(&id);
        assert!(received >= MEGABYTES * 1_000_000 && end["outputBytes"] == received);
        ends.insert(id, end);
        reader.finish().await;
    }
    ends
}

#[tokio::test]
async fn f9_clients_that_do_not_read_cost_little_delay_no_reader_and_get_all_later() {
    // On a busy machine this takes longer than two usual pings, after which the bridge closes a
    // client that reads nothing.
    let stack = Stack::with(
        StackOptions::default()
            .bridge("--ping-ms=120000")
            .one_bridge(),
    )
    .await;
    read(readers(&stack).await).await;
    let alone = stack.bridge.peak_bytes();
    // The executions stay paused until the laggards have attached, so that these miss much.
    let readers = readers(&stack).await;
    let mut laggards = Vec::new();
    for number in 0..LAGGARDS {
        let mut laggard = client(&stack, Some(WINDOW_BYTES)).await;
        let id = readers[number % EXECUTIONS].1.clone();
        laggard.attach(&id, None).await.expect("attached");
        laggard.read(false);
        laggards.push((laggard, id));
    }
    let ends = read(readers).await;
    // The readers are done and the laggards have read little: no reader waited for them.
    for (laggard, id) in &laggards {
        let received = laggard.received(id);
        assert!(received < MEGABYTES * 500_000, "{received} bytes were read");
    }
    let bridge = stack.bridge.peak_bytes();
    let cost = bridge.saturating_sub(alone) / LAGGARDS as u64;
    assert!(
        cost <= LAGGARD_BYTES,
        "the bridge had {bridge} bytes, {alone} without laggards: {cost} for each"
    );
    for (laggard, _) in &laggards {
        laggard.read(true);
    }
    for (mut laggard, id) in laggards {
        let (_, end) = laggard.wait_terminal(&id).await;
        // The strict client has compared offsets, length and crc32 of its output with the terminal
        // status.
        assert_eq!(end["crc32"], ends[&id]["crc32"]);
        assert_eq!(ends[&id]["outputBytes"], laggard.received(&id));
        assert_eq!(laggard.gaps(&id), []);
        assert_eq!(laggard.call("ping", json!({})).await, Ok(json!({})));
        laggard.finish().await;
    }
    stack.assert_quiet();
}

/// 2 s of output at 6 MB/s: more than all buffers on the way hold.
const PACED: &str = "@rate 800\n@volume 1600 8192";
const PACED_BYTES: u64 = 1600 * 8192;

/// Runs [`PACED`], if `slow` beside a viewer that reads a byte a second. Returns its duration in
/// milliseconds.
async fn paced(stack: &Stack, slow: bool) -> u64 {
    let mut reader = client(stack, None).await;
    let id = reader.start(PACED).await;
    let proxy = FaultProxy::start(stack.ws_addr()).await;
    let options = ws::Options {
        receive_buffer: Some(WINDOW_BYTES),
        ..ws::Options::default()
    };
    let mut slow_viewer = ws::Client::connect_with(proxy.addr(), options).await;
    if slow {
        slow_viewer.attach(&id, None).await.expect("attached");
        proxy.set(Faults {
            down: Pipe::slow(1),
            ..Faults::default()
        });
    }
    let (_, end) = reader.wait_terminal(&id).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert!(reader.received(&id) >= PACED_BYTES, "{end}");
    if slow {
        let received = slow_viewer.received(&id);
        assert!(received < PACED_BYTES / 2, "{received} bytes a second");
        proxy.heal();
    }
    reader.finish().await;
    slow_viewer.vanish();
    end["durationMs"].as_u64().expect("a duration")
}

#[tokio::test]
async fn f13_a_client_of_one_byte_a_second_does_not_slow_the_cli() {
    let stack = Stack::start().await;
    let alone = paced(&stack, false).await;
    let beside = paced(&stack, true).await;
    assert!(
        beside < 2 * alone,
        "{beside} ms beside a slow client, {alone} ms without"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn f13_output_arrives_when_it_is_written() {
    const TURNS: u64 = 10;
    let stack = Stack::start().await;
    let mut client = client(&stack, None).await;
    let file = |kind: &str, turn: u64| stack.path("tmp").join(format!("{kind}-{turn}"));
    let turn = |turn| {
        let (go, now) = (file("go", turn), file("now", turn));
        format!("@wait {}\n@touch {}\n@say x\n", go.display(), now.display())
    };
    let prompt: String = (1..=TURNS).map(turn).collect();
    let id = client.start(&prompt).await;
    for turn in 1..=TURNS {
        fs::write(file("go", turn), "").expect("written");
        client.wait_output(&id, turn).await;
        let seen = SystemTime::now();
        let touched = fs::metadata(file("now", turn)).and_then(|file| file.modified());
        let late = seen
            .duration_since(touched.expect("touched"))
            .unwrap_or_default();
        // 100 ms are promised; a debug build on a busy machine gets more.
        assert!(late < Duration::from_secs(1), "{late:?}");
    }
    client.wait_terminal(&id).await;
    client.finish().await;
    stack.assert_quiet();
}
