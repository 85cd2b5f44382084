//! Settings of glibc's allocator, with which a service returns the memory of long lines as soon as it frees it.
//!
//! Without them, claude-api kept 255 MiB after twelve answers of 20 MB, four at a time: glibc raises its own limit for blocks
//! from `mmap` with each such block that is freed (mallopt(3), `M_MMAP_THRESHOLD`), and blocks below the limit stay with
//! the arena. With them it is 11 MiB at once, and 115 MiB at the most while they pass. jemalloc was tried: it returns the
//! memory seconds later, takes 4 MiB more while data passes, and half a millisecond at the start of each runner.

/// Blocks of this size and more are mapped, and unmapped when they are freed, bytes. Smaller ones, such as the chunks of a
/// stream, are too frequent for that.
const MAPPED_BYTES: i32 = 1 << 20;
/// The most free memory at the end of an arena, bytes. With a limit of ours for mapped blocks glibc would return each 128 KiB
/// at once, and take them again for the next chunk: text took 20 % longer.
const FREE_BYTES: i32 = 4 << 20;
/// Threads share so many arenas: glibc would have eight for each core, each with its own free memory.
const ARENAS: i32 = 2;

/// Makes the settings, for the rest of the process. To be called first in `main`. Where the C library is not glibc, its
/// allocator is used as it is.
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt has no safe interface")]
    // SAFETY: they only set numbers of the allocator, under its own lock.
    unsafe {
        // They return 0 for a number that glibc refuses, and leave its own.
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, FREE_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}
