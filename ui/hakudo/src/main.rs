//! The `hakudo` command.
fn main() {}
