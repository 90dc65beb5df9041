//! Every finding code and every condition reason is shown by a golden.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]
#![expect(clippy::disallowed_methods, reason = "goldens are files")]

use gwanmun_api::manifest::ReadCode;
use gwanmun_translate::Code;
use std::{fs, path::Path};

/// Codes that no golden shows yet.
const WITHOUT: &[&str] = &[];

fn snapshots(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            snapshots(&path, text);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "snap")
        {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_finding_code_has_a_golden() {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let mut text = String::new();
    snapshots(golden, &mut text);
    let codes = Code::ALL.iter().map(|code| code.as_str());
    let codes = codes.chain(ReadCode::ALL.iter().map(|code| code.as_str()));
    let missing: Vec<&str> = codes.filter(|code| !text.contains(code)).collect();
    assert_eq!(missing, WITHOUT, "left: codes without a golden");
}
