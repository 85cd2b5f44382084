use std::os::unix::fs::PermissionsExt;

use clap::Parser;

use super::*;
use crate::config::Cli;

fn policy(dir: &Path, home: &str, spool: &str) -> Result<Option<Policy>, String> {
    policy_with(dir, home, spool, &[])
}

fn policy_with(
    dir: &Path,
    home: &str,
    spool: &str,
    flags: &[String],
) -> Result<Option<Policy>, String> {
    let below = |name: &str| dir.join(name).display().to_string();
    std::fs::create_dir_all(dir.join(home)).unwrap();
    let fixed = [
        "claude-api".to_owned(),
        "--sandbox=true".to_owned(),
        format!("--spool-dir={}", below(spool)),
        format!("--workspace-root={}", below("workspaces")),
    ];
    let cli = Cli::parse_from(fixed.iter().chain(flags));
    let variables = [
        ("HOME", below(home)),
        ("TMPDIR", below("tmp")),
        ("PATH", "/usr/bin:relative:/opt/tools".to_owned()),
        ("SSL_CERT_FILE", "/certificates/own.pem".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    Policy::new(&cli.serve, &Arc::new(Environment::new(variables, &[])))
}

#[test]
fn an_execution_gets_the_system_its_workspace_its_home_and_its_own_folders() {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(dir.path(), "home", "spool").unwrap().unwrap();
    let workspace = dir.path().join("workspaces/shop");
    let ExecutionSandbox {
        sandbox, variables, ..
    } = policy
        .prepare(&workspace, None, "shop", "one", false)
        .unwrap();
    let temporary = policy.temporary.create("one").unwrap().temporary.clone();
    let private = temporary.with_added_extension("private");
    for path in ["/usr", "/opt/tools", "/certificates/own.pem"] {
        assert!(sandbox.read_only.contains(&path.into()), "{path}");
    }
    assert!(!sandbox.read_only.contains(&"relative".into()));
    let own = [
        workspace,
        temporary.clone(),
        dir.path().join("home/.workspace-homes/shop"),
        dir.path().join("home/.claude/projects/one"),
        private.join("shell-snapshots"),
        private.join("session-env"),
        private.join("plans"),
    ];
    let open: Vec<_> = sandbox
        .read_write
        .into_iter()
        .filter(|path| !path.starts_with("/dev"))
        .collect();
    assert_eq!(open, own);
    assert!(variables.contains(&("TMPDIR".to_owned(), temporary.display().to_string())));
    let mode = std::fs::metadata(temporary).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_login_is_outside_the_sandbox_if_there_is_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut policy = policy(dir.path(), "home", "spool").unwrap().unwrap();
    let configured = dir.path().join("home/.claude");
    std::fs::create_dir_all(&configured).unwrap();
    for name in [".credentials.json", "CLAUDE.md"] {
        std::fs::write(configured.join(name), "{\"x\":1}").unwrap();
    }
    let home = dir.path().join("home").display().to_string();
    let variables = [("HOME", home.as_str()), ("ANTHROPIC_API_KEY", "sk")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    policy.environment = Arc::new(Environment::new(variables, &[]));
    let prepared = policy
        .prepare(dir.path(), None, "shop", "one", false)
        .unwrap();
    let private = prepared.folders.private.clone();
    assert!(private.join("CLAUDE.md").exists());
    assert!(!private.join(".credentials.json").exists());
    assert!(
        prepared
            .sandbox
            .read_only
            .contains(&configured.join("CLAUDE.md"))
    );
    assert!(
        !prepared
            .sandbox
            .read_only
            .contains(&configured.join(".credentials.json"))
    );
    assert!(!prepared.sandbox.read_write.contains(&configured));
}

#[test]
fn a_sandbox_with_a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (home, spool, named) in [
        ("home", "home/data/spool", "home/data/spool"),
        (".", "spool", "spool"),
    ] {
        let refused = policy(dir.path(), home, spool).unwrap_err();
        assert!(refused.contains(named), "{refused}");
        assert!(refused.starts_with("--sandbox: the spool"), "{refused}");
    }
}

#[test]
fn headers_of_the_collector_that_tools_may_read_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = |path: &Path| [format!("--otlp-headers-file={}", path.display())];
    let secret = dir.path().join("secret/headers");
    assert!(policy_with(dir.path(), "home", "spool", &file(&secret)).is_ok());
    std::fs::create_dir(dir.path().join("workspaces")).unwrap();
    for open in [
        Path::new("/etc/headers"),
        &dir.path().join("home/headers"),
        &dir.path().join("workspaces/headers"),
    ] {
        let refused = policy_with(dir.path(), "home", "spool", &file(open)).unwrap_err();
        assert!(
            refused.contains("CLAUDE_API_OTLP_HEADERS_FILE"),
            "{refused}"
        );
    }
}

#[test]
fn a_transcript_moves_into_the_sandbox_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("home/.claude/projects/-workspace-shop");
    std::fs::create_dir_all(&project).unwrap();
    let outside = project.join("one.jsonl");
    std::fs::write(&outside, "{}\n").unwrap();
    let home = dir.path().join("home").display().to_string();
    let key = [("HOME", home.as_str()), ("ANTHROPIC_API_KEY", "sk")];
    let key = key.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut policy = policy(dir.path(), "home", "spool").unwrap().unwrap();
    policy.environment = Arc::new(Environment::new(key, &[]));
    policy
        .prepare(dir.path(), None, "shop", "one", false)
        .unwrap();
    let kept = dir.path().join("home/.claude/projects/one");
    let inside = kept.join("-workspace-shop/one.jsonl");
    assert!(inside.is_file() && !outside.exists());
    // A tool created links and folders there.
    std::os::unix::fs::symlink("/etc/passwd", kept.join("-link")).unwrap();
    std::fs::create_dir(kept.join("-other")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", kept.join("-other/one.jsonl")).unwrap();
    let config = dir.path().join("home/.claude");
    restore_transcript(&config, "one").unwrap();
    assert!(outside.is_file() && !inside.exists());
    assert!(!config.join("projects/-other").exists());
    restore_transcript(&config, "unknown").unwrap();
}

#[test]
fn every_missing_protection_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let listed = |flags: &str| {
        let fixed = ["claude-api", "--claude-bin=/bin/sh"].into_iter();
        let cli = Cli::parse_from(fixed.chain(flags.split(' ')));
        let home = ("HOME".to_owned(), dir.path().display().to_string());
        let open = warnings(&cli.serve, Environment::new([home], &[]).uses_login());
        open.into_iter().map(|open| open.code).collect::<Vec<_>>()
    };
    assert_eq!(listed("--sandbox=no"), ["sandbox-off"]);
    // The test program is not PID 1 of a container, and is readable, as /bin/sh is.
    let usual = [
        "sandbox-not-pid-1",
        "sandbox-program-readable",
        "sandbox-program-readable",
    ];
    assert_eq!(listed("--sandbox"), usual);
    assert_eq!(
        listed("--sandbox --sandbox-paths=,/usr,/nowhere"),
        [&usual[..], &["sandbox-path-missing"]].concat()
    );
    std::fs::create_dir(dir.path().join(".claude")).unwrap();
    std::fs::write(dir.path().join(".claude/.credentials.json"), "{\"x\":1}").unwrap();
    assert_eq!(
        listed("--sandbox=true"),
        [&["sandbox-login"][..], &usual].concat()
    );
}
