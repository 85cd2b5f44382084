//! Tests of the threads on which bytes are read.

use std::{
    sync::Mutex,
    thread::{self, ThreadId},
};

use super::*;
use crate::files::SparseFile;

/// A file that is not in the page cache. It records the threads that waited for the disk.
#[derive(Clone, Default)]
struct Cold {
    waiting_threads: Arc<Mutex<Vec<ThreadId>>>,
}

impl SparseFile for Cold {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, into: &mut Vec<u8>, _: u64) -> io::Result<usize> {
        self.waiting_threads
            .lock()
            .unwrap()
            .push(thread::current().id());
        let n = into.capacity() - into.len();
        into.resize(into.capacity(), b'x');
        Ok(n)
    }

    fn read_cached(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(1000)
    }
}

/// A read that waits for the disk would block a thread of the runtime.
#[tokio::test]
async fn an_output_outside_the_page_cache_is_read_on_a_blocking_thread() {
    let cold = Cold::default();
    let marks = Marks {
        len: 1000,
        ended: true,
        ..Marks::default()
    };
    let track = Track {
        file: Box::new(cold.clone()),
        marks: watch::Sender::new(marks),
    };
    let mut reader = Reader::new(Arc::new(track), 0).unwrap();
    let bytes = reader.next(1 << 16).await.unwrap().unwrap();
    assert_eq!(bytes.len(), 1000);
    let waiting_threads = cold.waiting_threads.lock().unwrap();
    assert!(!waiting_threads.is_empty());
    assert!(
        !waiting_threads.contains(&thread::current().id()),
        "the runtime's thread waited for the disk"
    );
}
