//! Blocking work, run on threads that may block.
//!
//! A runtime that shuts down drops work that has not begun, while other tasks may still run for a
//! moment. Such a task must not treat the dropped work as a disk error: it would log the error, or
//! send it to a client. So dropped work never answers; its caller is dropped with the runtime.

use std::io;

use tokio::task::JoinHandle;

/// The work panicked; its message went to the panic hook.
#[derive(Debug, thiserror::Error)]
#[error("the work panicked")]
pub struct Panicked;

impl From<Panicked> for io::Error {
    fn from(panicked: Panicked) -> Self {
        Self::other(panicked)
    }
}

/// Work on a thread that may block. If this value is dropped, the thread still finishes work that
/// has begun.
#[derive(Debug)]
pub struct Work<T> {
    /// None once the runtime dropped the work.
    handle: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Work<T> {
    /// Begins work on a thread that may block.
    #[expect(
        clippy::disallowed_methods,
        reason = "all other blocking work goes through this function"
    )]
    pub fn begin(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self::from(tokio::task::spawn_blocking(work))
    }

    /// Waits for the answer and returns it once. Work that was dropped by a runtime's shutdown
    /// never answers.
    ///
    /// # Errors
    /// The work panicked.
    ///
    /// # Panics
    /// When called again after it returned the answer.
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

impl<T> From<JoinHandle<T>> for Work<T> {
    fn from(handle: JoinHandle<T>) -> Self {
        Self {
            handle: Some(handle),
        }
    }
}

/// Runs work on a thread that may block.
///
/// # Errors
/// The work panicked.
///
/// # Cancellation
/// The thread still finishes work that has begun.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    Work::begin(work).answer().await
}

/// Runs disk work on a thread that may block.
///
/// # Errors
/// The work's, or that it panicked.
///
/// # Cancellation
/// The thread still finishes work that has begun.
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
        let mut work = Work::from(dropped_work);
        for _ in 0..2 {
            let mut answer = std::pin::pin!(work.answer());
            let polled =
                std::future::poll_fn(|cx| std::task::Poll::Ready(answer.as_mut().poll(cx)));
            assert!(polled.await.is_pending());
        }
    }
}
