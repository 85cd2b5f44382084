//! Work that may block, on threads that may.
//!
//! A runtime that shuts down drops new work, while other tasks may still run for a moment. Such a
//! task must not take that for an answer of the disk: it would log an error, or answer a client
//! with one. So dropped work never answers; its caller is dropped with the runtime.

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

/// Work on a thread that may block. Dropping it leaves the thread to finish work that has begun.
#[derive(Debug)]
pub struct Work<T> {
    /// None once the runtime dropped the work.
    handle: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Work<T> {
    /// Begins work on a thread that may block.
    #[expect(clippy::disallowed_methods, reason = "all others come through here")]
    pub fn begin(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self::from(tokio::task::spawn_blocking(work))
    }

    /// Waits for the answer, which comes once. Work that an ending runtime dropped never answers.
    ///
    /// # Errors
    /// The work panicked.
    ///
    /// # Panics
    /// When it is called again after the answer.
    ///
    /// # Cancellation
    /// After a dropped call it can be called again.
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
/// The thread finishes work that has begun.
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
/// The thread finishes work that has begun.
pub async fn run_io<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    run(work).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_answer_is_that_of_the_work() {
        assert_eq!(run(|| 7).await.unwrap(), 7);
        let error = run_io(|| Err::<(), _>(io::ErrorKind::NotFound.into())).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
        let error = run_io(|| -> io::Result<()> { panic!("planned") }).await;
        assert_eq!(error.unwrap_err().to_string(), "the work panicked");
    }

    #[tokio::test]
    async fn work_that_an_ending_runtime_dropped_never_answers() {
        let ending = tokio::runtime::Runtime::new().unwrap();
        let handle = ending.handle().clone();
        ending.shutdown_background();
        let dropped = handle.spawn_blocking(|| Ok::<_, io::Error>(()));
        assert!(dropped.is_finished());
        let mut work = Work::from(dropped);
        for _ in 0..2 {
            let mut answer = std::pin::pin!(work.answer());
            let polled =
                std::future::poll_fn(|cx| std::task::Poll::Ready(answer.as_mut().poll(cx)));
            assert!(polled.await.is_pending());
        }
    }
}
