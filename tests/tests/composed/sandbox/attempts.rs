//! Attempts of a hostile tool, each with the error that it must meet.

const DENIED: &str = "Permission denied";
const NOT_PERMITTED: &str = "Operation not permitted";

/// Shell commands, each with the error that it must meet. `VICTIM` is a tool of another execution.
pub(super) const ATTEMPTS: [(&str, &str); 58] = [
    // Signals and traces: the service, its runner, another CLI.
    ("kill -9 1", NOT_PERMITTED),
    ("kill -STOP 1", NOT_PERMITTED),
    ("kill -TERM 1", NOT_PERMITTED),
    ("kill -INT 1", NOT_PERMITTED),
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
    // Its own CLI holds the credential, and would accept answers to its questions.
    ("PTRACE $PPID", NOT_PERMITTED),
    ("cat /proc/$PPID/environ", DENIED),
    ("cat /proc/$PPID/mem", DENIED),
    ("echo x >/proc/$PPID/fd/0", DENIED),
    ("test -n \"$CLAUDE_CODE_MESSAGING_SOCKET\"", "code 1"),
    // Data of processes in `/proc`.
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
    ("ls /home/claude/.workspace-homes/other", DENIED),
    ("cat /home/claude/.workspace-homes/other/secret", DENIED),
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
    // The resolver of the container listens on 127.0.0.11: a process that answers in its place can
    // send others anywhere.
    (
        "python3 -c 'import socket; \
                 socket.socket(type=socket.SOCK_DGRAM).bind((\"127.0.0.11\", 53))'",
        DENIED,
    ),
    ("python3 -c 'import os; os.setpgid(0, 1)'", NOT_PERMITTED),
    // Files that would configure a later execution.
    ("echo {} >/home/claude/.claude/settings.json", DENIED),
    ("mkdir -p /home/claude/.claude/skills/x", DENIED),
    ("echo x >/home/claude/.bashrc", DENIED),
    ("ls /home/claude/.claude/projects", DENIED),
    ("echo {} >$CLAUDE_CONFIG_DIR/settings.json", DENIED),
    ("mv $CLAUDE_CONFIG_DIR/.claude.json x", DENIED),
];

/// Command that attaches to a process (ptrace(2), PTRACE_ATTACH is 16).
pub(super) const PTRACE: &str = "python3 -c 'import ctypes, os, sys; \
    l = ctypes.CDLL(None, use_errno=True); \
    r = l.ptrace(16, int(sys.argv[1]), 0, 0); \
    sys.exit(os.strerror(ctypes.get_errno()) if r else 0)'";
