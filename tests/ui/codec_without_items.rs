//! No item of a codec has a default that a wrapper could inherit by mistake.

#[derive(Debug, Clone)]
struct Forgetful;

impl cachekit::Codec for Forgetful {}

fn main() {}
