//! Prints a failing test's containers, and removes containers. Runs in destructors, so it blocks.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::docker::docker_now;

const LOG_LINES: &str = "60";
const EXECUTIONS: u32 = 20;

fn ids(kind: &[&str], project: &str) -> Vec<String> {
    let filter = format!("label=com.docker.compose.project={project}");
    let words = [kind, &["--filter", filter.as_str()]].concat();
    let found = docker_now(&words).unwrap_or_default();
    found.split_whitespace().map(str::to_owned).collect()
}

/// Prints the containers, the end of their logs, and the statuses of the newest executions.
pub(super) fn print(project: &str, api: SocketAddr, since: &str) {
    eprintln!("== project {project}");
    for id in ids(&["ps", "-aq"], project) {
        let template = "{{.Name}}: {{.State.Status}}, exit code {{.State.ExitCode}}, \
                        restarts {{.RestartCount}}";
        let name = docker_now(&["inspect", "-f", template, &id]).unwrap_or_default();
        eprintln!("-- {}", name.trim());
        let logs = std::process::Command::new("docker")
            .args(["logs", "--since", since, "--tail", LOG_LINES, &id])
            .output();
        if let Ok(logs) = logs {
            eprint!("{}", String::from_utf8_lossy(&logs.stdout));
            eprint!("{}", String::from_utf8_lossy(&logs.stderr));
        }
    }
    eprintln!("-- executions, newest first");
    match get(api, &format!("/v1/executions?limit={EXECUTIONS}"))
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
    {
        Some(list) => list["executions"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|status| eprintln!("{status}")),
        None => eprintln!("claude-api does not answer"),
    }
}

/// Returns the body of `GET path` over a plain socket: a destructor has no runtime. `None` without
/// an answer, or for an error status.
pub(super) fn get(addr: SocketAddr, path: &str) -> Option<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&addr, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: application/json, text/plain\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let good = head.split(' ').nth(1) == Some("200");
    good.then(|| body.to_owned())
}

/// Removes the project's containers, networks and volumes.
pub(super) fn remove(project: &str) {
    for (kind, verb) in [
        (&["ps", "-aq"][..], &["rm", "-fv"][..]),
        (&["network", "ls", "-q"], &["network", "rm"]),
        (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
    ] {
        let found = ids(kind, project);
        if found.is_empty() {
            continue;
        }
        let words: Vec<&str> = verb
            .iter()
            .copied()
            .chain(found.iter().map(String::as_str))
            .collect();
        if docker_now(&words).is_none() {
            eprintln!(
                "docker {} failed: something of {project} is left",
                words.join(" ")
            );
        }
    }
}
