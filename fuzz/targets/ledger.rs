#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachekit::fuzzing::ledger(bytes));
