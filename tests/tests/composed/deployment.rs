//! Choices of an operator: the user, the time zone, the workspace, more tools. Also the frequency
//! of health checks.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cc_tests::composed::{Documented, Plan, Project, Use, case, until};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::run;

const LIMIT: Duration = Duration::from_secs(180);
/// The time limit of a build, which downloads Debian packages.
const BUILD: Duration = Duration::from_secs(420);

fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the crate lies in the repository")
}

/// Runs a program that must succeed within `limit`; returns its standard output.
async fn output(command: &mut Command, stdin: &str, limit: Duration) -> String {
    let name = format!("{:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    let whole = async {
        input.write_all(stdin.as_bytes()).await.ok();
        drop(input);
        child.wait_with_output().await
    };
    let output = timeout(limit, whole).await;
    let output = output.unwrap_or_else(|_| panic!("{name} takes longer than {limit:?}"));
    let output = output.expect("the program ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name}: {stdout}{stderr}");
    stdout
}

/// Any user has a name, and the time zone is the one that was set.
#[tokio::test]
async fn any_user_has_a_name_and_the_time_zone_is_passed() {
    case(LIMIT, Use::Own, async |_| {
        let plan = Plan::default()
            .env("CCB_UID", 4242)
            .env("CCB_GID", 4243)
            .env("TZ", "Asia/Tokyo");
        let project = Project::up("user", &plan).await;
        let mut client = project.client().await;
        let prompt = "import os, pwd, subprocess\n\
            print(os.getuid(), pwd.getpwuid(os.getuid()).pw_name, \
            subprocess.getoutput('whoami; id -gn'))\n\
            print(*(os.environ[name] for name in ('USER', 'LOGNAME', 'HOME')))\n\
            print(subprocess.getoutput('date +%Z'))\n";
        let printed = run(&mut client, prompt).await;
        assert_eq!(
            printed,
            "4242 claude claude\nclaude\nclaude claude /home/claude/.workspace-homes/default\nJST"
        );
        client.finish().await;
        let shell = "whoami; echo $USER $LOGNAME $HOME";
        let printed = project.exec("claude-api", &["sh", "-c", shell]).await;
        assert_eq!(
            printed.expect("a shell"),
            "claude\nclaude claude /home/claude\n"
        );
    })
    .await;
}

/// Creates a repository with a linked worktree, for a user that is not root. Returns the folder,
/// the worktree and the user's ids.
async fn linked_worktree() -> (tempfile::TempDir, PathBuf, (u32, u32)) {
    let folder = tempfile::tempdir().expect("a folder");
    let git = async |words: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(folder.path());
        command.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]);
        output(command.args(words), "", LIMIT).await
    };
    git(&["init", "-q", "main"]).await;
    git(&["-C", "main", "commit", "-q", "--allow-empty", "-m", "one"]).await;
    git(&["-C", "main", "worktree", "add", "-q", "../linked"]).await;
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let mut ids = (uid.as_raw(), gid.as_raw());
    if uid.is_root() {
        ids = (10001, 10001);
        let mut command = Command::new("chown");
        command.args(["-R", "10001:10001"]).arg(folder.path());
        output(&mut command, "", LIMIT).await;
    }
    let linked = folder.path().join("linked");
    (folder, linked, ids)
}

/// Git works in a linked worktree through the mounts that `scripts/up` adds.
#[tokio::test]
async fn git_works_in_a_linked_worktree() {
    case(LIMIT, Use::Own, async |_| {
        let (_folder, linked, (uid, gid)) = linked_worktree().await;
        let mut script = Command::new("bash");
        script
            .args([
                "-c",
                ". scripts/lib/common.sh; . scripts/lib/stack.sh; git_mounts",
            ])
            .current_dir(root())
            .env("CCB_ENV_FILE", "none")
            .env("CCB_WORKSPACE", &linked);
        let mounts = output(&mut script, "", LIMIT).await;
        let plan = Plan::default()
            .overlay(mounts)
            .env("CCB_WORKSPACE", linked.display())
            .env("CCB_UID", uid)
            .env("CCB_GID", gid);
        let project = Project::up("worktree", &plan).await;
        let mut client = project.client().await;
        let prompt = "import subprocess\n\
            print(subprocess.getoutput('git -c user.name=x -c user.email=x@example.org commit -q \
            --allow-empty -m two; \
            git worktree prune; git log --format=%s; git status --short --branch'))\n";
        assert_eq!(run(&mut client, prompt).await, "two\none\n## linked");
        client.finish().await;
    })
    .await;
}

/// An image that is removed on drop; its containers must be gone by then.
struct Removed<'a>(&'a str);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("docker");
        // An image that was never built needs no removal.
        let _ = command.args(["image", "rm", self.0]).output();
    }
}

/// The documented Dockerfile adds a toolchain, and the documented override uses it.
#[tokio::test]
async fn a_dockerfile_on_top_of_the_image_adds_tools() {
    case(LIMIT + BUILD, Use::Own, async |_| {
        let dockerfile = Documented::ToolsDockerfile.text();
        assert_eq!(dockerfile.lines().count(), 6, "{dockerfile}");
        let or = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.into());
        let name = format!("{}/claude-api", or("CCB_IMAGES", "cc-bridge"));
        let base = format!("FROM {name}:{}\n", or("CCB_TAG", "local"));
        let dockerfile = dockerfile.replace("FROM cc-bridge/claude-api:local\n", &base);
        assert!(dockerfile.starts_with(&base), "{dockerfile}");
        let image = format!("{name}:tools-{}", std::process::id());
        let _removed = Removed(&image);
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "-t", &image, "-"]);
        output(&mut build, &dockerfile, BUILD).await;
        let overlay = Documented::ToolsOverride.text();
        let overlay = overlay.replace("cc-bridge/claude-api:tools", &image);
        assert!(overlay.contains(&image), "{overlay}");
        let project = Project::up("tools", &Plan::default().overlay(overlay)).await;
        let mut client = project.client().await;
        let prompt = "import shutil, subprocess\n\
            print([n for n in ('make', 'node', 'ssh', 'pip', 'rg', 'whoami') \
            if not shutil.which(n)])\n\
            print(subprocess.getoutput('make --version').split()[0], \
            subprocess.getoutput('whoami'))\n";
        let printed = run(&mut client, prompt).await;
        assert_eq!(printed, "[]\nGNU claude");
        client.finish().await;
    })
    .await;
}

/// With the documented networks only `credentials` reaches the model, and the tools reach nothing
/// outside.
#[tokio::test]
async fn the_tools_need_no_network_but_the_inner_one() {
    case(LIMIT, Use::Own, async |_| {
        let networks = Documented::Networks.text();
        let model = "services:\n  scripted-model:\n    networks: !override [outer]\n";
        let plan = Plan::default().overlay(networks).overlay(model);
        let project = Project::up("internal", &plan).await;
        let mut client = project.client().await;
        let prompt = "import subprocess\n\
            print([subprocess.run(['curl', '-sS', '--max-time', '3', url], capture_output=True)\
            .returncode != 0 for url in \
            ('http://scripted-model:8004/health', 'http://192.0.2.1/')])";
        assert_eq!(run(&mut client, prompt).await, "[True, True]");
        client.finish().await;
    })
    .await;
}

/// Returns the times of the last five starts of a container's healthcheck.
async fn checks(project: &Project, service: &str) -> HashSet<String> {
    let log = "{{range .State.Health.Log}}{{println .Start}}{{end}}";
    let starts = project.inspect(service, log).await;
    let starts = starts.lines().filter(|line| !line.trim().is_empty());
    starts.map(str::to_owned).collect()
}

/// The healthcheck of a healthy container is started seldom; a change is reported within seconds.
#[tokio::test]
async fn a_healthy_container_is_checked_seldom_and_a_sick_one_is_reported() {
    case(LIMIT, Use::Own, async |_| {
        let project = Project::up("health", &Plan::default()).await;
        // A check was once started every 2 s.
        let mut earlier = Vec::new();
        for service in ["claude-api", "bridge", "credentials", "scripted-model"] {
            let checks = checks(&project, service).await;
            assert!(!checks.is_empty(), "{service} was not checked");
            earlier.push((service, checks));
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
        for (service, earlier) in earlier {
            let checks = checks(&project, service).await;
            let new = checks.difference(&earlier).count();
            assert!(new <= 1, "{service} was checked {new} times in 15 s");
        }
        // Docker signals from outside: no process in the container can stop the service.
        let container = project.container("claude-api");
        let signal = async |signal: &str| {
            let mut docker = Command::new("docker");
            docker.args(["kill", "--signal", signal, &container]);
            output(&mut docker, "", LIMIT).await;
        };
        let becomes = async |health: &str| {
            until(health, Duration::from_secs(50), async || {
                let state = project
                    .inspect("claude-api", "{{.State.Health.Status}}")
                    .await;
                (state.trim() == health).then_some(())
            })
            .await;
        };
        signal("STOP").await;
        becomes("unhealthy").await;
        signal("CONT").await;
        becomes("healthy").await;
    })
    .await;
}
