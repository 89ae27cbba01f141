//! Real nodes and real agents in network namespaces.
fn main() {}
