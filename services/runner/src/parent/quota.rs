//! The quota of pipe memory limits how much of the kernel's limit per user the enlarged stdout
//! pipes of all executions use.
//!
//! A user may hold `pipe-user-pages-soft` pages of pipe buffers (16,384 by default, pipe(7)).
//! Beyond that limit, every new pipe has only two pages, including pipes of the tools. So all
//! enlarged pipes together reserve at most half of the limit.

use std::{
    fs,
    os::fd::AsFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

/// The largest capacity of a stdout pipe (256 KiB). Larger pipes are not faster.
const LARGEST_BYTES: usize = 256 << 10;
/// The kernel's default of `pipe-user-pages-soft`, the pages of pipe memory per user (pipe(7)).
/// Used if the setting cannot be read.
const DEFAULT_PAGES: usize = 16_384;

/// The capacity of all enlarged stdout pipes of this process together, in bytes.
static RESERVED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The part of the pipe-memory quota that one enlarged pipe uses. Dropping this returns the part to
/// the quota.
#[derive(Debug)]
pub(super) struct Share {
    /// The capacity of the enlarged pipe, in bytes.
    bytes: usize,
}

/// Enlarges `pipe` to a capacity of `requested` bytes, at most 256 KiB, and returns its share of
/// the quota. `None` if the pipe keeps its size, because it is large enough already, the quota is
/// exhausted, or the kernel refuses.
pub(super) fn enlarge(pipe: impl AsFd, requested: usize) -> Option<Share> {
    let requested = requested.min(LARGEST_BYTES);
    if requested <= fcntl_getpipe_size(&pipe).ok()? {
        return None;
    }
    let share = reserve(requested, limit())?;
    fcntl_setpipe_size(&pipe, requested).ok()?;
    Some(share)
}

/// Adds `bytes` to the reserved pipe memory of this process. `None`, and nothing is added, if the
/// sum would exceed `limit`.
fn reserve(bytes: usize, limit: usize) -> Option<Share> {
    RESERVED_BYTES
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
            reserved.checked_add(bytes).filter(|sum| *sum <= limit)
        })
        .ok()
        .map(|_| Share { bytes })
}

/// Returns how many bytes of pipe memory all enlarged pipes together may use. This is half of the
/// kernel's limit for this user, so that the tools' own pipes get the other half.
fn limit() -> usize {
    let pages = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match pages {
        // Zero means no limit.
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
        RESERVED_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    /// A single test, because the process has one counter.
    #[test]
    fn shares_are_bounded_and_released_when_dropped() {
        let first = reserve(600, 1_000).expect("there is room");
        assert!(reserve(600, 1_000).is_none());
        drop(first);
        let second = reserve(600, 1_000).expect("the first share was released");
        drop(second);

        let (read, _write) = pipe().expect("a pipe");
        let share = enlarge(&read, 1 << 20).expect("within the quota");
        assert_eq!(fcntl_getpipe_size(&read), Ok(LARGEST_BYTES));
        assert_eq!(RESERVED_BYTES.load(Ordering::Relaxed), LARGEST_BYTES);
        drop(share);
        assert_eq!(RESERVED_BYTES.load(Ordering::Relaxed), 0);
        assert!(
            enlarge(&read, 4096).is_none(),
            "a pipe is never made smaller"
        );
    }
}
