//! The protections of the image: a hostile tool of the real CLI tries everything that it can think of.
//! Where a protection is taken away, its tries go through, so they are real.

mod tries;

use std::time::Duration;

use cc_tests::{
    composed::{Plan, Project, Use, case, until},
    ws::Client,
};
use serde_json::json;

use self::tries::{PTRACE, TRIES};
use crate::support::completed;

const LIMIT: Duration = Duration::from_secs(240);

/// An execution of another lane and workspace.
struct Victim {
    client: Client,
    execution: String,
    /// A process of it.
    pid: String,
    temporary: String,
}

async fn sh(project: &Project, script: &str) -> anyhow::Result<String> {
    project.exec("claude-api", &["sh", "-c", script]).await
}

impl Victim {
    /// Hides secrets where others must not find them, and waits.
    async fn start(project: &Project) -> Self {
        let secrets = "mkdir -p /workspace/other && echo hidden >/workspace/other/secret && echo hidden >/dev/shm/secret";
        sh(project, secrets).await.expect("prepared");
        let mut client = project.client().await;
        let prompt = "@bash echo hidden | tee ~/secret >${TMPDIR:-/tmp}/secret; sleep 600";
        let accepted = client.execute(prompt, json!({"workspace": "other"})).await;
        let execution = accepted["executionId"].as_str().expect("an id").to_owned();
        let pid = until("its tool", Duration::from_secs(30), async || {
            let found = sh(project, "ps -eo pid=,args= | grep -m1 '[s]leep 600'")
                .await
                .ok()?;
            found.split_whitespace().next().map(str::to_owned)
        })
        .await;
        let found = sh(
            project,
            "ls -d /tmp/secret /tmp/ccb-*/secret 2>/dev/null; true",
        )
        .await;
        let found = found.expect("listed");
        let temporary = found.trim().strip_suffix("/secret").expect("the victim's");
        Self {
            client,
            execution,
            pid,
            temporary: temporary.to_owned(),
        }
    }

    /// Tries something against it from an execution of its own; returns what the tool said, with
    /// `code N` at the end, and how the execution ended.
    async fn attack(&self, client: &mut Client, attempt: &str) -> (String, String) {
        let attempt = attempt
            .replace("PTRACE", PTRACE)
            .replace("VICTIM", &self.pid)
            .replace("TEMPORARY", &self.temporary);
        let (output, end) = client.run(&format!("@bash {attempt}; echo code $?")).await;
        let status = end["status"].as_str().expect("a status").to_owned();
        (String::from_utf8_lossy(&output).into_owned(), status)
    }

    async fn end(mut self) {
        self.client
            .control("CANCEL", Some(&self.execution))
            .await
            .expect("accepted");
        self.client.wait_terminal(&self.execution).await;
        self.client.finish().await;
    }
}

#[tokio::test]
async fn a_hostile_tool_is_denied_everywhere() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("sandbox", &Plan::default()).await;
        let (status, ready) = project
            .http()
            .get("/health/ready")
            .await
            .expect("an answer");
        assert!(status == 200 && ready["warnings"] == json!([]), "{ready}");
        let victim = Victim::start(&project).await;
        let mut client = project.client().await;
        case.step("each try");
        let mut through = Vec::new();
        for (attempt, error) in TRIES {
            let (said, status) = victim.attack(&mut client, attempt).await;
            let denied =
                said.contains(error) && !said.contains("hidden") && !said.ends_with("code 0");
            if !denied || status != "COMPLETED" {
                through.push(format!("{attempt}: {said} {status}"));
            }
        }
        assert!(
            through.is_empty(),
            "these went through, or met another error: {through:#?}"
        );
        case.step("the victim is as it was");
        let state = project
            .http()
            .status(&victim.execution)
            .await
            .expect("known");
        assert_eq!(state["state"], "running");
        case.step("two of one workspace work together");
        let mut other = project.client().await;
        let (_, end) = other.run("@bash echo shared >note").await;
        completed(&end);
        other.finish().await;
        let (output, end) = client.run("@bash cat note").await;
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output).trim(), "shared");
        victim.end().await;
        client.finish().await;
        assert_eq!(
            project.inspect("claude-api", "{{.RestartCount}}").await,
            "0"
        );
        project.assert_quiet().await;
    })
    .await;
}

/// Each of these works in a project of this plan.
async fn goes_through(name: &str, plan: &Plan, attempts: &[&str]) {
    let project = Project::up(name, plan).await;
    let victim = Victim::start(&project).await;
    let mut client = project.client().await;
    let mut denied = Vec::new();
    for attempt in attempts {
        let (said, status) = victim.attack(&mut client, attempt).await;
        if status != "COMPLETED" || !said.trim_end().ends_with("code 0") {
            denied.push(format!("{attempt}: {said} {status}"));
        }
    }
    assert!(denied.is_empty(), "{denied:#?}");
    client.finish().await;
    victim.end().await;
}

#[tokio::test]
async fn a_protection_that_is_taken_away_lets_its_tries_through() {
    case(LIMIT, Use::Own, async |case| {
        let unsandboxed = || Plan::default().env("CLAUDE_API_SANDBOX", false);
        case.step("without the sandbox");
        let files = [
            "ls /spool",
            "mkdir -p /spool/executions/planted",
            "cat /workspace/other/secret",
            "ls /tmp",
            "cat TEMPORARY/secret",
            "cat /dev/shm/secret",
            "cat /proc/VICTIM/environ",
            "ls /proc/VICTIM/cwd/",
            "mkdir -p /home/claude/.claude/skills/x",
            "ls /home/claude/.claude/projects",
            "prlimit --pid VICTIM --cpu=1000:1000",
            "renice -n 19 -p VICTIM",
            "ipcmk -M 16",
            "test -n \"$CLAUDE_CODE_MESSAGING_SOCKET\"",
            "kill -STOP VICTIM",
        ];
        goes_through("unsandboxed", &unsandboxed(), &files).await;
        case.step("without PID 1, the sandbox and the closed ports");
        let init = "services:\n  claude-api:\n    init: true\n    \
                    sysctls: {net.ipv4.ip_unprivileged_port_start: 0}\n";
        let mut dns = TRIES.iter().map(|(attempt, _)| *attempt);
        let dns = dns.find(|attempt| attempt.contains("127.0.0.11"));
        let first = [
            dns.expect("it is tried"),
            "cat /proc/1/environ",
            "ls /proc/1/fd",
            "kill -STOP 1",
            "kill -CONT 1",
        ];
        goes_through("init", &unsandboxed().overlay(init), &first).await;
        case.step("without the rule of the box");
        let unboxed =
            "services:\n  claude-api:\n    environment:\n      - CLAUDE_API_BOXED=false\n";
        let ports = TRIES.iter().filter(|(_, error)| *error == "from-the-box");
        let ports: Vec<_> = ports.map(|(attempt, _)| *attempt).collect();
        assert_eq!(ports.len(), 3);
        goes_through("unboxed", &Plan::default().overlay(unboxed), &ports).await;
    })
    .await;
}

/// Has the kernel answer as one without Landlock does (38 is ENOSYS).
const NO_LANDLOCK: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
    "names": ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
    "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;

#[tokio::test]
async fn without_landlock_it_runs_and_says_what_is_open() {
    case(LIMIT, Use::Own, async |case| {
        let profile = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&profile, NO_LANDLOCK).expect("written");
        let plan = Plan::default().overlay(format!(
            "services:\n  claude-api:\n    security_opt: [\"seccomp={}\"]\n",
            profile.path().display()
        ));
        let project = Project::up("open", &plan).await;
        case.step("it says so");
        let (status, ready) = project
            .http()
            .get("/health/ready")
            .await
            .expect("an answer");
        assert!(
            status == 200 && ready["warnings"][0]["code"] == "sandbox-incomplete",
            "{ready}"
        );
        assert_eq!(
            ready["warnings"].as_array().map(Vec::len),
            Some(1),
            "{ready}"
        );
        case.step("it runs");
        let mut client = project.client().await;
        let (output, end) = client.run("@bash touch /tmp/open && echo open").await;
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output).trim(), "open");
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}
