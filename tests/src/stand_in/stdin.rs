//! The stand-in's stdin: messages of the program that started it, and its answers to prompts.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Stdin},
};

use serde_json::Value;

/// A message on stdin, or why there is none.
#[derive(Debug)]
pub(super) enum Read {
    /// A line of JSON.
    Message(Value),
    /// A line that is not JSON.
    Malformed,
    /// The end of stdin.
    End,
}

/// Reads stdin line by line. Messages that arrive while a prompt waits for its answer are kept for
/// the next turns.
#[derive(Debug)]
pub(super) struct Messages {
    stdin: BufReader<Stdin>,
    kept: VecDeque<Value>,
}

/// The end of the wait for the answer to a prompt.
#[derive(Debug)]
pub(super) enum Answer {
    /// The `response` of the answer.
    Response(Value),
    /// The program has sent an error in place of an answer.
    Refused,
    /// The program has interrupted the turn. Holds the id of its request.
    Interrupted(Value),
    /// stdin has ended.
    End,
}

impl Messages {
    pub(super) fn new() -> Self {
        Self {
            stdin: BufReader::new(std::io::stdin()),
            kept: VecDeque::new(),
        }
    }

    /// Returns the next message of a turn.
    pub(super) fn next(&mut self) -> Read {
        match self.kept.pop_front() {
            Some(message) => Read::Message(message),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Read {
        loop {
            let mut line = Vec::new();
            match self.stdin.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return Read::End,
                Ok(_) => {}
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return serde_json::from_slice(&line).map_or(Read::Malformed, Read::Message);
        }
    }

    /// Waits for the answer to one of the prompts with these ids. Returns it with the position of
    /// the id, which is 0 if it is no answer.
    pub(super) fn answer(&mut self, request_ids: &[&str]) -> (usize, Answer) {
        loop {
            let message = match self.read() {
                Read::Message(message) => message,
                Read::Malformed => continue,
                Read::End => return (0, Answer::End),
            };
            let response = &message["response"];
            let at = request_ids
                .iter()
                .position(|id| response["request_id"] == **id);
            if let ("control_response", Some(at)) = (message["type"].as_str().unwrap_or(""), at) {
                let answer = match response["subtype"].as_str() {
                    Some("success") => Answer::Response(response["response"].clone()),
                    _ => Answer::Refused,
                };
                return (at, answer);
            }
            if message["type"] == "control_request" && message["request"]["subtype"] == "interrupt"
            {
                return (0, Answer::Interrupted(message["request_id"].clone()));
            }
            // A late answer to another prompt is ignored, as by the CLI.
            if message["type"] != "control_response" {
                self.kept.push_back(message);
            }
        }
    }
}
