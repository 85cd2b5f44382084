//! The end of a run: drains the pipes and collects what is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::running::Running;
use crate::execution::ending::End;

impl Running<'_> {
    /// The tree is gone; what it wrote is still in the pipes. Whoever else holds them open delays the end by at most the
    /// drain grace.
    pub(super) async fn drain(&mut self, mut out_open: bool, mut err_open: bool, out: &mut [u8]) {
        let grace = Duration::from_millis(self.owner.engine.settings.limits.drain_ms);
        let until = tokio::time::Instant::now() + grace;
        let mut err = vec![0; 8 * 1024];
        while out_open || err_open {
            tokio::select! {
                n = self.stdout.read(out), if out_open => match n {
                    Ok(n) if n > 0 => self.take(&out[..n]),
                    _ => out_open = false,
                },
                n = self.stderr.read(&mut err), if err_open => match n {
                    Ok(n) if n > 0 => self.machine.stderr(&err[..n]),
                    _ => err_open = false,
                },
                () = tokio::time::sleep_until(until) => {
                    self.machine.warn(
                        "pipe_held",
                        "a process outside the execution holds its stdout or stderr open".to_owned(),
                        serde_json::Value::Null,
                    );
                    break;
                }
            }
        }
        if out_open {
            // What a pipe can hold has an end even while somebody goes on writing.
            let mut rest = Vec::new();
            let _ = self
                .stdout
                .drain_available(|bytes| rest.extend_from_slice(bytes));
            self.take(&rest);
        }
    }

    pub(super) async fn finish(mut self) -> End {
        self.prompt.abort();
        self.owner.runner = None;
        // A wish during the draining of the pipes still counts. No process is left to signal.
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
        self.facts(facts, now);
        self.recorded().await;
        let output = self.output;
        let marks = in_place.run(|| output.finish());
        End {
            machine: self.machine,
            marks,
            runner_failure: self.runner_failure,
            unkillable: self.unkillable,
        }
    }
}
