//! UDP sessions: the table agrees with a plain map.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gwanmun_gateway::fuzzing::udp(data));
