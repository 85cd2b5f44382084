//! Settings of glibc's allocator, with which a service returns the memory of long lines as soon as
//! it frees it.
//!
//! Without them, claude-api kept 255 MiB after twelve answers of 20 MB, four at a time: glibc
//! raises its own limit for blocks from `mmap` with each such block that is freed (mallopt(3),
//! `M_MMAP_THRESHOLD`), and blocks below the limit stay with the arena. With them it is 11 MiB at
//! once, and 115 MiB at the most while they pass. jemalloc was tried: it returns the memory seconds
//! later, takes 4 MiB more while data passes, and half a millisecond at the start of each runner.

/// The smallest block that is mapped by itself and unmapped when it is freed, in bytes. Smaller
/// blocks, such as the chunks of a stream, come too often for that.
const MMAP_THRESHOLD_BYTES: i32 = 1 << 20;
/// The most free memory at the end of an arena, in bytes. Setting `M_MMAP_THRESHOLD` turns off
/// glibc's dynamic thresholds, so this one would stay at 128 KiB: memory would be returned and
/// taken again for each chunk, and text took 20 % longer.
const TRIM_THRESHOLD_BYTES: i32 = 4 << 20;
/// The most arenas, shared by all threads. glibc's default is eight for each core, each with its
/// own free memory.
const MAX_ARENAS: i32 = 2;

/// Changes the allocator's settings for the rest of the process. Call it first in `main`. Does
/// nothing where the C library is not glibc.
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt has no safe interface")]
    // SAFETY: each call only sets a number of the allocator, under the allocator's own lock.
    unsafe {
        // A call returns 0 for a number that glibc refuses, and then keeps the default.
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, MAX_ARENAS);
    }
}
