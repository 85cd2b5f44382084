//! A healthcheck that is started often while the service starts or is unhealthy, and rarely once it
//! is healthy. `scripts/image/watch-health` does the same for images with a shell.
//!
//! The container engine starts a healthcheck again soon after it has ended, and a start costs far
//! more than the request. So the first success after a start or a failure is reported at once. A
//! later check lasts for a minute, and ends early only with a failure.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// The file whose existence says that the previous check succeeded. It is on a tmpfs of the
/// container.
pub const MARK: &str = "/tmp/.cc-bridge-well";
/// The time between two requests of a check that lasts.
pub const PAUSE: Duration = Duration::from_secs(10);
/// The number of requests, after the first one, of a check that lasts.
const REQUESTS: u32 = 6;

/// Checks the service with `ask`: once if `mark` does not exist, else also after each of six
/// `pause`s. A success leaves `mark`, and a failure removes it. An interrupted check leaves none,
/// so that the next one ends at once. Blocks.
///
/// # Errors
/// The first error of `ask`. A mark that cannot be written is not an error: then each check asks
/// once.
pub fn watch(
    mark: &Path,
    pause: Duration,
    mut ask: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let lasts = mark.exists();
    // A mark that was never made cannot be removed.
    let _ = fs::remove_file(mark);
    ask()?;
    if lasts {
        for _ in 0..REQUESTS {
            std::thread::sleep(pause);
            ask()?;
        }
    }
    let _ = fs::write(mark, "");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_after_a_success_lasts_and_a_failure_is_reported_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        // The requests of a check whose request of this number fails.
        let check = |failing: Option<u32>| {
            let mut requests = 0;
            let result = watch(&mark, Duration::ZERO, || {
                requests += 1;
                anyhow::ensure!(failing != Some(requests), "down");
                Ok(())
            });
            (requests, result.is_ok())
        };
        assert_eq!(check(Some(1)), (1, false));
        assert_eq!(check(None), (1, true));
        assert_eq!(check(None), (7, true));
        assert_eq!(check(Some(3)), (3, false));
        assert_eq!(check(None), (1, true));
        assert_eq!(check(Some(1)), (1, false));
        assert_eq!(check(None), (1, true));
    }
}
