//! OUTER B6. Clients that do not read cost little memory, delay nobody, and miss nothing later;
//! output arrives as it is written. F9, F13, I6.

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
/// Of each execution, in millions of bytes: 60 MB in all.
const MEGABYTES: u64 = 20;
/// Deltas a second, of 8 KiB: how fast a CLI writes is not what is looked at.
const RATE: u64 = 800;
/// What a client that does not read may cost the bridge: a few chunks and messages on their way.
/// Totals depend on the build and the allocator; scripts/bench looks at those of a release build.
const LAGGARD_BYTES: u64 = 400 << 10;
/// A client that hangs has a small window, so that what it does not read stays with the services soon.
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

/// Clients that read, each with an execution that is paused.
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

/// Lets the executions go on, and reads them to their ends: these, by id.
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
async fn f9_clients_that_do_not_read_cost_little_hold_nobody_up_and_get_all_later() {
    // On a busy machine this takes longer than two pings, after which a client that takes nothing is closed.
    let stack = Stack::with(
        StackOptions::default()
            .bridge("--ping-ms=120000")
            .one_bridge(),
    )
    .await;
    read(readers(&stack).await).await;
    let alone = stack.bridge.peak_bytes();
    // The executions stand still until the laggards are there, so that there is much for them to miss.
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
    // The readers are done, and the laggards still stand: nobody waited for them.
    for (laggard, id) in &laggards {
        let received = laggard.received(id);
        assert!(received < MEGABYTES * 500_000, "{received} bytes were read");
    }
    let bridge = stack.bridge.peak_bytes();
    let cost = bridge.saturating_sub(alone) / LAGGARDS as u64;
    assert!(
        cost <= LAGGARD_BYTES,
        "the bridge had {bridge} bytes, {alone} without: {cost} for each that does not read"
    );
    for (laggard, _) in &laggards {
        laggard.read(true);
    }
    for (mut laggard, id) in laggards {
        let (_, end) = laggard.wait_terminal(&id).await;
        // The strict client has compared offsets, length and crc32 of what it got with the end that it was told.
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

/// Runs [`PACED`] beside a viewer that takes a byte a second, or none; its duration in milliseconds.
async fn paced(stack: &Stack, slow: bool) -> u64 {
    let mut reader = client(stack, None).await;
    let id = reader.start(PACED).await;
    let proxy = FaultProxy::start(stack.ws_addr()).await;
    let options = ws::Options {
        receive_buffer: Some(WINDOW_BYTES),
        ..ws::Options::default()
    };
    let mut slow_one = ws::Client::connect_with(proxy.addr(), options).await;
    if slow {
        slow_one.attach(&id, None).await.expect("attached");
        proxy.set(Faults {
            down: Pipe::slow(1),
            ..Faults::default()
        });
    }
    let (_, end) = reader.wait_terminal(&id).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert!(reader.received(&id) >= PACED_BYTES, "{end}");
    if slow {
        let received = slow_one.received(&id);
        assert!(received < PACED_BYTES / 2, "{received} bytes a second");
        proxy.heal();
    }
    reader.finish().await;
    slow_one.vanish();
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
async fn f13_output_comes_when_it_is_written() {
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
