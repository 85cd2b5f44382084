//! What must hold for any bytes from outside. The fuzz targets call these with what libFuzzer makes
//! up; the crates under test call them with the corpus.

pub mod event_lines;
pub mod frames;
pub mod messages;
