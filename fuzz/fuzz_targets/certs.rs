//! Certificates, keys, revocation lists, OCSP responses: read or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gwanmun_gateway::fuzzing::certs(data));
