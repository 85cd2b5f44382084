//! S4: the answer has a value that only a real run of a tool in the container can know, and the
//! CLI's own transcript shows the call and its result. A bridge that invents answers fails the same
//! check.

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use cc_tests::{
    composed::{
        Project, Use, case,
        liar::{Lie, LyingBridge},
    },
    hex,
};
use serde_json::Value;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(120);

/// A question that only a tool in the container can answer: the secret is there and in no prompt.
struct Question {
    marker: String,
    prompt: String,
    expected: String,
}

impl Question {
    async fn new(project: &Project) -> Self {
        let marker = format!("marker-{}", Uuid::new_v4().simple());
        let secret = Uuid::new_v4().to_string();
        let path = format!("/workspace/default/{marker}");
        project.write("claude-api", &path, &secret).await;
        let code = format!(
            "import hashlib\nsecret = open('{path}').read()\n\
             print('{marker}', hashlib.sha256(('{marker}' + secret).encode()).hexdigest())"
        );
        let digest = ring::digest::digest(
            &ring::digest::SHA256,
            format!("{marker}{secret}").as_bytes(),
        );
        Self {
            prompt: code,
            expected: format!("{marker} {}", hex(digest.as_ref())),
            marker,
        }
    }
}

/// Runs the question through a bridge, and checks the answer and the CLI's transcript.
async fn check(
    project: &Project,
    bridge: SocketAddr,
    question: &Question,
) -> anyhow::Result<Value> {
    let mut client = project.client_at(bridge).await;
    let (output, end) = client.run(&question.prompt).await;
    client.finish().await;
    ensure!(
        end["status"] == "COMPLETED",
        "the execution did not complete: {end}"
    );
    let output = String::from_utf8(output)?;
    ensure!(
        output == question.expected,
        "the answer is {output}, not {}",
        question.expected
    );
    let conversation = end["conversation"].as_str().unwrap_or_default();
    let transcript = project.transcript(conversation).await;
    ensure!(
        !transcript.is_empty(),
        "the CLI has no transcript of {conversation}"
    );
    check_transcript(&transcript, question)?;
    Ok(end)
}

/// Checks that a transcript has the tool's call with the marker, and the result of that call.
fn check_transcript(transcript: &str, question: &Question) -> anyhow::Result<()> {
    let lines: Vec<Value> = transcript
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let blocks = |role: &'static str| {
        let of_role = lines
            .iter()
            .filter(move |line| line["message"]["role"] == role);
        of_role.flat_map(|line| line["message"]["content"].as_array().into_iter().flatten())
    };
    let call = blocks("assistant").find(|block| {
        block["type"] == "tool_use"
            && block["name"] == "Bash"
            && block["input"]["command"]
                .as_str()
                .is_some_and(|command| command.contains(&question.marker))
    });
    let Some(call) = call else {
        anyhow::bail!("no call of Bash with {}", question.marker);
    };
    let result = blocks("user")
        .find(|block| block["type"] == "tool_result" && block["tool_use_id"] == call["id"]);
    let Some(result) = result else {
        anyhow::bail!("no result of the call {}", call["id"]);
    };
    ensure!(
        result["content"].to_string().contains(&question.expected),
        "the tool's result is {}",
        result["content"]
    );
    Ok(())
}

#[tokio::test]
async fn a_real_run_is_in_the_transcript() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        for round in 1..=3 {
            case.step(format!("question {round}"));
            let question = Question::new(&project).await;
            let checked = check(&project, project.bridge(), &question).await;
            checked.unwrap_or_else(|error| panic!("{error:#}"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_lying_bridge_fails_the_check() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        case.step("a real execution, whose transcript a liar may point to");
        let earlier = Question::new(&project).await;
        let genuine = check(&project, project.bridge(), &earlier).await;
        let genuine = genuine.unwrap_or_else(|error| panic!("{error:#}"));
        let conversation = genuine["conversation"].as_str().map(str::to_owned);
        let question = Question::new(&project).await;
        let invented = format!("{} {}", question.marker, "0f".repeat(32));
        for (lie, message, conversation, answer) in [
            (
                "an answer of the right form",
                "the answer is",
                None,
                &invented,
            ),
            (
                "the right answer without an execution",
                "has no transcript",
                None,
                &question.expected,
            ),
            (
                "the right answer, another's transcript",
                "no call of Bash",
                conversation,
                &question.expected,
            ),
        ] {
            case.step(lie);
            let answer = answer.clone();
            let liar = LyingBridge::start(Lie {
                answer,
                conversation,
            })
            .await;
            let error = check(&project, liar.addr(), &question)
                .await
                .expect_err(lie);
            assert!(error.to_string().contains(message), "{lie}: {error:#}");
        }
    })
    .await;
}

/// The check requires a call and its result, not two words somewhere in a transcript.
#[tokio::test]
async fn words_without_a_call_and_its_result_are_no_proof() {
    let question = Question {
        marker: "m1".into(),
        prompt: String::new(),
        expected: "m1 42".into(),
    };
    let line = |role: &str, block: &str| {
        format!(r#"{{"message":{{"role":"{role}","content":[{block}]}}}}"#)
    };
    let call = r#"{"type":"tool_use","id":"t","name":"Bash","input":{"command":"echo m1"}}"#;
    let call = line("assistant", call);
    let result = r#"{"type":"tool_result","tool_use_id":"t","content":"m1 42"}"#;
    let result = line("user", result);
    let claim = line(
        "assistant",
        r#"{"type":"text","text":"I ran echo m1: m1 42"}"#,
    );
    let other = result.replace("\"t\"", "\"u\"");
    let pair = |one: &str, two: &str| format!("{one}\n{two}");
    assert!(check_transcript(&pair(&call, &result), &question).is_ok());
    for transcript in [
        &claim,
        &call,
        &result,
        &pair(&call, &claim),
        &pair(&call, &other),
    ] {
        assert!(
            check_transcript(transcript, &question).is_err(),
            "{transcript}"
        );
    }
}
