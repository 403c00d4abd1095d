//! No method of a backend has a default that a wrapper could inherit by mistake.

#[derive(Debug)]
struct Forgetful;

impl cachekit::Backend for Forgetful {}

fn main() {}
