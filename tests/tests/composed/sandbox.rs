//! The protections of the image: a hostile tool of the real CLI makes many attempts, and all are
//! denied. Without a protection its attempts succeed, so they are real.

mod attempts;

use std::time::Duration;

use cc_tests::{
    composed::{Plan, Project, Use, case, until},
    ws::Client,
};
use serde_json::json;

use self::attempts::{ATTEMPTS, PTRACE};
use crate::support::assert_completed;

const LIMIT: Duration = Duration::from_secs(240);

/// An execution of another lane and workspace.
struct Victim {
    client: Client,
    execution: String,
    /// Process id of its tool.
    pid: String,
    /// Folder for its temporary files.
    temporary: String,
}

async fn sh(project: &Project, script: &str) -> anyhow::Result<String> {
    project.exec("claude-api", &["sh", "-c", script]).await
}

impl Victim {
    /// Hides secrets where other executions must not find them, and starts a tool that waits.
    async fn start(project: &Project) -> Self {
        let secrets = "mkdir -p /workspace/other && echo hidden >/workspace/other/secret && \
                               echo hidden >/dev/shm/secret";
        sh(project, secrets).await.expect("prepared");
        let mut client = project.client().await;
        let prompt = "@bash echo hidden | tee ~/secret >${TMPDIR:-/tmp}/secret; sleep 600";
        let accepted = client.execute(prompt, json!({"workspace": "other"})).await;
        let execution = accepted["executionId"].as_str().expect("an id").to_owned();
        let pid = until("its tool", Duration::from_secs(30), async || {
            let process = sh(project, "ps -eo pid=,args= | grep -m1 '[s]leep 600'")
                .await
                .ok()?;
            process.split_whitespace().next().map(str::to_owned)
        })
        .await;
        let files = sh(
            project,
            "ls -d /tmp/secret /tmp/ccb-*/secret 2>/dev/null; true",
        )
        .await;
        let files = files.expect("listed");
        let temporary = files.trim().strip_suffix("/secret").expect("the victim's");
        Self {
            client,
            execution,
            pid,
            temporary: temporary.to_owned(),
        }
    }

    /// Makes an attempt against the victim from another execution. Returns the tool's output, with
    /// `code N` at the end, and the status of the execution.
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
        case.step("each attempt");
        let mut succeeded = Vec::new();
        for (attempt, error) in ATTEMPTS {
            let (output, status) = victim.attack(&mut client, attempt).await;
            let denied =
                output.contains(error) && !output.contains("hidden") && !output.ends_with("code 0");
            if !denied || status != "COMPLETED" {
                succeeded.push(format!("{attempt}: {output} {status}"));
            }
        }
        assert!(
            succeeded.is_empty(),
            "these succeeded, or met another error: {succeeded:#?}"
        );
        case.step("the victim still runs");
        let state = project
            .http()
            .status(&victim.execution)
            .await
            .expect("known");
        assert_eq!(state["state"], "running");
        case.step("two executions of one workspace share files");
        let mut other = project.client().await;
        let (_, end) = other.run("@bash echo shared >note").await;
        assert_completed(&end);
        other.finish().await;
        let (output, end) = client.run("@bash cat note").await;
        assert_completed(&end);
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

/// Asserts that each of these attempts succeeds in a project of this plan.
async fn assert_succeed(name: &str, plan: &Plan, attempts: &[&str]) {
    let project = Project::up(name, plan).await;
    let victim = Victim::start(&project).await;
    let mut client = project.client().await;
    let mut denied = Vec::new();
    for attempt in attempts {
        let (output, status) = victim.attack(&mut client, attempt).await;
        if status != "COMPLETED" || !output.trim_end().ends_with("code 0") {
            denied.push(format!("{attempt}: {output} {status}"));
        }
    }
    assert!(denied.is_empty(), "{denied:#?}");
    client.finish().await;
    victim.end().await;
}

#[tokio::test]
async fn without_a_protection_its_attempts_succeed() {
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
        assert_succeed("unsandboxed", &unsandboxed(), &files).await;
        case.step("without PID 1, the sandbox and the closed ports");
        let init = "services:\n  claude-api:\n    init: true\n    \
                    sysctls: {net.ipv4.ip_unprivileged_port_start: 0}\n";
        let mut dns = ATTEMPTS.iter().map(|(attempt, _)| *attempt);
        let dns = dns.find(|attempt| attempt.contains("127.0.0.11"));
        let first = [
            dns.expect("an attempt"),
            "cat /proc/1/environ",
            "ls /proc/1/fd",
            "kill -STOP 1",
            "kill -CONT 1",
        ];
        assert_succeed("init", &unsandboxed().overlay(init), &first).await;
        case.step("without the rule of the box");
        let unboxed =
            "services:\n  claude-api:\n    environment:\n      - CLAUDE_API_BOXED=false\n";
        let ports = ATTEMPTS
            .iter()
            .filter(|(_, error)| *error == "from-the-box");
        let ports: Vec<_> = ports.map(|(attempt, _)| *attempt).collect();
        assert_eq!(ports.len(), 3);
        assert_succeed("unboxed", &Plan::default().overlay(unboxed), &ports).await;
    })
    .await;
}

/// Seccomp profile with which the kernel answers as one without Landlock (38 is ENOSYS).
const NO_LANDLOCK: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
    "names": ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
    "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;

#[tokio::test]
async fn without_landlock_executions_run_and_ready_has_a_warning() {
    case(LIMIT, Use::Own, async |case| {
        let profile = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&profile, NO_LANDLOCK).expect("written");
        let plan = Plan::default().overlay(format!(
            "services:\n  claude-api:\n    security_opt: [\"seccomp={}\"]\n",
            profile.path().display()
        ));
        let project = Project::up("open", &plan).await;
        case.step("ready has a warning");
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
        case.step("an execution runs");
        let mut client = project.client().await;
        let (output, end) = client.run("@bash touch /tmp/open && echo open").await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output).trim(), "open");
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}
