//! Runs blocking work, such as disk reads, on Tokio's threads that may block, and gives async
//! callers its result.
//!
//! A runtime that shuts down drops work that has not begun, while other tasks may still run for a
//! moment. Such a task must not treat the dropped work as a disk error: it would log the error, or
//! send it to a client. So dropped work never answers; its caller is dropped with the runtime.

use std::io;

use tokio::task::JoinHandle;

/// The error of blocking work that panicked on its thread. The panic hook has already reported the
/// message of the panic.
#[derive(Debug, thiserror::Error)]
#[error("the work panicked")]
pub struct Panicked;

impl From<Panicked> for io::Error {
    fn from(panicked: Panicked) -> Self {
        Self::other(panicked)
    }
}

/// Blocking work, such as a disk read, that runs on another thread, and the handle to wait for its
/// result. Dropping this does not stop work that has begun.
#[derive(Debug)]
pub struct Work<T> {
    /// The running task; `None` once a shutdown of the runtime has dropped it before it began.
    handle: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Work<T> {
    /// Starts `work` on one of the current Tokio runtime's threads that may block, and returns
    /// immediately. [`Work::answer`] waits for the result.
    #[expect(
        clippy::disallowed_methods,
        reason = "all other blocking work goes through this function"
    )]
    pub fn begin(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self {
            handle: Some(tokio::task::spawn_blocking(work)),
        }
    }

    /// Waits for the work to end, and returns its result. Returns it only once.
    ///
    /// If the runtime shuts down before the work begins, this waits forever. The caller is then
    /// dropped with the runtime, and must not treat the shutdown as a failed disk.
    ///
    /// # Errors
    /// The work panicked.
    ///
    /// # Panics
    /// If called again after it returned the result.
    ///
    /// # Cancellation
    /// Safe: a dropped call can be repeated.
    pub async fn answer(&mut self) -> Result<T, Panicked> {
        if let Some(handle) = &mut self.handle {
            match handle.await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_panic() => return Err(Panicked),
                Err(_) => self.handle = None,
            }
        }
        std::future::pending().await
    }
}

/// Runs `work`, which may block, on a thread that may block, and returns its result. Waits forever
/// if a shutdown of the runtime drops the work before it begins (see [`Work::answer`]).
///
/// # Errors
/// The work panicked.
///
/// # Cancellation
/// The thread still finishes work that has begun, and its result is dropped.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    Work::begin(work).answer().await
}

/// Runs `work`, which reads or writes files, on a thread that may block, and returns its result.
/// Waits forever if a shutdown of the runtime drops the work before it begins (see
/// [`Work::answer`]).
///
/// # Errors
/// The error of the work, or an error that says that it panicked.
///
/// # Cancellation
/// The thread still finishes work that has begun, and its result is dropped.
pub async fn run_io<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    run(work).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn run_returns_the_result_of_the_work() {
        assert_eq!(run(|| 7).await.unwrap(), 7);
        let error = run_io(|| Err::<(), _>(io::ErrorKind::NotFound.into())).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
        let error = run_io(|| -> io::Result<()> { panic!("planned") }).await;
        assert_eq!(error.unwrap_err().to_string(), "the work panicked");
    }

    #[tokio::test]
    async fn work_dropped_by_a_runtime_shutdown_never_answers() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let dropped_work = handle.spawn_blocking(|| Ok::<_, io::Error>(()));
        assert!(dropped_work.is_finished());
        let mut work = Work {
            handle: Some(dropped_work),
        };
        for _ in 0..2 {
            let mut answer = std::pin::pin!(work.answer());
            let polled =
                std::future::poll_fn(|cx| std::task::Poll::Ready(answer.as_mut().poll(cx)));
            assert!(polled.await.is_pending());
        }
    }
}
