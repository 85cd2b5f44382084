//! See `fuzz::event_lines`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::event_lines::check(bytes));
