//! Scheduled cancels and the count of streams, without HTTP.

use std::pin::pin;

use futures::FutureExt;

use super::*;
use crate::service::testing::{accepted, open};

const AFTER: Duration = Duration::from_millis(200);

struct Case {
    _dir: tempfile::TempDir,
    entry: spool::Entry,
    views: Arc<Views>,
}

fn case() -> Case {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let id = accepted(&service, protocol::State::Running);
    let entry = crate::service::testing::entry(&service, id);
    let views = Arc::default();
    Case {
        _dir: dir,
        entry,
        views,
    }
}

impl Case {
    async fn noted(&self) -> Option<u64> {
        self.views.record(&self.entry).await.unwrap();
        self.entry.unviewed_cancel().unwrap()
    }
}

/// docs/protocol.md, "Calls": `ifUnviewedForMs`.
#[tokio::test]
async fn a_cancel_waits_until_no_stream_is_open_and_then_its_whole_time() {
    let case = case();
    let old = case.views.open(&case.entry, None).await;
    let number = case.views.schedule(AFTER, None);
    assert_eq!(case.noted().await, Some(200));
    let mut due = pin!(case.views.due(number));
    assert!(tokio::time::timeout(AFTER * 2, &mut due).await.is_err());
    let closed = Instant::now();
    drop(old);
    assert!(due.await);
    assert!(closed.elapsed() >= AFTER);
    assert!(!case.views.due(number).await, "it is due once");
}

/// docs/protocol.md, "Calls": any new stream clears `ifUnviewedForMs`.
#[tokio::test]
async fn a_new_stream_clears_the_cancel_permanently() {
    let case = case();
    let number = case.views.schedule(AFTER, Some("left".into()));
    case.views.record(&case.entry).await.unwrap();
    let mut due = pin!(case.views.due(number));
    assert!(due.as_mut().now_or_never().is_none());
    drop(case.views.open(&case.entry, Some("another")).await);
    assert_eq!(case.entry.unviewed_cancel().unwrap(), None);
    assert!(!due.await);
}

/// docs/protocol.md, "Calls": a stream of the viewer that left does not clear `ifUnviewedForMs`.
#[tokio::test]
async fn a_late_stream_of_the_viewer_that_left_only_delays_the_cancel() {
    let case = case();
    let number = case.views.schedule(AFTER, Some("left".into()));
    let late = case.views.open(&case.entry, Some("left")).await;
    assert_eq!(case.noted().await, Some(200));
    let mut due = pin!(case.views.due(number));
    assert!(tokio::time::timeout(AFTER * 2, &mut due).await.is_err());
    drop(late);
    assert!(due.await);
}

/// docs/protocol.md, "Calls": a later call with `ifUnviewedForMs` replaces an earlier one.
#[tokio::test]
async fn a_later_cancel_replaces_an_earlier_one() {
    let case = case();
    let first = case.views.schedule(Duration::ZERO, None);
    let second = case.views.schedule(AFTER, None);
    assert!(!case.views.due(first).await);
    assert!(case.views.due(second).await);
}

/// 700 simultaneous requests once occupied all 512 threads for disk work, and all acceptances
/// waited.
#[test]
fn scheduled_cancels_that_wait_for_the_disk_occupy_no_threads() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let case = case();
        // A disk that hangs.
        let writing = Arc::clone(&case.views.noted).lock_owned().await;
        case.views.schedule(AFTER, None);
        let record = || case.views.record(&case.entry);
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(record())).collect();
        for record in &mut waiting {
            assert!(futures::poll!(record).is_pending());
        }
        let work = spool::blocking::run(|| ());
        let done = tokio::time::timeout(Duration::from_secs(5), work).await;
        assert!(done.is_ok(), "a thread is free");
        drop(writing);
        for record in waiting {
            record.await.unwrap();
        }
        assert_eq!(case.entry.unviewed_cancel().unwrap(), Some(200));
    });
}
