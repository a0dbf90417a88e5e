//! Builds an example as a program, for tests that run it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Builds the example and returns where the program lies.
///
/// Whether cargo builds an example along with a test depends on which tests it was asked for, so
/// it is asked again: if the example is up to date that takes no time.
pub(crate) fn build(example: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own program");
    let profile_dir = test
        .ancestors()
        .nth(2)
        .expect("a test lies in target/PROFILE/deps");
    let mut target_dir = profile_dir.parent().expect("a profile has a directory");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("a profile has a name"),
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--example", example])
        .args(["--profile", profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // The root of the target directory has this file; otherwise there is a directory for the
    // target platform in between.
    if !target_dir.join(".rustc_info.json").exists() {
        cargo
            .arg("--target")
            .arg(target_dir.file_name().expect("a platform has a name"));
        target_dir = target_dir.parent().expect("a platform has a directory");
    }
    cargo.arg("--target-dir").arg(target_dir);
    let status = cargo.status().expect("cargo can be run");
    assert!(status.success(), "the example does not build");
    let program = format!("{example}{}", env::consts::EXE_SUFFIX);
    profile_dir.join("examples").join(program)
}
