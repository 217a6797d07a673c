//! Runs [`callway_fuzz::session`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callway_fuzz::session::check(data));
