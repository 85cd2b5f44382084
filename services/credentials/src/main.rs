//! The program `credentials`.

fn main() {}
