//! The walls of the image: a thief as a prompt of the real CLI tries everything that it can think of.
//! Each try is a line with the error that it has to meet.

use std::time::Duration;

use cc_tests::composed::{Plan, Project, Use, case};
use serde_json::json;

use crate::support::completed;

const LIMIT: Duration = Duration::from_secs(240);
const DENIED: &str = "Permission denied";
const NOT_PERMITTED: &str = "Operation not permitted";

/// What a tool tries, and what it must be told. `VICTIM` is a tool of another execution.
const TRIES: [(&str, &str); 54] = [
    // Signals and traces: the service, its runner, another CLI.
    ("kill -9 1", NOT_PERMITTED),
    ("kill -STOP 1", NOT_PERMITTED),
    ("kill -9 $(ps -o ppid= -p $PPID)", NOT_PERMITTED),
    ("kill -9 VICTIM", NOT_PERMITTED),
    ("kill -STOP VICTIM", NOT_PERMITTED),
    ("PTRACE VICTIM", NOT_PERMITTED),
    ("PTRACE 1", NOT_PERMITTED),
    // Limits and priorities: the first process, too, ends when its processor time is used up.
    ("prlimit --pid 1 --cpu=1:1", NOT_PERMITTED),
    ("prlimit --pid VICTIM --cpu=1:1", NOT_PERMITTED),
    ("renice -n 19 -p 1", NOT_PERMITTED),
    ("chrt -i -p 0 1", NOT_PERMITTED),
    ("ionice -c 3 -p 1", NOT_PERMITTED),
    // Its own CLI holds the credential, and would take answers to its questions.
    ("PTRACE $PPID", NOT_PERMITTED),
    ("cat /proc/$PPID/environ", DENIED),
    ("cat /proc/$PPID/mem", DENIED),
    ("echo x >/proc/$PPID/fd/0", DENIED),
    ("test -n \"$CLAUDE_CODE_MESSAGING_SOCKET\"", "code 1"),
    // What the system shows of processes.
    ("cat /proc/1/environ", DENIED),
    ("cat /proc/1/mem", DENIED),
    ("ls /proc/1/fd", DENIED),
    ("ls /proc/1/cwd/", DENIED),
    ("ls /proc/1/root/", DENIED),
    ("cat /proc/VICTIM/environ", DENIED),
    ("cat /proc/VICTIM/mem", DENIED),
    ("cat /proc/VICTIM/fd/1", DENIED),
    ("ls /proc/VICTIM/cwd/", DENIED),
    ("ls /proc/VICTIM/root/", DENIED),
    ("cat /usr/local/bin/claude-api", DENIED),
    ("cat /usr/local/bin/claude", DENIED),
    // Files of the service and of others.
    ("ls /spool", DENIED),
    ("mkdir -p /spool/executions/planted", DENIED),
    ("ls /run/secrets", DENIED),
    ("ls /workspace", DENIED),
    ("cat /workspace/other/secret", DENIED),
    ("ls /tmp", DENIED),
    ("echo x >/tmp/x", DENIED),
    ("ls /dev/shm", DENIED),
    ("cat /dev/shm/secret", DENIED),
    ("ls /home/claude/.executions/other", DENIED),
    ("cat /home/claude/.executions/other/secret", DENIED),
    ("cat TEMPORARY/secret", DENIED),
    // Memory and queues of the user.
    ("ipcmk -M 16", NOT_PERMITTED),
    ("ipcmk -Q", NOT_PERMITTED),
    ("ipcmk -S 1", NOT_PERMITTED),
    // Ports of both services.
    (
        "curl -sS --fail-with-body http://127.0.0.1:8002/v1/executions",
        "from-the-box",
    ),
    (
        "curl -sS --fail-with-body http://claude-api:8002/metrics",
        "from-the-box",
    ),
    (
        "curl -sS --fail-with-body http://bridge:8003/metrics",
        "from-the-box",
    ),
    (
        "python3 -c 'import socket; socket.create_server((\"0.0.0.0\", 8002))'",
        "Address already in use",
    ),
    // What would configure a later execution.
    ("echo {} >/home/claude/.claude/settings.json", DENIED),
    ("mkdir -p /home/claude/.claude/skills/x", DENIED),
    ("echo x >/home/claude/.bashrc", DENIED),
    ("ls /home/claude/.claude/projects", DENIED),
    ("echo {} >$CLAUDE_CONFIG_DIR/settings.json", DENIED),
    ("mv $CLAUDE_CONFIG_DIR/.claude.json x", DENIED),
];

/// Attaches to a process (ptrace(2), PTRACE_ATTACH is 16).
const PTRACE: &str = "python3 -c 'import ctypes, os, sys; l = ctypes.CDLL(None, use_errno=True); \
    r = l.ptrace(16, int(sys.argv[1]), 0, 0); sys.exit(os.strerror(ctypes.get_errno()) if r else 0)'";

#[tokio::test]
async fn a_thief_gets_nothing() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("walls", &Plan::default()).await;
        let sh = |script: &str| {
            let script = script.to_owned();
            let project = &project;
            async move { project.exec("claude-api", &["sh", "-c", &script]).await }
        };
        sh("mkdir -p /workspace/other && echo hidden >/workspace/other/secret && echo hidden >/dev/shm/secret")
            .await
            .expect("prepared");
        let mut client = project.client().await;
        case.step("nothing is open");
        let (status, ready) = project.http().get("/health/ready").await.expect("an answer");
        assert!(status == 200 && ready["warnings"] == json!([]), "{ready}");
        case.step("a victim in another lane and workspace");
        let mut other = project.client().await;
        let extra = json!({"workspace": "other"});
        let victim = other
            .execute("@bash echo hidden | tee ~/secret >$TMPDIR/secret; sleep 600", extra)
            .await;
        let victim = victim["executionId"].as_str().expect("an id").to_owned();
        let found = cc_tests::composed::until("its tool", Duration::from_secs(30), async || {
            let found = sh("ps -eo pid=,args= | grep -m1 '[s]leep 600' | head -n 1").await.ok()?;
            found.split_whitespace().next().map(str::to_owned)
        })
        .await;
        let temporary = sh("ls -d /tmp/ccb-*/secret").await.expect("the victim's");
        let temporary = temporary.trim().strip_suffix("/secret").expect("a folder");
        case.step("each try");
        let mut through = Vec::new();
        for (attempt, error) in TRIES {
            let attempt = attempt
                .replace("PTRACE", PTRACE)
                .replace("VICTIM", &found)
                .replace("TEMPORARY", temporary);
            let (output, end) = client.run(&format!("@bash {attempt}; echo code $?")).await;
            let said = String::from_utf8_lossy(&output).into_owned();
            let failed = said.contains(error) && !said.contains("hidden") && !said.ends_with("code 0");
            if !failed || end["status"] != "COMPLETED" {
                through.push(format!("{attempt}: {said} {}", end["status"]));
            }
        }
        assert!(through.is_empty(), "these went through, or met another error: {through:#?}");
        case.step("the victim is as it was");
        assert_eq!(project.http().status(&victim).await.expect("known")["state"], "running");
        other.control("CANCEL", Some(&victim)).await.expect("accepted");
        other.wait_terminal(&victim).await;
        case.step("two of one workspace work together");
        let (_, end) = other.run("@bash echo shared >note").await;
        completed(&end);
        let (output, end) = client.run("@bash cat note").await;
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output).trim(), "shared");
        other.finish().await;
        client.finish().await;
        assert_eq!(project.inspect("claude-api", "{{.RestartCount}}").await, "0");
        project.assert_quiet().await;
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
            status == 200 && ready["warnings"][0]["code"] == "walls-open",
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
