//! S3: eight kinds of load, each with an output that is known byte for byte. S18: volume.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cc_tests::{
    composed::{Plan, Project, Use, case},
    ws::Client,
};
use serde_json::json;

use crate::support::{assert_completed, run};

#[tokio::test]
async fn a_short_answer_is_exact() {
    case(Duration::from_secs(90), Use::Shared, async |_| {
        let project = Project::shared();
        let number = rand::random_range(1000..9999_u32);
        let mut client = project.client().await;
        let output = run(&mut client, &format!("print({number} * 7)")).await;
        assert_eq!(output, (number * 7).to_string());
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_long_run_completes() {
    case(Duration::from_secs(180), Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        case.step("400 words at 50 ms, then 5 s of thought, then a tool for 5 s");
        let id = client
            .start("@tokens 400 50\n@think 5000\n@bash sleep 5; echo slept\n@say the end")
            .await;
        client.wait_output(&id, 1).await;
        let early = client.received(&id);
        assert!(early < 1000, "the first output arrived with {early} bytes");
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        let words: String = (1..=400).map(|n| format!("word{n} ")).collect();
        // Text blocks are joined by a blank line; the tool's output is a block of its own.
        assert_eq!(
            String::from_utf8_lossy(&output),
            format!("{words}\n\nslept\n\nthe end")
        );
        // Heartbeats arrived meanwhile, and no limit of the whole time ended the run.
        assert!(
            end["durationMs"].as_u64().is_some_and(|ms| ms >= 30_000),
            "{end}"
        );
        assert!(client.updates(&id).len() > 3, "{:?}", client.updates(&id));
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn many_lines_are_exact() {
    case(Duration::from_secs(90), Use::Shared, async |_| {
        let project = Project::shared();
        let mut client = project.client().await;
        // Below the 30,000 characters of a tool's output that the CLI passes on.
        let output = run(&mut client, "for i in range(5000):\n    print(i)").await;
        let expected: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
        assert_eq!(output, expected.join("\n"));
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn large_outputs_are_exact() {
    case(Duration::from_secs(240), Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        case.step("10,000 deltas");
        let output = run(&mut client, "@tokens 10000").await;
        let expected: String = (1..=10_000).map(|n| format!("word{n} ")).collect();
        assert!(
            output == expected,
            "{} of {} bytes",
            output.len(),
            expected.len()
        );
        case.step("half a MiB in large deltas");
        let line: String = (0..1_u32 << 16)
            .map(|n| format!("{n:07x}{}", if n % 8000 == 0 { ' ' } else { '-' }))
            .collect();
        let output = run(&mut client, &format!("@say {line}")).await;
        assert!(output == line, "{} of {} bytes", output.len(), line.len());
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn unicode_is_exact() {
    case(Duration::from_secs(120), Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        let text = "Grüße 你好 שלום नमस्ते e\u{301} \
                            \u{1F468}\u{200d}\u{1F469}\u{200d}\u{1F467} \u{1F1E9}\u{1F1EA} \
                    \u{feff}bom \u{10FFFD} \u{2028} end";
        case.step("written by the model");
        assert_eq!(run(&mut client, &format!("@say {text}")).await, text);
        case.step("through a tool");
        assert_eq!(
            run(&mut client, &format!("print('{text}' * 200)")).await,
            text.repeat(200)
        );
        case.step("written by a tool, all planes");
        let code = "print(''.join(chr(c) for c in range(0x21, 0x110000, 997) \
                    if not 0xd7ff < c < 0xe000))";
        let output = run(&mut client, code).await;
        let expected: String = (0x21..0x11_0000)
            .step_by(997)
            .filter_map(char::from_u32)
            .collect();
        assert_eq!(output, expected);
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn words_of_a_slow_answer_arrive_one_by_one() {
    case(Duration::from_secs(120), Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        let id = client.start("@tokens 20 500\n@stall 5\n@say done").await;
        // Each word arrives before the next one is generated: no word is held back. A slow machine
        // may see some late.
        let mut seen = BTreeSet::new();
        for word in 1..=20_u32 {
            let bytes: usize = (1..=word).map(|n| format!("word{n} ").len()).sum();
            client.wait_output(&id, bytes as u64).await;
            seen.insert(client.received(&id));
        }
        assert!(seen.len() > 12, "20 words arrived in {seen:?}");
        case.step(format!(
            "output arrived {} times; now a silence",
            seen.len()
        ));
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert!(
            output.ends_with(b"word20 done"),
            "{}",
            String::from_utf8_lossy(&output)
        );
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn each_error_has_its_reason() {
    case(Duration::from_secs(180), Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        for (prompt, reason) in [
            ("@fail 400", "cli_error"),
            ("@too-long", "prompt_too_long"),
            ("@refuse", "auth_failed"),
        ] {
            case.step(prompt);
            let (_, end) = client.run(prompt).await;
            assert_eq!(
                (&end["status"], &end["reason"]),
                (&json!("FAILED"), &json!(reason)),
                "{end}"
            );
            assert_eq!(end["exitCode"], 1, "{end}");
            assert!(
                end["error"]["message"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{end}"
            );
        }
        case.step("a prompt that the CLI itself finds too long for any model");
        let (_, end) = client.run(&"word ".repeat(3 << 18)).await;
        assert_eq!(
            (&end["status"], &end["reason"]),
            (&json!("FAILED"), &json!("prompt_too_long")),
            "{end}"
        );
        case.step("a failed tool does not fail the execution");
        let output = run(
            &mut client,
            "python3 -c \"raise ValueError('of the tool')\"",
        )
        .await;
        assert!(output.contains("ValueError: of the tool"), "{output}");
        case.step("an overload that passes");
        assert_eq!(
            run(&mut client, "@fail 529 times 1\n@say good").await,
            "good"
        );
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn consecutive_executions_of_a_session_complete() {
    case(Duration::from_secs(180), Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        for round in 1..=5 {
            case.step(format!("round {round}"));
            let number = rand::random_range(1000..9999_u32);
            let output = run(&mut client, &format!("print({number} * {round})")).await;
            assert_eq!(output, (number * round).to_string());
        }
        client.finish().await;
    })
    .await;
}

/// S18: more than the real CLI can write: the stand-in writes in its place, through containers and
/// their network.
#[tokio::test]
async fn s18_fifty_sessions_get_ten_megabytes_a_second() {
    const SESSIONS: usize = 50;
    const MEGABYTES: usize = 6;
    case(Duration::from_secs(240), Use::Alone, async |case| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stand-in-claude");
        let inside = "/usr/local/bin/stand-in-claude";
        Project::shared()
            .copy_out("scripted-model", inside, &path)
            .await;
        let overlay = format!(
            "services:\n  claude-api:\n    volumes: [\"{}:{inside}:ro\"]\n    \
             environment:\n      - \
             CLAUDE_API_CLAUDE_BIN={inside}\n      - CLAUDE_API_RUNNING_EXECUTIONS={SESSIONS}\n",
            path.display()
        );
        let project = Project::up("volume", &Plan::default().overlay(overlay)).await;
        let connect = (0..SESSIONS).map(|_| project.client());
        let mut clients: Vec<Client> = futures::future::join_all(connect).await;
        case.step("all are connected; each executes");
        let prompt = format!("@megabytes {MEGABYTES}");
        let began = Instant::now();
        let ends = clients.iter_mut().map(|client| client.run(&prompt));
        let ends = futures::future::join_all(ends).await;
        let took = began.elapsed().as_secs_f64();
        let mut total = 0;
        for (output, end) in &ends {
            assert_completed(end);
            // The client checks length and checksum; every run writes the same.
            assert!(output.len() >= MEGABYTES * 1_000_000, "{end}");
            assert!(*output == ends[0].0, "{end}");
            total += output.len();
        }
        let rate = total as f64 / 1e6 / took;
        case.step(format!("{rate:.0} MB/s to {SESSIONS} sessions"));
        assert!(rate >= 10.0, "{total} bytes in {took:.1} s");
        for client in clients {
            client.finish().await;
        }
        project.assert_quiet().await;
    })
    .await;
}
