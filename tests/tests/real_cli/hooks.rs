//! Both services with the real CLI: hooks before and after an execution.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use cc_tests::harness::eventually;
use serde_json::{Value, json};

use super::{PATIENCE, pause::World};

fn hook(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
    path
}

/// The JSON that a hook moved to this place.
async fn written(path: &Path) -> Value {
    let read = || fs::read_to_string(path).ok();
    let patience: Duration = PATIENCE;
    let text = eventually(&path.display().to_string(), patience, read).await;
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn hooks_run_before_and_after_the_real_cli_and_a_refusal_starts_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let end = folder.path().join("end");
    let before = "echo from the hook >made-before; ! grep -q '\"refuse\":\"yes\"'";
    let before = hook(folder.path(), "before", before);
    let after = format!("cat >{0}.new; mv {0}.new {0}", end.display());
    let after = hook(folder.path(), "after", &after);
    let world = World::new(&[
        ("CLAUDE_API_HOOK_BEFORE", &before.to_string_lossy()),
        ("CLAUDE_API_HOOK_BEFORE_MODE", "required"),
        ("CLAUDE_API_HOOK_AFTER", &after.to_string_lossy()),
        ("CLAUDE_API_HOOK_AFTER_MODE", "required"),
    ])
    .await;
    let mut client = world.client().await;

    let (output, status) = client.run("@bash cat made-before").await;
    let output = String::from_utf8_lossy(&output);
    assert_eq!(status["status"], "COMPLETED", "{status}");
    assert!(output.contains("from the hook"), "{output}");
    let seen = written(&end).await;
    assert_eq!(
        (&seen["executionId"], &seen["state"]),
        (&status["executionId"], &json!("completed")),
        "{seen}"
    );

    fs::remove_file(&end).expect("removed");
    let asked = world.requests().await;
    let extra = json!({"metadata": {"refuse": "yes"}});
    let accepted = client.execute("@say never", extra).await;
    let id = accepted["executionId"].as_str().expect("an id").to_owned();
    let (output, status) = client.wait_terminal(&id).await;
    assert_eq!(
        (&status["status"], &status["reason"], &output[..]),
        (&json!("FAILED"), &json!("hook_refused"), &b""[..]),
        "{status}"
    );
    assert_eq!(world.requests().await, asked, "the model was asked");
    assert_eq!(written(&end).await["reason"], "hook_refused");
    client.finish().await;
    world.end();
}
