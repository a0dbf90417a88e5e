//! Processes of their own, for tests that count threads, use up memory or live under a limit.

use std::any::type_name;
use std::process::Command;

const ALONE: &str = "GREENROOM_TEST_ALONE";

/// Runs a test's closure in a process of its own, where no other test is in the way.
///
/// It is called first in the test; the new process runs this test only.
pub(crate) fn alone<F: FnOnce()>(test: F) {
    alone_as("", |command| command, |_| test(), test_of::<F>());
}

/// As [`alone`]; the closure is given the words that the calling process knows.
pub(crate) fn alone_knowing<F: FnOnce(&str)>(words: impl FnOnce() -> String, test: F) {
    let known = match std::env::var(ALONE) {
        Ok(_) => String::new(),
        Err(_) => words(),
    };
    alone_as(&known, |command| command, test, test_of::<F>());
}

/// As [`alone`], with the process prepared by `prepare`.
#[cfg(target_os = "linux")]
pub(crate) fn alone_after<F: FnOnce()>(
    prepare: impl FnOnce(&mut Command) -> &mut Command,
    test: F,
) {
    alone_as("", prepare, |_| test(), test_of::<F>());
}

fn alone_as(
    words: &str,
    prepare: impl FnOnce(&mut Command) -> &mut Command,
    test: impl FnOnce(&str),
    name: &str,
) {
    if let Ok(words) = std::env::var(ALONE) {
        test(&words);
        #[cfg(target_os = "linux")]
        let_threads_end();
        return;
    }
    let program = if cfg!(target_os = "linux") {
        // Reaches the program also where another user may not read its folder.
        "/proc/self/exe".into()
    } else {
        std::env::current_exe().expect("a process knows its program")
    };
    let mut command = Command::new(program);
    command
        .args([name, "--exact", "--include-ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env(ALONE, words);
    let output = prepare(&mut command).output().expect("a process starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{}\n{text}",
        output.status
    );
    if let Some(line) = text.lines().find(|line| line.starts_with("skipped:")) {
        eprintln!("{line}");
    }
}

/// The name of the test in which a closure stands.
fn test_of<F>() -> &'static str {
    let path = type_name::<F>();
    let (_, path) = path.split_once("::").expect("a path begins with a crate");
    path.trim_end_matches("::{{closure}}")
}

/// Gives the workers of systems that have ended a moment: the process ends next, and who looks for
/// leaks then would take what a worker is about to free for one.
#[cfg(target_os = "linux")]
fn let_threads_end() {
    let begun = std::time::Instant::now();
    // The runner of tests has two: its own and the test's.
    while threads().len() > 2 && begun.elapsed() < std::time::Duration::from_secs(2) {
        std::thread::yield_now();
    }
}

/// The names of this process's threads, cut to 15 characters.
#[cfg(target_os = "linux")]
pub(crate) fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists the threads");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end between the listing and the reading.
        let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        Some(name.trim_end().to_owned())
    };
    tasks.filter_map(name).collect()
}
