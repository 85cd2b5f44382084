//! S10: no field of a client becomes a flag, reaches a shell, or leaves the workspace root.
//! F6: no argument contains the prompt.

use std::{fs, path::PathBuf};

use cc_tests::harness::{Stack, StackOptions};
use serde_json::{Value, json};

use crate::support::{accept, ended, id, parsed, run};

/// Texts that would be dangerous in a shell, as a flag or as a path.
const ATTACKS: [&str; 12] = [
    "--dangerously-skip-permissions",
    "-p",
    "--model=evil --settings=/tmp/evil.json",
    "x; touch PWNED",
    "$(touch PWNED)",
    "`touch PWNED`",
    "x\" && touch PWNED && \"",
    "x' | touch PWNED '",
    "../../../../etc/passwd",
    "%n%s%x",
    "x\u{202e}y",
    "\u{1F600} --verbose",
];

/// Runs an execution; returns the arguments of the stand-in.
async fn arguments(stack: &Stack, extra: Value) -> Vec<String> {
    let (text, status) = run(stack, "@argv", extra.clone()).await;
    assert_eq!(status["state"], "completed", "{extra}: {status}");
    let list = parsed(&text);
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one.as_str().expect("text").to_owned())
        .collect()
}

/// Returns all files under a folder.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            all.extend(files(entry.path()));
        } else {
            all.push(entry.path());
        }
    }
    all
}

#[tokio::test]
async fn s10_a_clients_value_stays_within_one_argument_of_a_known_flag() {
    let stack = Stack::start().await;
    let plain = arguments(&stack, json!({})).await;
    assert!(plain.iter().all(|one| one.starts_with('-')), "{plain:?}");
    assert!(
        plain.contains(&"--setting-sources=user".to_owned()),
        "{plain:?}"
    );
    assert!(
        plain.contains(&"--strict-mcp-config".to_owned()),
        "{plain:?}"
    );
    assert!(
        plain.contains(&"--permission-mode=dontAsk".to_owned()),
        "{plain:?}"
    );
    for (field, flag) in [
        ("model", "model"),
        ("systemPrompt", "system-prompt"),
        ("appendSystemPrompt", "append-system-prompt"),
    ] {
        for attack in ATTACKS {
            let with = arguments(&stack, json!({field: attack})).await;
            let expected = format!("--{flag}={attack}");
            assert!(with.contains(&expected), "{field} {attack:?}: {with:?}");
            assert_eq!(with.len(), plain.len() + 1, "{field} {attack:?}: {with:?}");
        }
    }
    let with = arguments(&stack, json!({"maxTurns": 3, "maxBudgetUsd": 0.5})).await;
    assert!(with.contains(&"--max-turns=3".to_owned()), "{with:?}");
    let pwned = files(stack.path(""));
    assert!(
        !pwned.iter().any(|file| file.ends_with("PWNED")),
        "{pwned:?}"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn s10_tools_and_modes_stay_under_the_ceiling() {
    let options = StackOptions::default()
        .api("--allowed-tools=Edit")
        .api("--tools-ceiling=Edit,Bash(git status)")
        .api("--permission-ceiling=acceptEdits");
    let stack = Stack::with(options).await;
    let http = stack.http();
    for extra in [
        json!({"allowedTools": ["Bash"]}),
        json!({"allowedTools": ["Bash(git status),Bash"]}),
        json!({"allowedTools": ["Edit Bash"]}),
        json!({"allowedTools": ["Edit,Bash"]}),
        json!({"allowedTools": ["Bash(git status) Bash(rm)"]}),
        json!({"allowedTools": ["--dangerously-skip-permissions"]}),
        json!({"allowedTools": ["*"]}),
        json!({"disallowedTools": ["--verbose"]}),
        json!({"permissionMode": "bypassPermissions"}),
        json!({"permissionMode": "--help"}),
    ] {
        let mut body = extra.clone();
        body["prompt"] = "@argv".into();
        let (code, problem) = http.put(&id(), &body).await.expect("an answer");
        assert_eq!(
            (code.as_u16(), &problem["type"]),
            (403, &json!("not-allowed")),
            "{extra}"
        );
    }
    let tool = |list: &[String]| -> Vec<String> {
        list.iter()
            .filter(|one| one.contains("llowedTools") || one.contains("permission-mode"))
            .cloned()
            .collect()
    };
    let given = arguments(&stack, json!({})).await;
    assert_eq!(
        tool(&given),
        ["--permission-mode=dontAsk", "--allowedTools=Edit"]
    );
    let extra = json!({
            "permissionMode": "acceptEdits",
        "allowedTools": ["Bash(git status)"],
        "disallowedTools": ["Write"],
    });
    let given = arguments(&stack, extra).await;
    let mut given = tool(&given);
    given.sort();
    assert_eq!(
        given,
        [
            "--allowedTools=Bash(git status)",
            "--disallowedTools=Write",
            "--permission-mode=acceptEdits"
        ]
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn s10_a_workspace_is_a_name_under_the_root() {
    let stack = Stack::start().await;
    let http = stack.http();
    let long = "a".repeat(65);
    for name in [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "/etc",
        "/",
        "a\\b",
        ".hidden",
        "-rf",
        "--help",
        "_x",
        "a b",
        "a\n",
        "~",
        "$HOME",
        "a;b",
        "\u{e9}",
        "a\u{0}b",
        "%2e%2e",
        long.as_str(),
    ] {
        let body = json!({"prompt": "@cwd", "workspace": name});
        let (code, problem) = http.put(&id(), &body).await.expect("an answer");
        assert_eq!(
            (code.as_u16(), &problem["type"]),
            (400, &json!("invalid-body")),
            "{name:?}"
        );
    }
    let root = stack.path("workspaces").canonicalize().expect("a folder");
    for name in ["default", "a", "A-1_b.c", "x..y", &"a".repeat(64)] {
        let extra = if name == "default" {
            json!({})
        } else {
            json!({"workspace": name})
        };
        let (cwd, status) = run(&stack, "@cwd", extra).await;
        assert_eq!(PathBuf::from(&cwd), root.join(name));
        assert_eq!(status["workspace"], *name);
    }
    // A link that leads elsewhere is no workspace.
    std::os::unix::fs::symlink("/etc", root.join("link")).expect("a link");
    let execution = id();
    accept(&http, &execution, "@cwd", json!({"workspace": "link"})).await;
    let end = ended(&http, &execution).await;
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("failed"), &json!("spawn_failed")),
        "{end}"
    );
    assert_eq!(stack.spawns(&execution), 0);
}

/// By default the text of a workspace's CLAUDE.md reaches the model.
#[tokio::test]
async fn the_operator_decides_which_settings_of_a_repository_the_cli_uses() {
    for (setting, sources, adds, sets) in [
        ("none", "user", false, false),
        ("instructions", "user", true, false),
        ("full", "user,project", false, true),
    ] {
        let options = StackOptions::default()
            .env("CLAUDE_API_REPOSITORY_SETTINGS", setting)
            .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9");
        let stack = Stack::with(options).await;
        let given = arguments(&stack, json!({"workspace": "w"})).await;
        assert!(
            given.contains(&format!("--setting-sources={sources}")),
            "{given:?}"
        );
        let folder = stack.path("workspaces/w").canonicalize().expect("a folder");
        let add = format!("--add-dir={}", folder.display());
        assert_eq!(given.contains(&add), adds, "{setting}: {given:?}");
        let settings = given.iter().find_map(|one| one.strip_prefix("--settings="));
        let settings = parsed(settings.expect("settings"));
        // No execution of this operator may run every command.
        assert_eq!(settings["skillOverrides"]["security-review"], "off");
        assert_eq!(settings["disableAllHooks"] == true, sets, "{setting}");
        assert_eq!(
            settings["disableSkillShellExecution"] == true,
            sets,
            "{setting}"
        );
        if sets {
            for helper in ["apiKeyHelper", "awsAuthRefresh", "proxyAuthHelper"] {
                assert_eq!(settings[helper], "", "{helper}");
            }
            assert_eq!(settings["env"]["ANTHROPIC_BASE_URL"], "http://127.0.0.1:9");
            assert!(
                !settings.to_string().contains("a-key-for-tests"),
                "{settings}"
            );
        }
        let (text, _) = run(&stack, "@env", json!({})).await;
        let name = "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD";
        assert_eq!(parsed(&text)[name] == "1", adds, "{setting}");
        let name = "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST";
        assert_eq!(parsed(&text)[name] == "1", sets, "{setting}");
        stack.assert_quiet();
    }
}
