//! Request heads: the same however they arrive, and sent on as they were read.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gwanmun_gateway::fuzzing::request(data));
