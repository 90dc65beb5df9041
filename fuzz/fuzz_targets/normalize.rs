//! Request paths: the normal form is stable.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gwanmun_gateway::fuzzing::normalize(data));
