//! What cannot be had is an error at the caller: workers, threads, memory for stacks.

use greenroom::testkit::Stepper;
use greenroom::{BuildError, System};

use crate::support::{Note, PATIENCE, Player};

#[test]
fn a_pool_without_workers_cannot_be_built() {
    let built = System::builder().workers(0).build();
    assert!(matches!(built, Err(BuildError::NoWorkers)));
}

#[test]
fn a_stack_beyond_all_memory_is_an_error() {
    for bytes in [1 << 60, usize::MAX / 2, usize::MAX - 1, usize::MAX] {
        let built = System::builder().workers(2).stack_size(bytes).build();
        assert!(matches!(built, Err(BuildError::Stack(_))), "{bytes} bytes");
        let stepped = Stepper::with_stacks(0, bytes, 10);
        assert!(matches!(stepped, Err(BuildError::Stack(_))));
    }
    // Nothing is left behind that keeps the next one from running.
    let system = System::builder().workers(2).build().unwrap();
    let player = system.spawn(Player::default());
    player.ask(Note(1)).wait_for(PATIENCE).unwrap();
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[cfg(target_os = "linux")]
mod by_the_operating_system {
    use std::fmt::Display;
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::Arc;
    use std::time::Duration;

    use greenroom::testkit::ManualClock;
    use greenroom::{AskError, SpawnError, WaitError};

    use super::{BuildError, Note, PATIENCE, Player, System};
    use crate::support::{act, alone, alone_after, end_of, eventually, in_time, threads};

    /// A user under whom nothing else runs.
    const NOBODY: u32 = 54_321;

    /// Puts this process under a limit until it sets another; `false` if the machine has no
    /// tool for that.
    fn limit(what: &str, amount: impl Display) -> bool {
        let process = std::process::id().to_string();
        let prlimit = Command::new("prlimit")
            .args(["--pid", &process, &format!("--{what}={amount}:")])
            .status();
        match prlimit {
            Ok(status) => status.success(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn is_user(id: u32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
        let user = status.lines().find(|line| line.starts_with("Uid:"));
        user.is_some_and(|line| line.split_whitespace().nth(1) == Some(&id.to_string()))
    }

    #[test]
    fn a_refused_thread_is_an_error_and_leaves_nothing_behind() {
        alone_after(
            |command| {
                // Root is not bound by the limit, and others have processes already.
                match is_user(0) {
                    true => command.uid(NOBODY).gid(NOBODY),
                    false => command,
                }
            },
            || {
                let before = threads().len();
                if !is_user(NOBODY) || !limit("nproc", before + 3) {
                    eprintln!("skipped: it needs root and prlimit");
                    return;
                }
                for workers in [4, 16] {
                    let built = System::builder().workers(workers).build();
                    assert!(matches!(built, Err(BuildError::Thread(_))), "{built:?}");
                    eventually("those that were started end", || threads().len() == before);
                }
                let clock = ManualClock::new();
                let system = System::builder().workers(2).clock(&clock).build().unwrap();
                let first = system.actor().spawn_thread(Player::default).unwrap();
                let carried = Arc::new(());
                let carries = carried.clone();
                let second = system.actor().registered("x").spawn_thread(move || {
                    drop(carries);
                    Player::default()
                });
                assert!(matches!(second, Err(SpawnError::Thread(_))), "{second:?}");
                assert_eq!(Arc::strong_count(&carried), 1);
                assert_eq!(system.snapshot().actors.len(), 1);
                assert_eq!(system.snapshot().names, 0);
                // Once the first has ended, there is room for another one.
                first.stop();
                eventually("it ends", || first.is_stopped());
                eventually("its thread ends", || threads().len() == before + 2);
                let third = system.actor().spawn_thread(Player::default).unwrap();
                let noted = third.ask(Note(1));
                eventually("it is noted", || noted.is_ready());
                assert!(system.shutdown(Duration::from_secs(1)).is_clean());
                assert!(system.snapshot().totals.is_balanced());
            },
        );
    }

    #[test]
    fn a_refused_thread_is_an_error_at_the_handler_that_would_block_unless_there_is_another() {
        /// Another user than the other test's, whose threads would count.
        const SOMEBODY: u32 = NOBODY + 1;
        alone_after(
            |command| match is_user(0) {
                true => command.uid(SOMEBODY).gid(SOMEBODY),
                false => command,
            },
            || {
                let before = threads().len();
                if !is_user(SOMEBODY) || !limit("nproc", before + 3) {
                    eprintln!("skipped: it needs root and prlimit");
                    return;
                }
                let clock = ManualClock::new();
                let system = System::builder().workers(2).clock(&clock).build().unwrap();
                let alone = system.actor().spawn_thread(Player::default).unwrap();
                let players: Vec<_> = (0..4).map(|_| system.spawn(Player::default())).collect();
                let refused = players[0].ask(act(move |_, ctx| {
                    let mut was_run = false;
                    (ctx.blocking(|| was_run = true), was_run)
                }));
                eventually("it answers", || refused.is_ready());
                assert_eq!(refused.wait().unwrap(), (Err(WaitError::NoThread), false));
                // With room for one thread, all closures are run by that.
                alone.stop();
                eventually("its thread ends", || threads().len() == before + 2);
                let blocked: Vec<_> = players
                    .iter()
                    .map(|player| player.ask(act(|_, ctx| ctx.blocking(|| 1))))
                    .collect();
                for blocked in blocked {
                    eventually("it is run", || blocked.is_ready());
                    assert_eq!(blocked.wait().unwrap(), Ok(1));
                }
                assert_eq!(system.snapshot().blocking.threads, 1);
                assert!(system.shutdown(Duration::from_secs(1)).is_clean());
            },
        );
    }

    #[test]
    fn a_refused_stack_is_an_error_at_the_handler_that_would_wait() {
        alone(|| {
            const STACK: usize = 64 << 20;
            let clock = ManualClock::new();
            let builder = System::builder().workers(1).stack_size(STACK);
            let system = builder.clock(&clock).build().unwrap();
            let sleepers: Vec<_> = (0..40).map(|_| system.spawn(Player::default())).collect();
            let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
            let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
            let room = 20 * STACK as u64;
            if !limit("as", pages * 4096 + room) {
                eprintln!("skipped: it needs prlimit");
                return;
            }
            let sleeps: Vec<_> = sleepers
                .iter()
                .map(|player| player.ask(act(|_, ctx| ctx.sleep(Duration::from_secs(1)))))
                .collect();
            let asleep = || system.snapshot().timers;
            let refused = || sleeps.iter().filter(|sleep| sleep.is_ready()).count();
            eventually("some sleep, some are refused", || {
                asleep() + refused() == 40
            });
            assert!((1..=20).contains(&asleep()), "{} sleep", asleep());
            clock.advance(Duration::from_secs(1));
            let mut slept = 0;
            for sleep in sleeps {
                eventually("it answers", || sleep.is_ready());
                match sleep.wait() {
                    Ok(Ok(())) => slept += 1,
                    Ok(Err(error)) => assert_eq!(error, WaitError::NoStack),
                    Err(error) => panic!("{error}"),
                }
            }
            assert!((1..=20).contains(&slept));
            // The worker goes on, and handlers wait again.
            let again = sleepers[39].ask(act(|_, ctx| ctx.sleep(Duration::ZERO)));
            eventually("it answers", || again.is_ready());
            assert_eq!(again.wait().unwrap(), Ok(()));
            assert!(system.shutdown(Duration::from_secs(1)).is_clean());
            limit("as", "unlimited");
        });
    }

    #[test]
    fn a_refused_mapping_is_an_error_at_the_handler_that_would_wait() {
        alone(|| {
            if std::env::var_os("ASAN_OPTIONS").is_some() {
                eprintln!("skipped: the sanitizer needs mappings itself");
                return;
            }
            // Each stack needs two mappings, more than Linux gives a process by default.
            let builder = System::builder().workers(2).max_stacks(100_000);
            let system = builder.stack_size(1 << 16).build().unwrap();
            let player = system.spawn(Player::default());
            let sleepers: Vec<_> = (0..34_000)
                .map(|_| system.spawn(Player::default()))
                .collect();
            let sleeps: Vec<_> = sleepers
                .iter()
                .map(|player| player.ask(act(|_, ctx| ctx.sleep(Duration::from_secs(3600)))))
                .collect();
            eventually("each sleeps or is refused", || {
                let refused = sleeps.iter().filter(|sleep| sleep.is_ready()).count();
                system.snapshot().timers + refused >= sleeps.len()
            });
            player.ask(Note(1)).wait_for(PATIENCE).unwrap();
            sleepers.iter().for_each(|sleeper| sleeper.kill());
            for sleep in sleeps {
                let outcome: Result<_, AskError> = sleep.wait_for(PATIENCE);
                let woken = outcome.unwrap().unwrap_err();
                assert!(matches!(woken, WaitError::Interrupted | WaitError::NoStack));
            }
            end_of(&sleepers[0]);
            assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
        });
    }
}
