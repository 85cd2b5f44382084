//! The end of a run: reads the rest of stdout and stderr, and collects the facts for the verdict.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::running::Running;
use crate::execution::ending::FinishedRun;

impl Running<'_> {
    /// Reads the rest of stdout and stderr after the process tree has ended. A process outside the
    /// tree may hold a pipe open. The wait then ends after the drain grace with the warning
    /// `pipe_held`, and the bytes that are in stdout by then are still read.
    pub(super) async fn drain(&mut self, mut out_open: bool, mut err_open: bool, out: &mut [u8]) {
        let grace = Duration::from_millis(self.owner.engine.settings.limits.drain_ms);
        let until = tokio::time::Instant::now() + grace;
        let mut err = vec![0; 8 * 1024];
        while out_open || err_open {
            tokio::select! {
                n = self.stdout.read(out), if out_open => match n {
                    Ok(n) if n > 0 => self.append_stdout(&out[..n]),
                    _ => out_open = false,
                },
                n = self.stderr.read(&mut err), if err_open => match n {
                    Ok(n) if n > 0 => self.machine.stderr(&err[..n]),
                    _ => err_open = false,
                },
                () = tokio::time::sleep_until(until) => {
                    let message = "a process outside the execution holds its stdout or stderr open";
                    let data = serde_json::Value::Null;
                    self.machine.warn("pipe_held", message.to_owned(), data);
                    break;
                }
            }
        }
        if out_open {
            // A pipe holds a limited number of bytes, even while a process continues to write.
            let mut rest = Vec::new();
            let _ = self
                .stdout
                .drain_available(|bytes| rest.extend_from_slice(bytes));
            self.append_stdout(&rest);
        }
    }

    /// Ends the run: stops the input, writes the rest of the output and all due statuses, and
    /// returns the facts for the verdict.
    pub(super) async fn finish(mut self) -> FinishedRun {
        self.prompt.abort();
        self.owner.runner = None;
        // A cancel while the pipes were drained still counts. No process is left to signal.
        self.follow_wish(Instant::now());
        self.owner.wishes.exited();
        if let Some(gate) = &self.owner.input {
            gate.close();
        }
        let now = Instant::now();
        let in_place = Arc::clone(&self.owner.engine.in_place);
        let output = &mut self.output;
        let facts = in_place.run(|| output.end());
        self.count(&facts, now);
        self.apply_facts(facts, now);
        self.finish_writes().await;
        let output = self.output;
        let marks = in_place.run(|| output.finish());
        FinishedRun {
            machine: self.machine,
            marks,
            runner_failure: self.runner_failure,
            unkillable: self.unkillable,
        }
    }
}
