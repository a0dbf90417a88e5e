//! The smaller examples run as programs, and print what is written down beside this file.

#![cfg(not(loom))]

use std::process::Command;

#[path = "examples/build.rs"]
mod build;

fn check(example: &str, expected: &str) {
    let output = Command::new(build::build(example))
        .output()
        .expect("the program can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed == expected,
        "it printed\n{printed}\ninstead of\n{expected}"
    );
}

#[test]
fn hello() {
    check("hello", include_str!("examples/hello.txt"));
}

#[test]
fn ask() {
    check("ask", include_str!("examples/ask.txt"));
}

#[test]
fn backpressure() {
    check("backpressure", include_str!("examples/backpressure.txt"));
}

#[test]
fn routers() {
    check("routers", include_str!("examples/routers.txt"));
}

#[test]
fn state_machine() {
    check("state_machine", include_str!("examples/state_machine.txt"));
}

#[test]
fn timers() {
    check("timers", include_str!("examples/timers.txt"));
}

#[test]
fn supervision() {
    check("supervision", include_str!("examples/supervision.txt"));
}

// It prints how many threads the process has, which it can count on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn waiting() {
    check("waiting", include_str!("examples/waiting.txt"));
}
