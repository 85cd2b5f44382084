//! Tests of start, output and end.

use std::fs;

use runner::{Event, Runners, Spec};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    support::{
        LONG, python, runners, runners_with_wrapper, scratch, shell, spec, start, start_with,
        state, wait_until,
    },
    tests,
};

tests![
    exit_codes_and_signals_are_reported_separately,
    stdin_is_passed_on_with_its_end,
    a_large_prompt_is_written_while_output_is_read,
    the_cli_has_only_the_given_environment_and_descriptors,
    a_spec_of_900_kilobytes_is_accepted,
    spawn_failures_name_the_missing_part,
    an_inaccessible_directory_is_named_with_its_owner,
    a_shortage_at_the_start_of_the_cli_is_retried,
    a_program_open_for_writing_starts_once_it_is_closed,
    a_lasting_shortage_and_a_terminate_end_the_retries,
    a_failed_start_of_a_runner_returns_the_systems_error,
    stderr_of_ten_megabytes_with_a_long_line_is_read,
    orphans_are_reaped_while_the_cli_runs,
    the_final_drain_ends_while_a_grandchild_writes,
    a_cli_that_closes_its_output_gives_end_of_file,
    the_cli_is_preferred_by_the_oom_killer,
];

async fn exit_codes_and_signals_are_reported_separately() {
    for code in [0, 1, 42, 255] {
        let mut run = shell(&format!("exit {code}")).await;
        run.spawned().await;
        let end = run.end().await;
        assert_eq!((end.code, end.signal, end.killed), (Some(code), None, 0));
        assert!(end.unkillable.is_empty());
    }
    for signal in ["KILL", "TERM", "SEGV"] {
        let mut run = shell(&format!("ulimit -c 0; kill -{signal} $$")).await;
        run.spawned().await;
        let end = run.end().await;
        let number = match signal {
            "KILL" => 9,
            "TERM" => 15,
            _ => 11,
        };
        assert_eq!((end.code, end.signal), (None, Some(number)));
    }
}

async fn stdin_is_passed_on_with_its_end() {
    let mut run = shell("cat; echo end").await;
    run.spawned().await;
    run.stdin
        .as_mut()
        .expect("open")
        .write_all(b"a prompt\n")
        .await
        .expect("written");
    let end = run.end().await;
    assert_eq!(String::from_utf8_lossy(&end.stdout), "a prompt\nend\n");
}

async fn a_large_prompt_is_written_while_output_is_read() {
    let prompt: Vec<u8> = (0..4_u32 << 20).map(|index| (index % 251) as u8).collect();
    let mut run = start(spec("cat", &[])).await;
    run.spawned().await;
    let mut stdin = run.stdin.take().expect("open");
    let sent = prompt.clone();
    let writer = tokio::spawn(async move { stdin.write_all(&sent).await });
    let end = run.end().await;
    writer.await.expect("no panic").expect("written");
    assert!(end.stdout == prompt, "{} bytes came back", end.stdout.len());
}

async fn the_cli_has_only_the_given_environment_and_descriptors() {
    let dir = scratch();
    let program = r#"
import os, sys
fds = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
print(sorted(dict(os.environb).items()), os.getcwd(), os.getpgrp() == os.getpid(),
      sorted(fds, key=int), sep="\n", flush=True)
sys.stdin.read()
"#;
    let mut spec = spec("python3", &["-c", program]);
    spec.env = vec![
        ("ONLY".into(), "this".into()),
        ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
    ];
    spec.cwd = dir.path().into();
    let mut run = start(spec).await;
    run.spawned().await;
    // Root can read this file, so it must be empty: the spec was sent by the socket.
    let environment =
        fs::read(format!("/proc/{}/environ", run.control.runner_pid())).unwrap_or_default();
    let end = run.end().await;
    let text = String::from_utf8_lossy(&end.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    // Python itself sets LC_CTYPE without a locale.
    let variables = lines[0].replace("(b'LC_CTYPE', b'C.UTF-8'), ", "");
    assert_eq!(
        variables,
        "[(b'ONLY', b'this'), (b'PATH', b'/usr/local/bin:/usr/bin:/bin')]"
    );
    assert_eq!(lines[1], dir.path().to_str().expect("plain"));
    assert_eq!(lines[2], "True", "the CLI has its own process group");
    // Descriptors that the test program inherited without close-on-exec stay open.
    let expected: Vec<_> = inherited()
        .into_iter()
        .map(|fd| format!("'{fd}'"))
        .collect();
    assert_eq!(
        lines[3],
        format!("[{}]", expected.join(", ")),
        "the CLI has no descriptor of the services"
    );
    assert!(environment.is_empty(), "{environment:?}");
}

/// Lists the standard three descriptors and those that this process has open without close-on-exec.
fn inherited() -> Vec<u32> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let kept = |fd: u32| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags
            .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
            .is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
    };
    let open = fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .flatten();
    let mut inherited: Vec<u32> = open
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd <= 2 || kept(*fd))
        .collect();
    inherited.sort_unstable();
    inherited
}

async fn a_spec_of_900_kilobytes_is_accepted() {
    let long = "x".repeat(100_000);
    let mut args = vec!["-c", "printf %s $#:${#9}", "name"];
    args.extend(std::iter::repeat_n(long.as_str(), 9));
    let mut run = start(spec("bash", &args)).await;
    run.spawned().await;
    assert_eq!(run.end().await.stdout, b"9:100000");
}

async fn spawn_failures_name_the_missing_part() {
    let dir = scratch();
    let script = dir.path().join("script");
    fs::write(&script, "#!/nowhere/interpreter\n").expect("written");
    let plain = dir.path().join("plain");
    fs::write(&plain, "text").expect("written");
    make_executable(&script);
    let missing = dir.path().join("missing");
    let cases: [(Spec, &[&str]); 5] = [
        (
            spec("/nowhere/claude", &[]),
            &["/nowhere/claude", "No such file"],
        ),
        (
            spec("no-such-program", &[]),
            &["no-such-program", "No such file"],
        ),
        (
            Spec {
                cwd: missing.clone(),
                ..spec("true", &[])
            },
            &[
                "working directory",
                missing.to_str().expect("plain"),
                "No such file",
            ],
        ),
        (
            spec(plain.to_str().expect("plain"), &[]),
            &["plain", "ermission denied"],
        ),
        (
            spec(script.to_str().expect("plain"), &[]),
            &["script", "interpreter"],
        ),
    ];
    for (spec, wanted) in cases {
        let mut run = start(spec).await;
        let Some(Event::SpawnFailed { message }) = run.next().await else {
            panic!("the program must not start")
        };
        assert!(
            wanted.iter().all(|part| message.contains(part)),
            "{message} lacks a part of {wanted:?}"
        );
        assert_eq!(run.next().await, None, "SpawnFailed is the last event");
        assert_eq!(
            timeout(LONG, run.stdout)
                .await
                .expect("end of file")
                .expect("read"),
            b""
        );
    }
}

/// The error is about the directory, not about the program.
async fn an_inaccessible_directory_is_named_with_its_owner() {
    let dir = scratch();
    let (closed, below) = (dir.path().join("closed"), dir.path().join("closed/below"));
    fs::create_dir_all(&below).expect("made");
    let mode = |path: &std::path::Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, mode).expect("ours");
    };
    mode(dir.path(), 0o755);
    // Root can enter every folder, so the runner becomes another user.
    let runners = if rustix::process::geteuid().is_root() {
        mode(&closed, 0o700);
        let wrapper = "exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$@\"";
        runners_with_wrapper(dir.path(), wrapper)
    } else {
        mode(&closed, 0o000);
        runners()
    };
    let owner = format!("user {}", rustix::process::geteuid().as_raw());
    for cwd in [&closed, &below] {
        let spec = Spec {
            cwd: cwd.clone(),
            ..spec("true", &[])
        };
        let mut run = start_with(&runners, spec).await;
        let event = run.next().await;
        let Some(Event::SpawnFailed { message }) = event else {
            panic!("the program must not start: {event:?}")
        };
        let wanted = [
            "working directory",
            closed.to_str().expect("plain"),
            &owner,
            "may not enter",
        ];
        for part in wanted {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        assert!(!message.contains("cannot start true: Permission denied"));
    }
    mode(&closed, 0o700);
}

/// Enough descriptors for the runner's own work, and none for the pipe that a start needs.
const FEW_DESCRIPTORS: &str = "ulimit -n 8; exec \"$@\"";

fn give_descriptors(runner: u32) {
    let given = std::process::Command::new("prlimit")
        .args(["--pid", &runner.to_string(), "--nofile=64:64"])
        .status()
        .expect("prlimit exists");
    assert!(given.success());
}

/// A shortage is temporary, so it must not be reported as `spawn_failed` immediately.
async fn a_shortage_at_the_start_of_the_cli_is_retried() {
    let dir = scratch();
    // Lower only the soft limit, so that it can be raised again.
    let runners = runners_with_wrapper(dir.path(), &FEW_DESCRIPTORS.replace("-n", "-S -n"));
    let mut run = start_with(&runners, spec("bash", &["-c", "exit 7"])).await;
    let event = run.next().await;
    assert!(
        matches!(&event, Some(Event::Warning { code, message })
            if code == "start_delayed" && message.contains("Too many open files")),
        "{event:?}"
    );
    give_descriptors(run.control.runner_pid());
    run.spawned().await;
    assert_eq!(run.end().await.code, Some(7));
}

async fn a_lasting_shortage_and_a_terminate_end_the_retries() {
    let dir = scratch();
    let runners = runners_with_wrapper(dir.path(), FEW_DESCRIPTORS);
    for terminated in [false, true] {
        let mut spec = spec("true", &[]);
        if !terminated {
            spec.start_patience = std::time::Duration::from_millis(300);
        }
        let mut run = start_with(&runners, spec).await;
        let first = run.next().await;
        assert!(matches!(first, Some(Event::Warning { .. })), "{first:?}");
        if terminated {
            run.control.terminate(std::time::Duration::ZERO);
            run.signalled(runner::Action::Terminate).await;
        }
        let last = run.next().await;
        let Some(Event::SpawnFailed { message }) = &last else {
            panic!("{last:?}")
        };
        let words = [
            "Too many open files",
            if terminated { "retried" } else { "limit" },
        ];
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert_eq!(run.next().await, None);
    }
}

async fn a_program_open_for_writing_starts_once_it_is_closed() {
    let dir = scratch();
    let program = dir.path().join("program");
    fs::write(&program, "#!/bin/sh\nexit 7\n").expect("written");
    make_executable(&program);
    let open = fs::OpenOptions::new().append(true).open(&program);
    let open = open.expect("opened");
    let program = program.to_str().expect("UTF-8");
    let mut run = start(spec(program, &[])).await;
    let event = run.next().await;
    assert!(
        matches!(&event, Some(Event::Warning { code, message })
            if code == "start_delayed" && message.contains("Text file busy")),
        "{event:?}"
    );
    drop(open);
    run.spawned().await;
    assert_eq!(run.end().await.code, Some(7));
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

async fn a_failed_start_of_a_runner_returns_the_systems_error() {
    // The caller must be able to distinguish a temporary shortage from other errors.
    let runners = Runners::new("/nonexistent/runner".into());
    let error = runners.start(spec("true", &[])).await.expect_err("none");
    let missing = rustix::io::Errno::NOENT.raw_os_error();
    assert_eq!(error.raw_os_error(), Some(missing), "{error}");
}

async fn stderr_of_ten_megabytes_with_a_long_line_is_read() {
    let dir = scratch();
    let program = "import sys\n\
                   for i in range(9 * 1024): sys.stderr.write('e' * 1023 + '\\n')\n\
                   sys.stderr.write('E' * 1048576)\n\
                   print('out')";
    let mut run = python(program, dir.path(), &[]).await;
    run.spawned().await;
    let end = run.end().await;
    assert_eq!((end.code, end.stderr.len()), (Some(0), 10 << 20));
    assert_eq!(end.stdout, b"out\n");
}

async fn orphans_are_reaped_while_the_cli_runs() {
    let dir = scratch();
    let program = r#"
import os, sys, time
for i in range(50):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(f"{sys.argv[1]}/pid.{os.getpid()}", "w").close()
            os._exit(0)
        os._exit(0)
    os.wait()
open(f"{sys.argv[1]}/ready", "w").close()
time.sleep(600)
"#;
    let mut run = python(program, dir.path(), &[]).await;
    let cli = run.spawned().await;
    let runner = run.control.runner_pid();
    wait_until("the program is ready", || dir.path().join("ready").exists()).await;
    wait_until("all 50 orphans were reaped", || {
        crate::support::children(runner)
            .iter()
            .all(|(pid, _)| *pid == cli)
            && crate::support::pids(dir.path()).len() == 50
            && crate::support::pids(dir.path())
                .iter()
                .all(|pid| state(*pid).is_none())
    })
    .await;
    run.control.kill();
    let end = run.end().await;
    assert_eq!((end.signal, end.killed), (Some(9), 0));
}

async fn the_final_drain_ends_while_a_grandchild_writes() {
    // Exited does not wait for the writer, and stdout is not read before Exited.
    let mut handle = runners()
        .start(spec(
            "bash",
            &[
                "-c",
                "printf 12345; (while :; do printf y || exit; done) & disown; exit 7",
            ],
        ))
        .await
        .expect("started");
    loop {
        match timeout(LONG, handle.events.next()).await.expect("an event") {
            Some(Event::Exited { code, .. }) => break assert_eq!(code, Some(7)),
            Some(_) => {}
            None => panic!("the runner died"),
        }
    }
    let mut all = Vec::new();
    let drained = handle
        .stdout
        .drain_available(|bytes| all.extend_from_slice(bytes))
        .expect("read");
    assert!(all.starts_with(b"12345") && drained.bytes == all.len() as u64);
    // After the sweep, the pipe is at end of file.
    while timeout(LONG, handle.events.next())
        .await
        .expect("an event")
        .is_some()
    {}
    let last = handle.stdout.drain_available(|_| {}).expect("read");
    assert!(last.end_of_file, "{last:?}");
    assert_eq!(handle.stdout.read(&mut [0; 16]).await.expect("read"), 0);
}

async fn a_cli_that_closes_its_output_gives_end_of_file() {
    let mut run = shell("echo last; exec >&- 2>&-; read line; exit 9").await;
    run.spawned().await;
    // The CLI and the runner still run, and neither may hold the write ends.
    let stdout = timeout(LONG, &mut run.stdout)
        .await
        .expect("end of file")
        .expect("read");
    let stderr = timeout(LONG, &mut run.stderr)
        .await
        .expect("end of file")
        .expect("read");
    assert_eq!(
        (stdout.as_slice(), stderr.as_slice()),
        (b"last\n".as_slice(), b"".as_slice())
    );
    drop(run.stdin.take());
    assert_eq!(
        run.next().await,
        Some(Event::Exited {
            code: Some(9),
            signal: None
        })
    );
    assert!(matches!(
        run.next().await,
        Some(Event::Done { code: Some(9), .. })
    ));
    assert_eq!(run.next().await, None);
}

async fn the_cli_is_preferred_by_the_oom_killer() {
    let mut run = shell("read line; cat /proc/self/oom_score_adj").await;
    run.spawned().await;
    // The adjustment is made before Spawned is sent, and children inherit it.
    run.stdin
        .as_mut()
        .expect("open")
        .write_all(b"go\n")
        .await
        .expect("written");
    let own = fs::read_to_string(format!("/proc/{}/oom_score_adj", run.control.runner_pid()))
        .expect("readable");
    let end = run.end().await;
    assert_eq!(String::from_utf8_lossy(&end.stdout).trim(), "500");
    assert_ne!(own.trim(), "500");
}
