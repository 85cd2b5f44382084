//! F10: a deployment without a credential, with an empty, refused or changed one, and at the usage
//! limit; the credential is in the environment, in a file, or mounted. The model accepts only given
//! keys; each test has containers of its own. The modules show what the container `credentials`
//! protects.

mod repository;
mod restarts;
mod thief;

use std::{os::unix::fs::MetadataExt, time::Duration};

use cc_tests::composed::{Plan, Project, Use, case, until};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{assert_ended, run, time};

const LIMIT: Duration = Duration::from_secs(180);
const GOOD: &str = "a-good-key";
/// File in which the CLI keeps its login.
const LOGIN: &str = "/home/claude/.claude/.credentials.json";

/// Returns a login as the CLI writes it.
fn login(token: &str) -> String {
    json!({"claudeAiOauth": {
        "accessToken": token, "refreshToken": "none", "expiresAt": 4_102_444_800_000_u64,
        "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
    }})
    .to_string()
}

/// Waits until `/health/ready` has this code as its only reason, or without a code until it is
/// ready. Returns the page.
async fn readiness(project: &Project, reason: Option<&str>) -> Value {
    let what = reason.unwrap_or("ready");
    until(what, Duration::from_secs(30), async || {
        let (code, body) = project.http().get("/health/ready").await.ok()?;
        let reasons: Vec<_> = body["reasons"]
            .as_array()?
            .iter()
            .map(|one| one["code"].as_str())
            .collect();
        let wanted = match reason {
            None => code == StatusCode::OK && reasons.is_empty(),
            Some(_) => code == StatusCode::SERVICE_UNAVAILABLE && reasons == [reason],
        };
        wanted.then_some(body)
    })
    .await
}

/// Asserts that the containers stay up and name the missing credential and the remedy, and that an
/// execution fails for this reason.
async fn assert_credential_missing(project: &Project) {
    let body = readiness(project, Some("credential-missing")).await;
    let remedy = body["reasons"][0]["remedy"].as_str().unwrap_or_default();
    for word in ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "log in"] {
        assert!(remedy.contains(word), "{remedy}");
    }
    let mut client = project.client().await;
    let (_, end) = client.run("@say no").await;
    assert_ended(&end, "FAILED", Some("auth_failed"));
    client.finish().await;
    for service in ["claude-api", "bridge"] {
        project.wait_healthy(service).await;
        assert_eq!(
            project.inspect(service, "{{.RestartCount}}").await,
            "0",
            "{service}"
        );
    }
}

/// Returns how many requests the model refused.
async fn refused(project: &Project) -> u64 {
    let stats = ["curl", "-sS", "http://scripted-model:8004/stats"];
    let text = project
        .exec("claude-api", &stats)
        .await
        .expect("the model answers");
    let stats: Value = serde_json::from_str(&text).expect("JSON");
    stats["refused"].as_u64().expect("a number")
}

#[tokio::test]
async fn without_a_credential_the_stack_is_up_and_names_the_remedy() {
    case(LIMIT, Use::Own, async |_| {
        let project = Project::up("none", &Plan::default().credential(None, GOOD)).await;
        let set = project
            .exec(
                "claude-api",
                &["sh", "-c", "env | grep -c '^ANTHROPIC_API_KEY=.' || true"],
            )
            .await;
        assert_eq!(set.expect("a count").trim(), "0");
        assert_credential_missing(&project).await;
    })
    .await;
}

/// A credential that is set but empty means the CLI's own login, which may be added later.
#[tokio::test]
async fn an_empty_credential_means_the_clis_own_login() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("empty", &Plan::default().credential(Some(""), GOOD)).await;
        assert_credential_missing(&project).await;
        case.step("a login");
        project.write("claude-api", LOGIN, &login(GOOD)).await;
        readiness(&project, None).await;
        let mut client = project.client().await;
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_credential_is_rotated_by_the_environment() {
    case(LIMIT, Use::Own, async |case| {
        let plan = Plan::default()
            .credential(Some("${A_KEY}"), GOOD)
            .env("A_KEY", "a-bad-key");
        let mut project = Project::up("refused", &plan).await;
        // claude-api does not know yet that the key is bad.
        readiness(&project, None).await;
        let mut client = project.client().await;
        let (_, end) = client.run("@say no").await;
        assert_ended(&end, "FAILED", Some("auth_failed"));
        let message = end["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("ANTHROPIC_API_KEY"), "{message}");
        // The CLI's own few tries, and none of claude-api.
        let tries = refused(&project).await;
        assert!((1..=4).contains(&tries), "{tries} tries");
        assert!(
            end["durationMs"].as_u64().is_some_and(|ms| ms < 60_000),
            "{end}"
        );
        readiness(&project, Some("credential-refused")).await;
        assert_eq!(refused(&project).await, tries, "claude-api retried");
        case.step("a good key, as the operator sets it");
        project.set("A_KEY", GOOD);
        project.compose_up(&[]).await;
        readiness(&project, None).await;
        // Compose stops the services that depend on a recreated one: the client is disconnected
        // with 1012, and reconnects.
        assert_eq!(client.wait_closed().await, 1012);
        let mut client = project.client().await;
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        client.finish().await;
    })
    .await;
}

/// Two logins, one after the other, without a restart.
#[tokio::test]
async fn a_login_is_rotated_without_a_restart() {
    case(LIMIT, Use::Own, async |case| {
        let plan = Plan::default().credential(Some(""), "first,second");
        let project = Project::up("rotated", &plan).await;
        let mut client = project.client().await;
        for (token, good) in [("first", true), ("old", false), ("second", true)] {
            case.step(token);
            project.write("claude-api", LOGIN, &login(token)).await;
            // A changed login is not known to be refused.
            readiness(&project, None).await;
            if good {
                assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
            } else {
                let (_, end) = client.run("@say no").await;
                assert_ended(&end, "FAILED", Some("auth_failed"));
                readiness(&project, Some("credential-refused")).await;
            }
        }
        for service in ["claude-api", "bridge"] {
            assert_eq!(
                project.inspect(service, "{{.RestartCount}}").await,
                "0",
                "{service}"
            );
        }
        client.finish().await;
    })
    .await;
}

/// A secret file of this machine, which a rotation rewrites, without a restart.
#[tokio::test]
async fn a_credential_file_is_rotated_without_a_restart() {
    case(LIMIT, Use::Own, async |case| {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        std::fs::write(&key, "a-bad-key\n").expect("a key");
        let file = "services:\n  credentials:\n    environment:\n      - \
                    ANTHROPIC_API_KEY_FILE=/run/secrets/anthropic_api_key\n";
        let plan = Plan::default()
            .credential(None, GOOD)
            .overlay(file)
            .env("ANTHROPIC_API_KEY_FILE", key.display());
        let project = Project::up("file", &plan).await;
        readiness(&project, None).await;
        let mut client = project.client().await;
        let (_, end) = client.run("@say no").await;
        assert_ended(&end, "FAILED", Some("auth_failed"));
        readiness(&project, Some("credential-refused")).await;
        case.step("a good key in the same file");
        std::fs::write(&key, format!("{GOOD}\n")).expect("a key");
        readiness(&project, None).await;
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        for service in ["credentials", "claude-api"] {
            assert_eq!(project.inspect(service, "{{.RestartCount}}").await, "0");
        }
        client.finish().await;
    })
    .await;
}

/// F18: a folder to work on and a folder with the CLI's login are mounted from this machine. The
/// files written there belong to the caller.
#[tokio::test]
async fn f18_files_in_mounted_folders_belong_to_the_caller() {
    case(LIMIT, Use::Own, async |case| {
        let folder = tempfile::tempdir().expect("a folder");
        let (code, home) = (folder.path().join("code"), folder.path().join("home"));
        std::fs::create_dir_all(home.join(".claude")).expect("a home");
        std::fs::create_dir(&code).expect("a workspace");
        std::fs::write(code.join("given.txt"), "six times seven").expect("a file");
        std::fs::write(home.join(".claude/.credentials.json"), login(GOOD)).expect("a login");
        let (folder_of_cli, login_file) =
            (home.join(".claude"), home.join(".claude/.credentials.json"));
        let (uid, gid) = caller(&[&code, &home, &folder_of_cli, &login_file]);
        let plan = Plan::default()
            .credential(Some(""), GOOD)
            .env("CCB_WORKSPACE", code.display())
            .env("CCB_CLI_HOME", home.display())
            .env("CCB_UID", uid)
            .env("CCB_GID", gid);
        let project = Project::up("mounts", &plan).await;
        readiness(&project, None).await;
        let mut client = project.client().await;
        case.step("the tool reads a file, and writes another beside it");
        let code_of_tool = "text = open('given.txt').read()\n\
            open('made.txt', 'w').write(text + ' is 42')\nprint(len(text))";
        assert_eq!(run(&mut client, code_of_tool).await, "15");
        let made = code.join("made.txt");
        assert_eq!(
            std::fs::read_to_string(&made).expect("made"),
            "six times seven is 42"
        );
        let transcripts = home.join(".claude/projects");
        for path in [made, transcripts] {
            let owner = std::fs::metadata(&path).expect("a file").uid();
            assert_eq!(owner, uid, "{}", path.display());
        }
        client.finish().await;
    })
    .await;
}

/// Returns the ids as which the containers run: this user's, or, for root, those of another user
/// who gets the paths.
fn caller(paths: &[&std::path::Path]) -> (u32, u32) {
    let path = std::fs::metadata(paths[0]).expect("a path");
    if path.uid() != 0 {
        return (path.uid(), path.gid());
    }
    for path in paths {
        std::os::unix::fs::chown(path, Some(12_345), Some(12_346)).expect("root may");
    }
    (12_345, 12_346)
}

#[tokio::test]
async fn a_usage_limit_names_its_reset_and_leaves_the_stack_ready() {
    case(LIMIT, Use::Own, async |case| {
        let plan = Plan::default().credential(Some(""), GOOD);
        let project = Project::up("limit", &plan).await;
        project.write("claude-api", LOGIN, &login(GOOD)).await;
        readiness(&project, None).await;
        let mut client = project.client().await;
        case.step("the limit ends in an hour");
        let (_, end) = client.run("@usage-limit 3600").await;
        assert_ended(&end, "FAILED", Some("usage_limit"));
        let warnings = end["warnings"].as_array().expect("a list");
        let warning = warnings.iter().find(|one| one["code"] == "usage_limit");
        let warning = warning.unwrap_or_else(|| panic!("no warning with the reset time: {end}"));
        let ahead = clock(&time(&warning["data"], "resetsAt")) - clock(&time(&end, "endedAt"));
        let ahead = ahead.rem_euclid(86_400.0);
        assert!(
            (3500.0..=3600.0).contains(&ahead),
            "{ahead} s ahead: {warning}"
        );
        // The limit is no fault of the credential, and the next execution may run.
        readiness(&project, None).await;
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        client.finish().await;
    })
    .await;
}

/// Returns the time of day in seconds.
fn clock(time: &str) -> f64 {
    let clock = time.split_once('T').map_or("", |(_, clock)| clock);
    clock.split(':').fold(0.0, |sum, part| {
        sum * 60.0 + part.parse::<f64>().unwrap_or(f64::NAN)
    })
}
