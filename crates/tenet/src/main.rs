//! The binary: picks the program by name.

fn main() {}
