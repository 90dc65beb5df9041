//! Golden tests: manifests in, configuration, statuses and findings out.
//!
//! `golden/AREA/CASE.in.yaml` is the input, `CASE.snap` beside it the expectation; only output is
//! in it. `make golden` rewrites expectations; the diff is the review.
//!
//! - `golden/AREA/_base.yaml`, if there, is read before every case of its directory.
//! - A line `# options: {"labels": {"istio": "ingressgateway"}}` changes the [`Options`]:
//!   `labels`, `namespace`, `gatewayClasses`, `rootNamespace`, `revision`, `compat`, `addresses`,
//!   and `bound`,
//!   the keys of listeners that a gateway reports as bound (`["*"]`: all). `show` limits the
//!   output to `findings` and to entries that start so: `route HTTPRoute`, `status Gateway`.
//! - `$(certificate NAME)` and `$(key NAME)` become the PEM of a certificate for the name, made for
//!   the run, and `$(ca NAME)` that of its issuer; outputs show `[PEM]`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]
#![expect(clippy::disallowed_methods, reason = "goldens are files")]

mod support;

#[test]
fn golden() {
    insta::glob!("golden/**/*.in.yaml", |path| {
        let case = path.file_name().unwrap().to_str().unwrap();
        let directory = path.parent().unwrap();
        let base = std::fs::read_to_string(directory.join("_base.yaml")).unwrap_or_default();
        let text = std::fs::read_to_string(path).unwrap();
        let output = support::golden::run(&base, case, &text);
        insta::with_settings!({
            snapshot_path => directory,
            prepend_module_to_snapshot => false,
            omit_expression => true,
            snapshot_suffix => "",
        }, {
            insta::assert_yaml_snapshot!(case.trim_end_matches(".in.yaml"), output);
        });
    });
}
