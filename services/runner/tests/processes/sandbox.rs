//! Tests of the sandbox, by programs inside that try to break out.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
};

use runner::{MissingProtection, Sandbox, Spec, missing_protections};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::{
    support::{
        End, Run, alive, runners_with_wrapper, scratch, spec, start_with, state, wait_until,
    },
    tests,
};

tests![
    this_kernel_supports_the_whole_sandbox,
    files_outside_cannot_be_read_written_or_emptied,
    a_single_file_can_be_allowed,
    processes_outside_cannot_be_signalled_traced_or_read,
    limits_and_priorities_of_other_processes_cannot_be_changed,
    shared_memory_and_queues_of_the_user_are_refused,
    executions_cannot_access_each_other,
    a_kill_of_all_processes_ends_only_the_execution,
    stdin_cannot_be_reopened_or_written_to,
    an_unreadable_program_is_preferred_by_the_oom_killer,
];

const SYSTEM: [&str; 8] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/dev",
];

/// A command prefix that runs a program as an unprivileged user: root can read every process
/// despite Landlock (CAP_PERFMON).
const UNPRIVILEGED: &str = "setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps=-all";

/// Creates a folder that this user can write to.
fn folder() -> TempDir {
    let dir = scratch();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(dir.path(), open).expect("ours");
    dir
}

/// Returns the spec of a shell script in a sandbox that allows the system's folders and `dir`.
fn sandboxed(dir: &Path, script: &str) -> Spec {
    Spec {
        cwd: dir.into(),
        sandbox: Some(Sandbox {
            read_only: SYSTEM.map(Into::into).to_vec(),
            read_write: vec![dir.into(), "/dev/null".into()],
            allow_ipc: false,
        }),
        ..spec("bash", &["-c", script])
    }
}

async fn begin(spec: Spec) -> Run {
    let dir = folder();
    let runners = runners_with_wrapper(dir.path(), &format!("exec {UNPRIVILEGED} \"$@\""));
    let mut run = start_with(&runners, spec).await;
    run.spawned().await;
    run
}

async fn run(spec: Spec) -> End {
    begin(spec).await.end().await
}

/// Starts a process of the same user outside the sandbox.
fn victim() -> Child {
    let mut words = UNPRIVILEGED.split(' ');
    Command::new(words.next().expect("setpriv"))
        .args(words)
        .args(["sleep", "1000"])
        .env("SECRET", "hidden")
        .spawn()
        .expect("a victim")
}

fn end(mut victim: Child) {
    victim.kill().expect("ours");
    victim.wait().expect("ours");
}

/// Runs lines of shell, each of which must fail with the text after ` # `.
async fn assert_refused(dir: &Path, lines: &[String]) {
    let mut succeeded = Vec::new();
    for line in lines {
        let (command, expected) = line.split_once(" # ").expect("a command and its error");
        let end = run(sandboxed(dir, command)).await;
        let stderr = String::from_utf8_lossy(&end.stderr).into_owned();
        let stdout = String::from_utf8_lossy(&end.stdout).into_owned();
        if end.code == Some(0) || !stderr.contains(expected) {
            succeeded.push(format!("{command}: {stdout}{stderr}"));
        }
    }
    assert!(
        succeeded.is_empty(),
        "these succeeded, or failed with another error: {succeeded:#?}"
    );
}

async fn this_kernel_supports_the_whole_sandbox() {
    assert_eq!(
        missing_protections(),
        Vec::<MissingProtection>::new(),
        "the other tests need every part"
    );
}

async fn files_outside_cannot_be_read_written_or_emptied() {
    let (inside, outside) = (folder(), folder());
    let secret = outside.path().join("secret");
    fs::write(&secret, "hidden").expect("written");
    std::os::unix::fs::chown(&secret, Some(54321), Some(54321)).expect("given away");
    let (folder, secret_path) = (outside.path().display(), secret.display());
    let denied = "Permission denied";
    assert_refused(
        inside.path(),
        &[
            format!("cat {secret_path} # {denied}"),
            format!("ls {folder} # {denied}"),
            format!("echo x >>{secret_path} # {denied}"),
            format!("truncate -s 0 {secret_path} # {denied}"),
            format!("rm -f {secret_path} # {denied}"),
            format!("touch {folder}/new # {denied}"),
            format!("mkdir {folder}/new # {denied}"),
            format!("ln -s /etc {folder}/new # {denied}"),
            format!("mv {secret_path} . # {denied}"),
            format!("ln {secret_path} hard # Invalid cross-device link"),
            format!("ln -s {secret_path} soft && cat soft # {denied}"),
            format!("cat /proc/$PPID/root{secret_path} # {denied}"),
            "echo x >/etc/new # Permission denied".to_owned(),
        ],
    )
    .await;
    assert_eq!(fs::read(&secret).expect("exists"), b"hidden");
    let work = "set -e; mkdir a b; echo 1 >a/f; mv a/f b/f; cat b/f; rm b/f; truncate -s 9 g; \
                ln g h; ln -s g i; cat /etc/hostname >/dev/null; echo done";
    let end = run(sandboxed(inside.path(), work)).await;
    assert_eq!(
        (end.code, &*end.stdout),
        (Some(0), &b"1\ndone\n"[..]),
        "{}",
        String::from_utf8_lossy(&end.stderr)
    );
}

async fn a_single_file_can_be_allowed() {
    let (inside, outside) = (folder(), folder());
    let (one, other) = (outside.path().join("one"), outside.path().join("other"));
    fs::write(&one, "1").expect("written");
    fs::write(&other, "2").expect("written");
    let mut spec = sandboxed(
        inside.path(),
        &format!("cat {} {}", one.display(), other.display()),
    );
    spec.sandbox
        .as_mut()
        .expect("set")
        .read_only
        .extend([one, outside.path().join("missing")]);
    let end = run(spec).await;
    assert_eq!((end.code, &*end.stdout), (Some(1), &b"1"[..]));
}

async fn processes_outside_cannot_be_signalled_traced_or_read() {
    let (inside, outside) = (folder(), folder());
    let victim = victim();
    let pid = victim.id();
    let abstract_name = format!("cc-sandbox-{}", std::process::id());
    let python = |code: &str| format!("python3 -c '{code}'");
    let connect = python(&format!(
        "import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{abstract_name}\")"
    ));
    let trace = python(&format!(
        "import ctypes; l = ctypes.CDLL(None, use_errno=True); r = l.ptrace(16, {pid}, 0, 0); \
         raise SystemExit(__import__(\"os\").strerror(ctypes.get_errno()) if r else 0)"
    ));
    let listener = {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name);
        std::os::unix::net::UnixListener::bind_addr(&address.expect("a name")).expect("bound")
    };
    let mut lines = vec![
        format!("{connect} # Operation not permitted"),
        format!("{trace} # Operation not permitted"),
        "kill -9 $PPID # Operation not permitted".to_owned(),
    ];
    for signal in ["KILL", "STOP", "CONT", "TERM", "0"] {
        lines.push(format!("kill -{signal} {pid} # Operation not permitted"));
    }
    for file in ["environ", "mem", "fd/0", "root/etc", "cwd/", "maps", "auxv"] {
        let look = format!("[ -d /proc/{pid}/{file} ] && ls /proc/{pid}/{file}");
        lines.push(format!(
            "{look} || head -c 1 /proc/{pid}/{file} # Permission denied"
        ));
    }
    assert_refused(inside.path(), &lines).await;
    assert!(alive(pid) && state(pid) != Some('T'));
    drop((listener, outside));
    end(victim);
}

/// A limit of processor time set from outside would end a process, even the first of a namespace.
async fn limits_and_priorities_of_other_processes_cannot_be_changed() {
    let dir = folder();
    let victim = victim();
    let pid = victim.id();
    let lines = [
        format!("prlimit --pid {pid} --cpu=1:1"),
        format!("renice -n 19 -p {pid}"),
        "renice -n 19 -u 54321".to_owned(),
        "renice -n 19 -g 0".to_owned(),
        // This is the group of the runner. A process in the group of claude-api could renice
        // claude-api.
        "python3 -c \"import os; os.setpgid(0, $PPID)\"".to_owned(),
    ]
    .map(|line| format!("{line} # Operation not permitted"));
    assert_refused(dir.path(), &lines).await;
    end(victim);
    let own = "set -e; ulimit -n 100; nice -n 1 chrt -i 0 ionice -c 3 prlimit --cpu=9:9 true; \
               prlimit --pid $PPID >limits; echo done";
    let own = run(sandboxed(dir.path(), own)).await;
    let stderr = String::from_utf8_lossy(&own.stderr).into_owned();
    assert_eq!(
        (own.code, &*own.stdout),
        (Some(0), &b"done\n"[..]),
        "{stderr}"
    );
}

async fn shared_memory_and_queues_of_the_user_are_refused() {
    let dir = folder();
    let queue = "python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); \
                 r = l.mq_open(b\"/cc-sandbox\", 66, 384, None); \
                 e = ctypes.get_errno(); \
                 raise SystemExit(__import__(\"os\").strerror(e) if r < 0 else 0)'";
    let lines = ["ipcmk -M 16", "ipcmk -S 1", "ipcmk -Q", queue];
    assert_refused(
        dir.path(),
        &lines.map(|line| format!("{line} # Operation not permitted")),
    )
    .await;
    let mut shared = sandboxed(
        dir.path(),
        "id=$(ipcmk -M 16 | grep -o '[0-9]*') && ipcrm -m $id && echo done",
    );
    shared.sandbox.as_mut().expect("set").allow_ipc = true;
    let end = run(shared).await;
    let stderr = String::from_utf8_lossy(&end.stderr).into_owned();
    assert_eq!(
        (end.code, &*end.stdout),
        (Some(0), &b"done\n"[..]),
        "{stderr}"
    );
}

async fn executions_cannot_access_each_other() {
    let (one, two) = (folder(), folder());
    let first = begin(sandboxed(one.path(), "echo $$ >pid; exec sleep 1000")).await;
    let note = one.path().join("pid");
    wait_until("the execution runs", || {
        fs::read_to_string(&note).is_ok_and(|pid| pid.ends_with('\n'))
    })
    .await;
    let pid: u32 = fs::read_to_string(&note)
        .expect("exists")
        .trim()
        .parse()
        .expect("a number");
    assert_refused(
        two.path(),
        &[
            format!("kill -9 {pid} # Operation not permitted"),
            format!("cat /proc/{pid}/environ # Permission denied"),
            format!("ls {} # Permission denied", one.path().display()),
            format!("ls /proc/{pid}/cwd/ # Permission denied"),
        ],
    )
    .await;
    assert!(alive(pid));
    // The execution's own runner can still kill it.
    first.control.kill();
    assert_eq!(first.end().await.signal, Some(9));
}

/// The model may run `kill -9 -1`.
async fn a_kill_of_all_processes_ends_only_the_execution() {
    let dir = folder();
    let victim = victim();
    let ended = run(sandboxed(dir.path(), "sleep 1000 & kill -9 -1; exit 7")).await;
    assert!(alive(victim.id()), "the kill reached a process outside");
    // kill(2) does not signal the calling process, which then ends by itself. No process is left.
    assert_eq!((ended.code, ended.signal), (Some(7), None));
    assert!(ended.unkillable.is_empty());
    end(victim);
}

async fn stdin_cannot_be_reopened_or_written_to() {
    let dir = folder();
    let script = "for mode in '<' '>' '<>'; do \
                  eval \"exec 3$mode/proc/$$/fd/0\" && echo opened; done 2>&1; \
                  trap \"\" PIPE; echo planted 1>&0; cat; echo end";
    let mut sandboxed = begin(sandboxed(dir.path(), script)).await;
    let stdin = sandboxed.stdin.as_mut().expect("open");
    stdin.write_all(b"from outside\n").await.expect("written");
    let end = sandboxed.end().await;
    let out = String::from_utf8_lossy(&end.stdout).into_owned();
    assert!(!out.contains("opened") && !out.contains("planted"), "{out}");
    assert_eq!(out.matches("No such device or address").count(), 3, "{out}");
    assert!(out.ends_with("from outside\nend\n"), "{out}");
    let err = String::from_utf8_lossy(&end.stderr).into_owned();
    assert!(err.contains("Broken pipe"), "{err}");
}

/// A program of mode 0711 is not dumpable, so root owns its settings. Root runs these tests.
async fn an_unreadable_program_is_preferred_by_the_oom_killer() {
    let dir = folder();
    let program = dir.path().join("unreadable");
    fs::copy("/bin/sleep", &program).expect("copied");
    for (path, mode) in [(dir.path(), 0o755), (&program, 0o711)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }
    let runners = runners_with_wrapper(dir.path(), &format!("exec {UNPRIVILEGED} \"$@\""));
    let spec = spec(program.to_str().expect("plain"), &["1000"]);
    let mut run = start_with(&runners, spec).await;
    let pid = run.spawned().await;
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
    assert_eq!(read("oom_score_adj").expect("exists").trim(), "500");
    let owner = fs::metadata(format!("/proc/{pid}/environ")).expect("exists");
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&owner),
        0,
        "the program must be unreadable"
    );
    run.control.kill();
    assert_eq!(run.end().await.signal, Some(9));
}
