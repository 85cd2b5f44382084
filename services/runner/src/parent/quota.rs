//! How many bytes of pipe this user may enlarge.
//!
//! A user may hold `pipe-user-pages-soft` pages of pipe buffers (16,384 by default, pipe(7)); past that every new pipe,
//! those of the tools too, has two pages. So enlarged pipes take at most half of it, all together.

use std::{
    fs,
    os::fd::AsFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

/// The largest stdout pipe; more brings nothing.
const LARGEST_BYTES: usize = 256 << 10;
/// The kernel's default for the soft limit in pages.
const DEFAULT_PAGES: usize = 16_384;

static TAKEN_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The bytes an enlarged pipe has taken of the quota; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    bytes: usize,
}

/// Enlarges a pipe as far as wish and quota go. `None`, which is normal, leaves it as it is.
pub(super) fn enlarge(pipe: impl AsFd, wish: usize) -> Option<Share> {
    let wish = wish.min(LARGEST_BYTES);
    if wish <= fcntl_getpipe_size(&pipe).ok()? {
        return None;
    }
    let share = take(wish, limit())?;
    fcntl_setpipe_size(&pipe, wish).ok()?;
    Some(share)
}

fn take(bytes: usize, limit: usize) -> Option<Share> {
    TAKEN_BYTES
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|sum| *sum <= limit)
        })
        .ok()
        .map(|_| Share { bytes })
}

fn limit() -> usize {
    let pages = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match pages {
        // Zero is "no limit".
        Some(0) => usize::MAX,
        pages => {
            pages
                .unwrap_or(DEFAULT_PAGES)
                .saturating_mul(rustix::param::page_size())
                / 2
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        TAKEN_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    /// One test, because the counter is one per process.
    #[test]
    fn shares_are_bounded_and_come_back() {
        let first = take(600, 1_000).expect("there is room");
        assert!(take(600, 1_000).is_none());
        drop(first);
        let again = take(600, 1_000).expect("it came back");
        drop(again);

        let (read, _write) = pipe().expect("a pipe");
        let share = enlarge(&read, 1 << 20).expect("within the quota");
        assert_eq!(fcntl_getpipe_size(&read), Ok(LARGEST_BYTES));
        assert_eq!(TAKEN_BYTES.load(Ordering::Relaxed), LARGEST_BYTES);
        drop(share);
        assert_eq!(TAKEN_BYTES.load(Ordering::Relaxed), 0);
        assert!(
            enlarge(&read, 4096).is_none(),
            "a pipe is never made smaller"
        );
    }
}
