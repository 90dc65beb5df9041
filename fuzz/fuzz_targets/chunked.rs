//! Chunked bodies: the same however they arrive.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gwanmun_gateway::fuzzing::chunked(data));
