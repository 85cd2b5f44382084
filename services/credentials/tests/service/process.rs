//! The program: its exit codes, its memory, and a restart in the middle of an answer.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use tokio::io::AsyncReadExt;

use crate::support::{Api, ClaudeApi, Client, Exchange, GRANT, KEY};

/// Returns the command of the program, with nothing in its environment but the API.
fn command(api: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test ends what it starts")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_credentials"));
    command.env_clear().env("ANTHROPIC_BASE_URL", api);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A user without rights.
const NOBODY: u32 = 65_534;

/// A running program. Dropping it kills the process.
struct Program {
    child: Child,
    addr: SocketAddr,
    /// Keeps the pipe of the log open.
    _log: BufReader<std::process::ChildStderr>,
}

impl Program {
    fn start(api: &str, claude_api: SocketAddr) -> Self {
        Self::start_as(None, api, claude_api)
    }

    /// Starts the program, as this user if the test runs as root.
    fn start_as(user: Option<u32>, api: &str, claude_api: SocketAddr) -> Self {
        let mut command = command(api);
        if let Some(user) = user.filter(|_| rustix::process::geteuid().is_root()) {
            command.uid(user);
        }
        let mut child = command
            .env("ANTHROPIC_API_KEY", KEY)
            .args(["--port=0", "--log-level=error,credentials=info"])
            .arg(format!("--claude-api={claude_api}"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let addr = loop {
            let mut line = String::new();
            assert_ne!(
                log.read_line(&mut line).unwrap(),
                0,
                "the program has ended"
            );
            assert!(!line.contains(KEY), "{line}");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let Some(addr) = line["addr"].as_str() {
                break addr.parse().unwrap();
            }
        };
        Self {
            child,
            addr,
            _log: log,
        }
    }

    /// Returns the resident memory in bytes, now (`VmRSS`) or at its peak (`VmHWM`).
    fn memory(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines().filter_map(|line| line.strip_prefix(name));
        let kilobytes = lines.next().unwrap().split_whitespace().next().unwrap();
        kilobytes.parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_bad_configuration_names_all_mistakes_and_exits_with_64() {
    let run = |arguments: &[&str], api: &str| -> Output {
        let mut command = command(api);
        command
            .args(arguments)
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    };
    let output = run(&["--port=x", "--claude-api=y"], "ftp://u:secret@api");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for part in ["--port", "--claude-api", "ANTHROPIC_BASE_URL"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(
        run(&["--unknown"], "http://127.0.0.1:1").status.code(),
        Some(64)
    );
    assert_eq!(
        run(&["--help"], "http://127.0.0.1:1").status.code(),
        Some(0)
    );
}

#[tokio::test]
async fn the_healthcheck_finds_out_whether_the_service_lives() {
    let claude_api = ClaudeApi::start().await;
    let program = Program::start("http://127.0.0.1:1", claude_api.addr());
    let port = program.addr.port().to_string();
    let check = || {
        let mut command = command("http://127.0.0.1:1");
        command.args(["healthcheck", "--port", &port, "--host", "0.0.0.0"]);
        command.stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(check());
    drop(program);
    assert!(!check());
}

/// The kernel gives the files of a process to root if the process is not dumpable (proc(5)).
#[tokio::test]
async fn other_processes_of_the_user_cannot_read_the_environment() {
    let claude_api = ClaudeApi::start().await;
    let program = Program::start_as(Some(NOBODY), "http://127.0.0.1:1", claude_api.addr());
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    assert_ne!(
        user.unwrap().split_whitespace().next(),
        Some("0"),
        "{status}"
    );
    let environment = format!("/proc/{}/environ", program.child.id());
    assert_eq!(std::fs::metadata(environment).unwrap().uid(), 0);
}

#[tokio::test]
async fn a_service_that_is_killed_in_the_middle_of_an_answer_serves_the_next_request() {
    let api = Api::start(async |mut api: Exchange| {
        let body = api.request().await.unwrap().1;
        api.events().await;
        api.event("{\"n\":\"begun\"}").await;
        if body == b"{}" {
            api.rest().await;
        }
        api.end().await;
    })
    .await;
    let mut claude_api = ClaudeApi::start().await;
    let program = Program::start(&api.url(), claude_api.addr());
    let begin = async |claude_api: &mut ClaudeApi, addr, body| {
        claude_api.accept().await;
        claude_api.grant("e1", GRANT, None).await;
        claude_api.sync().await;
        let mut client = Client::connect(addr).await;
        client.post("/v1/messages", GRANT, body).await;
        client.until("begun").await;
        client
    };
    let client = begin(&mut claude_api, program.addr, "{}").await;
    drop(program);
    assert!(!client.answer().await.is_complete());
    let program = Program::start(&api.url(), claude_api.addr());
    let client = begin(&mut claude_api, program.addr, "{\"a\":1}").await;
    assert!(client.answer().await.is_complete());
}

/// The bytes of each direction in the test of memory.
const STREAMED: usize = 64 * 1024 * 1024;
/// The most memory that they may take.
const MEMORY: usize = 8 * 1024 * 1024;

#[tokio::test]
async fn a_long_body_and_a_long_answer_take_little_memory() {
    let api = Api::start(async |mut api: Exchange| {
        api.head().await;
        let mut received = 0;
        while received < STREAMED {
            received += api.some().await;
        }
        api.events().await;
        let event = format!(
            "{{\"type\":\"content_block_delta\",\"x\":\"{}\"}}",
            "y".repeat(60_000)
        );
        for _ in 0..STREAMED / 60_000 {
            api.event(&event).await;
        }
        api.end().await;
    })
    .await;
    let mut claude_api = ClaudeApi::start().await;
    let program = Program::start(&api.url(), claude_api.addr());
    claude_api.accept().await;
    claude_api.grant("e1", GRANT, None).await;
    claude_api.sync().await;
    let before = program.memory("VmRSS:");
    let mut client = Client::connect(program.addr).await;
    let piece = "x".repeat(1024 * 1024);
    let length = STREAMED + 8;
    client
        .write(format!(
            "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
             Content-Length: {length}\r\n\r\n{{\"a\":\""
        ))
        .await;
    for _ in 0..STREAMED / piece.len() {
        client.write(&piece).await;
    }
    client.write("\"}").await;
    let mut received = 0;
    let mut buffer = vec![0; 1024 * 1024];
    let mut tail = Vec::new();
    loop {
        let count = client.stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        received += count;
        tail = buffer[count.saturating_sub(5)..count].to_vec();
    }
    assert!(received > STREAMED && tail.ends_with(b"\r\n"), "{received}");
    let most = program.memory("VmHWM:").saturating_sub(before);
    assert!(most < MEMORY, "{most} bytes more than before");
}
