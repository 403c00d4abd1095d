#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachekit::fuzzing::file_entry(bytes));
