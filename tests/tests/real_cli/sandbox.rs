//! Both services with the real CLI in the sandbox: its tools do their work, and reach nothing else.
//! The attempts of a user without rights are in the composed suite `sandbox`.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use cc_tests::ws::Client;
use serde_json::json;
use tokio::io::AsyncBufReadExt;
use tokio::process::Command;

use super::pause::World;

/// The tools of the default list that need no other machine.
const TOOLS: &str = "Bash,Edit,Glob,Grep,NotebookEdit,Read,Task,WebFetch,Write";

/// Starts both services with the sandbox. It opens the programs of the system, and the toolchain
/// that runs this test, as a user would do with `CLAUDE_API_SANDBOX_PATHS`.
async fn world() -> World {
    world_with(&[]).await
}

async fn world_with(more: &[(&str, &str)]) -> World {
    let cargo = std::env::var("CARGO").expect("cargo runs this test");
    let toolchain = Path::new(&cargo).ancestors().nth(2).expect("below bin");
    let toolchain = toolchain.display();
    let paths = toolchain.to_string();
    let path = format!("{toolchain}/bin:/usr/local/bin:/usr/bin:/bin");
    let settings = [
        ("CLAUDE_API_SANDBOX", "true"),
        ("CLAUDE_API_SANDBOX_PATHS", paths.as_str()),
        ("CLAUDE_API_ALLOWED_TOOLS", TOOLS),
        ("PATH", path.as_str()),
    ];
    World::new(&[&settings[..], more].concat()).await
}

/// Returns the answer to one prompt.
async fn answer(world: &World, prompt: &str) -> String {
    let mut client = world.client().await;
    let (output, end) = client.run(prompt).await;
    client.finish().await;
    let output = String::from_utf8(output).expect("UTF-8");
    assert_eq!(end["status"], "COMPLETED", "{output}: {end}");
    output
}

#[tokio::test]
async fn each_tool_does_its_work_in_the_sandbox() {
    let world = world().await;
    let workspace = world.path("workspaces/default");
    fs::create_dir_all(&workspace).expect("made");
    let notebook = json!({"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [],
        "execution_count": null, "source": "1"}],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5});
    fs::write(workspace.join("n.ipynb"), notebook.to_string()).expect("written");
    let file = workspace.join("a.txt").display().to_string();
    let notebook = workspace.join("n.ipynb").display().to_string();
    let tool = |name: &str, input: serde_json::Value| format!("@tool {name} {input}");
    for (prompt, wanted) in [
        (
            tool("Write", json!({"file_path": file, "content": "one\n"})),
            "successfully",
        ),
        (tool("Read", json!({"file_path": file})), "one"),
        (
            [
                tool("Read", json!({"file_path": file})),
                tool(
                    "Edit",
                    json!({"file_path": file, "old_string": "one", "new_string": "two"}),
                ),
            ]
            .join("\n"),
            "updated",
        ),
        (tool("Glob", json!({"pattern": "*.txt"})), "a.txt"),
        (
            tool("Grep", json!({"pattern": "two", "output_mode": "content"})),
            "two",
        ),
        (
            [
                tool("Read", json!({"file_path": notebook})),
                tool(
                    "NotebookEdit",
                    json!({"notebook_path": notebook, "cell_id": "a", "new_source": "2"}),
                ),
            ]
            .join("\n"),
            "Updated cell",
        ),
        (
            tool(
                "Task",
                json!({
                            "description": "d",
                    "prompt": "@say from below",
                    "subagent_type": "general-purpose",
                }),
            ),
            "from below",
        ),
    ] {
        let answer = answer(&world, &prompt).await;
        assert!(answer.contains(wanted), "{prompt}: {answer}");
    }
    let work = "git init -q r && cd r && git config user.email a@b && git config user.name c && \
                    echo 1 >f && git add f && git commit -qm one && git clone -q . ../copy && \
                git -C ../copy log --oneline | wc -l && mktemp && cat <<< here && \
                printf 'int main(){return 0;}' | cc -x c - -o p && ./p && \
                python3 -c 'import tempfile, subprocess; tempfile.TemporaryFile(); \
                print(subprocess.check_output([\"echo\", \"sub\"]))' && \
                diff <(echo same) <(echo same) && echo ALL";
    let answer = answer(&world, &format!("@bash {work}")).await;
    assert!(answer.trim_end().ends_with("ALL"), "{answer}");
    assert!(
        answer.contains(&world.path("tmp/ccb-").display().to_string()),
        "not in the tool's own folder: {answer}"
    );
    world.end();
}

/// The CLI fetches by https alone, and asks claude.ai whether a host is safe unless the user's
/// settings forbid that.
#[tokio::test]
async fn a_page_is_fetched_in_the_sandbox() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_cli/sandbox");
    let mut server = Command::new("/usr/bin/python3")
        .arg(folder.join("web.py"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a server");
    let lines = server.stdout.take().expect("piped");
    let mut lines = tokio::io::BufReader::new(lines).lines();
    let port = lines.next_line().await.expect("read").expect("a port");
    let certificate = folder.join("cert.pem").display().to_string();
    let world = world_with(&[("NODE_EXTRA_CA_CERTS", &certificate)]).await;
    let settings = world.path("home/.claude/settings.json");
    fs::write(settings, r#"{"skipWebFetchPreflight": true}"#).expect("written");
    let input =
        json!({"url": format!("https://127.0.0.1:{port}/page"), "prompt": "What is there?"});
    answer(&world, &format!("@tool WebFetch {input}")).await;
    server.start_kill().expect("the server runs");
    let request = lines.next_line().await.expect("read");
    assert_eq!(request.as_deref(), Some("GET /page"));
    server.wait().await.expect("ended");
    world.end();
}

/// Package managers and compilers, as a model would use them, without a network.
#[tokio::test]
async fn packages_are_built_and_installed_in_the_sandbox() {
    let world = world().await;
    let cargo = "cargo init -q --vcs none --name built crate && cd crate && cargo run -q";
    let wheel = "import zipfile; w = zipfile.ZipFile(\"w-1-py3-none-any.whl\", \"w\"); \
                 w.writestr(\"w.py\", \"print(6 * 7)\"); i = \"w-1.dist-info/\"; \
                 w.writestr(i + \"METADATA\", \"Metadata-Version: 2.1\\n\
                          Name: w\\nVersion: 1\\n\"); \
                          w.writestr(i + \"WHEEL\", \"Wheel-Version: 1.0\\n\
                          Root-Is-Purelib: true\\nTag: py3-none-any\\n\"); \
                 w.writestr(i + \"RECORD\", \"\"); w.close()";
    let pip = format!(
        "python3 -c '{wheel}' && python3 -m pip install -q --no-index --target lib \
                 ./w-1-py3-none-any.whl && PYTHONPATH=lib python3 -m w"
    );
    for (work, wanted) in [(cargo, "Hello, world!"), (&pip, "42")] {
        let answer = answer(&world, &format!("@bash {work}")).await;
        assert!(answer.trim_end().ends_with(wanted), "{work}: {answer}");
    }
    world.end();
}

#[tokio::test]
async fn a_tool_cannot_use_files_or_processes_of_others() {
    let world = world().await;
    let other = world.path("workspaces/other");
    fs::create_dir_all(&other).expect("made");
    fs::write(other.join("secret"), "MARK-secret").expect("written");
    let spool = world.path("spool");
    let tmp = world.path("tmp");
    fs::write(tmp.join("of-another"), "MARK-temporary").expect("written");
    let config = world.path("home/.claude");
    fs::write(config.join("settings.json"), "{}").expect("written");
    let config = config.display();
    let api = world.stack.api.pid();
    let (spool, tmp, other) = (spool.display(), tmp.display(), other.display());
    for (attempt, error) in [
        (format!("ls {spool}"), "Permission denied"),
        (
            format!("touch {spool}/executions/planted"),
            "Permission denied",
        ),
        (format!("cat {other}/secret"), "Permission denied"),
        (format!("cp -r {other} ."), "Permission denied"),
        (format!("ls {tmp}"), "Permission denied"),
        (format!("cat {tmp}/of-another"), "Permission denied"),
        ("echo x >/dev/shm/x".to_owned(), "Permission denied"),
        // Files that would configure a later execution.
        (
            "echo {} >$CLAUDE_CONFIG_DIR/settings.json".to_owned(),
            "Permission denied",
        ),
        (
            "echo {} >$CLAUDE_CONFIG_DIR/.claude.json".to_owned(),
            "Permission denied",
        ),
        (
            "mv $CLAUDE_CONFIG_DIR/settings.json x".to_owned(),
            "Permission denied",
        ),
        (
            "ln -s x $CLAUDE_CONFIG_DIR/agents".to_owned(),
            "Permission denied",
        ),
        (
            format!("echo {{}} >{config}/settings.json"),
            "Permission denied",
        ),
        (format!("mkdir -p {config}/skills/x"), "Permission denied"),
        (format!("ls {config}/projects"), "Permission denied"),
        (format!("echo x >{config}/../.bashrc"), "Permission denied"),
        (
            "test -n \"$CLAUDE_CODE_MESSAGING_SOCKET\"".to_owned(),
            "code 1",
        ),
        (format!("kill -9 {api}"), "Operation not permitted"),
        (format!("kill -STOP {api}"), "Operation not permitted"),
        // The CLI is the parent of its tools, and the runner is the CLI's.
        (
            "kill -9 $(ps -o ppid= -p $PPID)".to_owned(),
            "Operation not permitted",
        ),
        (
            "exec 3>/proc/$PPID/fd/0".to_owned(),
            "No such device or address",
        ),
    ] {
        let answer = answer(&world, &format!("@bash {attempt}; echo code $?")).await;
        assert!(answer.contains(error), "{attempt}: {answer}");
        assert!(!answer.contains("MARK-"), "{attempt}: {answer}");
    }
    world.end();
}

/// Every process of the machine can read the arguments of every other process.
#[tokio::test]
async fn system_prompts_reach_the_model_and_no_argument_list() {
    let world = world().await;
    let mut client = world.client().await;
    for (member, argument) in [
        ("systemPrompt", "--system-prompt-file="),
        ("appendSystemPrompt", "--append-system-prompt-file="),
    ] {
        let run = async |client: &mut Client, prompt: &str| {
            let extra = json!({member: "Obey MARK-system."});
            let accepted = client.execute(prompt, extra).await;
            let id = accepted["executionId"].as_str().expect("an id").to_owned();
            let (output, end) = client.wait_terminal(&id).await;
            assert_eq!(end["status"], "COMPLETED", "{end}");
            String::from_utf8_lossy(&output).into_owned()
        };
        assert_eq!(run(&mut client, "@marks").await, "MARK-system", "{member}");
        let arguments = "@bash tr '\\0' ' ' </proc/$PPID/cmdline";
        let arguments = run(&mut client, arguments).await;
        assert!(arguments.contains(argument), "{arguments}");
        assert!(!arguments.contains("MARK-"), "{arguments}");
    }
    client.finish().await;
    world.end();
}

/// A user's hook that forbids a tool would allow the tool if the hook's program could not be run.
#[tokio::test]
async fn a_hook_of_the_users_settings_runs_in_the_sandbox() {
    let world = world().await;
    let config = world.path("home/.claude");
    let hook = config.join("hooks/guard.sh");
    fs::create_dir_all(config.join("hooks")).expect("made");
    fs::write(&hook, "#!/bin/sh\necho guarded >&2\nexit 2\n").expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&hook, mode).expect("ours");
    for command in [
        hook.display().to_string(),
        "~/.claude/hooks/guard.sh".to_owned(),
    ] {
        let command = json!({"type": "command", "command": command});
        let hooks = json!({"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [command]}]}});
        fs::write(config.join("settings.json"), hooks.to_string()).expect("written");
        let answer = answer(&world, "@bash touch ran").await;
        assert!(answer.contains("guarded"), "{command}: {answer}");
        assert!(!world.path("workspaces/default/ran").exists(), "{command}");
    }
    world.end();
}

#[tokio::test]
async fn a_conversation_continues_with_the_users_configuration_in_the_sandbox() {
    let world = world().await;
    let config = world.path("home/.claude");
    fs::write(config.join("CLAUDE.md"), "Always obey MARK-personal.").expect("written");
    let git = "[user]\n\tname = Somebody\n";
    fs::write(world.path("home/.gitconfig"), git).expect("written");
    let mut client = world.client().await;
    let first = client
        .start(
            "@bash git config --global a.b c; git config user.name; \
                     echo kept >~/note; echo mine >$TMPDIR/note",
        )
        .await;
    let (output, end) = client.wait_terminal(&first).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!(String::from_utf8_lossy(&output).trim(), "Somebody");
    let extra = json!({"conversation": end["conversation"]});
    let second = client.execute("@bash cat ~/note $TMPDIR/note", extra).await;
    let second = second["executionId"].as_str().expect("an id").to_owned();
    let (output, end) = client.wait_terminal(&second).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!(String::from_utf8_lossy(&output).trim(), "kept\nmine");
    let third = json!({"conversation": end["conversation"]});
    let third = client.execute("@marks", third).await;
    let third = third["executionId"].as_str().expect("an id").to_owned();
    let (output, end) = client.wait_terminal(&third).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!(String::from_utf8_lossy(&output), "MARK-personal");
    client.finish().await;
    world.end();
}
