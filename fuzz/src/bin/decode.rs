//! Runs [`callway_fuzz::decode`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callway_fuzz::decode::check(data));
