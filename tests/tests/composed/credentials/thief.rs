//! A prompt searches the box for the credential, and uses everything that it reaches there. The
//! credential is a random mark, so that it is recognised wherever it is.

use std::time::Duration;

use cc_tests::composed::{Case, Plan, Project, Use, case, docker::docker, until};
use cc_tests::ws::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use super::readiness;
use crate::support::{assert_completed, run};

const LIMIT: Duration = Duration::from_secs(420);
const FOLDER: &str = "/workspace/default";
const THIEF: &str = include_str!("thief.py");
const INTRUDER: &str = include_str!("intruder.py");
/// The services of the stack, each with every container that a tool might reach.
const SERVICES: [&str; 3] = ["claude-api", "bridge", "credentials"];

/// Returns a new credential, in the form that `thief.py` searches.
fn mark() -> String {
    format!("sk-ant-mark-{}", Uuid::new_v4().simple())
}

/// Returns a prompt that runs a Python program of the workspace in the Bash tool, with the most
/// time that the tool has.
fn python(program: &str, argument: &str) -> String {
    let command = format!("python3 {FOLDER}/{program} {FOLDER}/{argument}");
    let input = json!({"command": command, "description": "Steal", "timeout": 600_000});
    format!("@tool Bash {input}")
}

/// Returns the report that a program printed as its last line.
#[track_caller]
fn report(output: &[u8]) -> Value {
    let output = String::from_utf8_lossy(output);
    let line = output.trim_end().lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no report: {output}"))
}

/// Waits for a grant in the environment of a CLI that is not one of `known`, and returns it. Only
/// root with CAP_SYS_PTRACE can read it.
async fn new_grant(project: &Project, known: &[&str]) -> String {
    let container = format!("container:{}", project.container("claude-api"));
    let image = project.inspect("claude-api", "{{.Config.Image}}").await;
    let search =
        "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -o '^[A-Z_]*=ccg_[A-Za-z0-9_-]*'";
    let words = [
        "run",
        "--rm",
        "--cap-add",
        "SYS_PTRACE",
        "--network",
        "none",
    ];
    let words = [&words[..], &["-u", "0", "--pid", &container]].concat();
    let words = [&words[..], &["--entrypoint", "sh", &image, "-c", search]].concat();
    until("a new grant", Duration::from_secs(60), async || {
        let found = docker(&words).await.ok()?;
        let grants = found.lines().filter_map(|line| line.split_once('='));
        let mut grants = grants.map(|(_, grant)| grant);
        let new = grants.find(|grant| !known.contains(grant));
        new.map(str::to_owned)
    })
    .await
}

/// Lets a prompt search and try everything. It learns its own grant, and `known`: that of an
/// execution which has ended, and that of another one, which it does not learn. Without `known`
/// there are no grants. Returns its report.
async fn steal(
    case: &Case,
    project: &Project,
    client: &mut Client,
    known: Option<[&str; 2]>,
) -> Value {
    let own = format!("{FOLDER}/own");
    let asked = match known {
        Some([ended, _]) => json!({"names": SERVICES, "ended": ended, "own": own}),
        None => json!({"names": SERVICES, "ended": "", "own": null}),
    };
    for (name, text) in [("thief.py", THIEF), ("thief.json", &asked.to_string())] {
        project
            .write("claude-api", &format!("{FOLDER}/{name}"), text)
            .await;
    }
    let id = client.start(&python("thief.py", "thief.json")).await;
    if let Some(known) = known {
        let grant = new_grant(project, &known).await;
        project.write("claude-api", &own, &grant).await;
    }
    let (output, end) = client.wait_terminal(&id).await;
    assert_completed(&end);
    let report = report(&output);
    case.step(format!(
        "searched {}, open {}",
        report["searched"], report["open"]
    ));
    report
}

/// Returns the number of a member of the report's `searched`.
fn searched(report: &Value, kind: &str) -> u64 {
    report["searched"][kind].as_u64().unwrap_or_default()
}

/// Asserts that no view of the operator on the containers, no log, no file of the containers and no
/// volume has the credential, except the container that needs it.
async fn assert_nowhere_else(project: &Project, mark: &str) {
    for service in SERVICES {
        let logs = docker(&["logs", &project.container(service)]).await;
        let inspected = docker(&["inspect", &project.container(service)]).await;
        let inspected = inspected.expect("a container");
        assert!(!logs.expect("a log").contains(mark), "the log of {service}");
        let is_holder = service == "credentials";
        assert_eq!(inspected.contains(mark), is_holder, "{service}");
    }
    let container = project.container("claude-api");
    let image = project.inspect("claude-api", "{{.Config.Image}}").await;
    let search = format!("! grep -rlF {mark} /spool /workspace /home/claude");
    let words = ["run", "--rm", "--network", "none", "-u", "0"];
    let volumes = ["--volumes-from", &container, "--entrypoint", "sh", &image];
    let found = docker(&[&words[..], &volumes, &["-c", &search]].concat()).await;
    assert!(found.is_ok(), "a volume has the credential: {found:?}");
}

#[tokio::test]
async fn a_tool_finds_no_credential_and_gets_no_answer_beyond_its_own() {
    case(LIMIT, Use::Own, async |case| {
        let mark = mark();
        let plan = Plan::default().credential(Some(&mark), &mark);
        let project = Project::up("thief", &plan).await;
        readiness(&project, None).await;
        let mut client = project.client().await;
        let id = client.start("@bash sleep 3").await;
        let ended = new_grant(&project, &[]).await;
        client.wait_terminal(&id).await;
        case.step("an execution of another workspace, which has a grant, too");
        let mut other = project.client().await;
        let accepted = other
            .execute("@bash sleep 400", json!({"workspace": "other"}))
            .await;
        let victim = accepted["executionId"].as_str().expect("an id").to_owned();
        until("the other execution's tool", LIMIT, async || {
            let status = project.http().status(&victim).await.ok()?;
            let activity = status["activity"].as_str().unwrap_or_default();
            activity.contains("Bash").then_some(())
        })
        .await;
        let of_other = new_grant(&project, &[&ended]).await;
        case.step("the search");
        let known = Some([ended.as_str(), of_other.as_str()]);
        let report = steal(case, &project, &mut client, known).await;
        for nothing in ["keys", "grants", "passed", "forwarded"] {
            assert_eq!(report[nothing], json!([]), "{nothing}: {report}");
        }
        assert_eq!(report["in_env"], false, "{report}");
        for own in report["own"].as_object().expect("an object").values() {
            assert_eq!(own, 200, "{report}");
        }
        let enough = [("files", 1000), ("proc", 50), ("answers", 300)];
        for (kind, least) in enough {
            assert!(searched(&report, kind) >= least, "{kind}: {report}");
        }
        let open = report["open"].as_array().expect("a list");
        for port in [
            "claude-api:8002",
            "claude-api:8006",
            "bridge:8003",
            "credentials:8005",
        ] {
            assert!(open.contains(&json!(port)), "{port}: {report}");
        }
        let of_credentials = |port: &&Value| port.as_str().unwrap_or("").starts_with("credentials");
        assert_eq!(open.iter().filter(of_credentials).count(), 1, "{report}");
        case.step("everything else that might have it");
        assert_nowhere_else(&project, &mark).await;
        other
            .control("CANCEL", Some(&victim))
            .await
            .expect("accepted");
        other.wait_terminal(&victim).await;
        other.finish().await;
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

/// The search is a real one: it finds the credential where the operator gives it to the tools.
#[tokio::test]
async fn a_credential_in_the_box_works_and_is_found() {
    case(LIMIT, Use::Own, async |case| {
        let mark = mark();
        let plan = Plan::default()
            .credential(Some(&mark), &mark)
            .env("CCB_CREDENTIAL_IN_BOX", 1);
        let project = Project::up("in-box", &plan).await;
        readiness(&project, None).await;
        let mut client = project.client().await;
        let report = steal(case, &project, &mut client, None).await;
        let keys = report["keys"].to_string();
        assert!(keys.contains("/environ"), "{report}");
        client.finish().await;
    })
    .await;
}

/// A tool opens the control port of claude-api all the time, also while `credentials` is away.
#[tokio::test]
async fn a_tool_cannot_take_the_control_connection_while_credentials_restarts() {
    case(LIMIT, Use::Own, async |case| {
        let mark = mark();
        let plan = Plan::default().credential(Some(&mark), &mark);
        let project = Project::up("intruder", &plan).await;
        readiness(&project, None).await;
        let path = format!("{FOLDER}/intruder.py");
        project.write("claude-api", &path, INTRUDER).await;
        let mut intruder = project.client().await;
        let id = intruder.start(&python("intruder.py", "stop")).await;
        let mut client = project.client().await;
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        for verb in ["restart", "kill", "restart"] {
            case.step(verb);
            project.act(verb, "credentials").await;
            if verb == "kill" {
                project.act("start", "credentials").await;
            }
            assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        }
        project
            .write("claude-api", &format!("{FOLDER}/stop"), "")
            .await;
        let (output, end) = intruder.wait_terminal(&id).await;
        assert_completed(&end);
        let report = report(&output);
        case.step(format!("{report}"));
        assert_eq!(report["received"], json!([]), "{report}");
        assert_eq!(report["bound"], false, "{report}");
        for count in ["tries", "accepted"] {
            assert!(report[count].as_u64() > Some(10), "{count}: {report}");
        }
        readiness(&project, None).await;
        intruder.finish().await;
        client.finish().await;
    })
    .await;
}
