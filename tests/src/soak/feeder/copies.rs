//! The copies of both streams of a CLI, which the stand-in keeps with the model `recorded`.

use std::{fs, io::Write, path::PathBuf};

use serde_json::Value;

use crate::soak::world::World;

/// The copies of one execution.
#[derive(Debug)]
pub(super) struct Copies {
    stdin: PathBuf,
    stdout: PathBuf,
}

impl Copies {
    pub(super) fn new(world: &World, execution: &str) -> Self {
        let folder = world.spawns_log.with_file_name("recorded");
        Self {
            stdin: folder.join(format!("{execution}.stdin")),
            stdout: folder.join(format!("{execution}.stdout")),
        }
    }

    /// Injects a bug: pretends that the CLI has read a line again.
    pub(super) fn add_to_stdin(&self, line: &str) {
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.stdin);
        // Without a copy, no CLI was started.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// Checks an execution that ended in this state: the CLI has read each answer once, and has
    /// written the output.
    ///
    /// # Errors
    /// The rule that is broken.
    pub(super) fn check(
        &self,
        state: &str,
        answered: &[(String, Value)],
        output: &[u8],
    ) -> Result<(), String> {
        let is_whole = state == "completed";
        let stdin = fs::read_to_string(&self.stdin).unwrap_or_default();
        let lines = stdin
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut read: Vec<_> = lines
            .filter(|line| line["type"] == "control_response")
            .collect();
        for (id, answer) in answered {
            let of_request = |line: &Value| line["response"]["request_id"] == **id;
            let (own, others) = read.into_iter().partition::<Vec<_>, _>(of_request);
            read = others;
            let is_lost = is_whole && own.is_empty();
            if own.len() > 1 || is_lost {
                return Err(format!(
                    "the CLI has read the control answer to {id} {} times: {}",
                    own.len(),
                    Value::from(own)
                ));
            }
            if let Some(line) = own
                .iter()
                .find(|line| line["response"]["response"] != *answer)
            {
                return Err(format!("the CLI has read {line} instead of {answer}"));
            }
        }
        // The last one may be unconfirmed if the execution was ended.
        if read.len() > usize::from(!is_whole) {
            let read = Value::from(read);
            return Err(format!("the CLI has read answers that nobody gave: {read}"));
        }
        let written = fs::read(&self.stdout).unwrap_or_default();
        let is_good = if is_whole {
            written == output
        } else {
            written.starts_with(output)
        };
        if !is_good {
            return Err(format!(
                "the output of {} bytes differs from the {} bytes that the CLI wrote ({state})",
                output.len(),
                written.len()
            ));
        }
        Ok(())
    }
}
