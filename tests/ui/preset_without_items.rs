//! An intent of one's own decides everything: types, codec, backend, settings.

#[derive(Debug)]
struct Forgetful;

impl cachekit::intent::Preset for Forgetful {}

fn main() {}
