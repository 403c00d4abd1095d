//! The command `cachekit`.
fn main() {}
