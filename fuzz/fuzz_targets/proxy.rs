//! PROXY headers: no byte more than they have.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gwanmun_gateway::fuzzing::proxy(data));
