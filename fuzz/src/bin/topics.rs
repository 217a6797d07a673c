//! Runs [`callway_fuzz::topics`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callway_fuzz::topics::check(data));
