//! ClientHellos: known from their beginning, and read as rustls reads them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gwanmun_gateway::fuzzing::hello(data));
