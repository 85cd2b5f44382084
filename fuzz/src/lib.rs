//! Properties of the parsers that must hold for any external bytes. The fuzz targets check them
//! with generated input; the crates under test check them with the corpus.

pub mod event_lines;
pub mod frames;
pub mod messages;
