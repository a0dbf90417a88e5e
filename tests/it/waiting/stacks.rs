//! The memory of stacks: how much there is of it, what lies at its end, and when it is given back.

use std::error::Error;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{AskError, BuildError, System, SystemBuilder};

use super::{HOUR, parked_stacks, sleep_for};
use crate::support::{Act, KIB, MIB, PATIENCE, Player, act, alone, eventually, go_down, in_time};

fn stacks_of(bytes: usize) -> (SystemBuilder, ManualClock) {
    let clock = ManualClock::new();
    let system = System::builder().workers(1).stack_size(bytes).clock(&clock);
    (system, clock)
}

#[test]
fn handlers_run_wait_and_panic_on_stacks_of_any_size() {
    for (bytes, reached) in [
        (0, 32 * KIB),
        (1, 32 * KIB),
        (64 * KIB + 1, 32 * KIB),
        (256 * KIB, 160 * KIB),
        (16 * MIB, 14 * MIB),
    ] {
        let (builder, clock) = stacks_of(bytes);
        let system = builder.build().expect("there is memory for a stack");
        let player = system.spawn(Player::default());
        let slept = player.ask(act(move |_, ctx| {
            go_down::<{ 4 * KIB }>(reached);
            let slept = ctx.sleep(HOUR);
            go_down::<{ 4 * KIB }>(reached);
            slept
        }));
        eventually("it sleeps", || system.snapshot().timers == 1);
        clock.advance(HOUR);
        eventually("it wakes up", || slept.is_ready());
        assert_eq!(slept.wait().unwrap(), Ok(()), "{bytes} bytes");
        let panicked = player.ask(act(|_, _| panic!("on a stack")));
        eventually("it panics", || panicked.is_ready());
        let outcome: Result<(), _> = panicked.wait();
        assert!(matches!(outcome, Err(AskError::Panicked { .. })));
        assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
    }
}

#[test]
fn a_size_beyond_all_memory_is_an_error_that_names_it_and_no_panic() {
    alone(|| {
        let panics = Arc::new(AtomicUsize::new(0));
        let counted = panics.clone();
        panic::set_hook(Box::new(move |_| {
            counted.fetch_add(1, SeqCst);
        }));
        for bytes in [1 << 60, usize::MAX / 2, usize::MAX - 64 * KIB, usize::MAX] {
            let (builder, _clock) = stacks_of(bytes);
            let stepped = Stepper::with_stacks(0, bytes, 1).map(drop);
            for built in [builder.build().map(drop), stepped] {
                let error = built.expect_err("there is not that much memory");
                assert!(matches!(error, BuildError::Stack(_)), "{error:?}");
                let cause = error.source().expect("it has a cause").to_string();
                assert_eq!(cause, format!("no memory for a stack of {bytes} bytes"));
            }
        }
        assert_eq!(panics.load(SeqCst), 0);
    });
}

#[cfg(target_os = "linux")]
mod seen_by_linux {
    use std::fs::read_to_string;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use greenroom::Addr;

    use super::*;
    use crate::support::{Borrow, Debtor, Log, Pay, gate};

    /// Whether the sanitizer is there, which keeps memory and handles signals itself.
    fn is_sanitized() -> bool {
        let sanitized = std::env::var_os("ASAN_OPTIONS").is_some();
        if sanitized {
            eprintln!("skipped: the sanitizer has memory and signals of its own");
        }
        sanitized
    }

    /// The memory of its own that this process has in use, in bytes: the program's file and what
    /// is read of it are left out.
    fn resident() -> usize {
        let rollup = read_to_string("/proc/self/smaps_rollup").expect("Linux tells it");
        let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<usize>().ok())
            .expect("it is told in KiB")
            * KIB
    }

    fn all_workers_sleep(system: &System) -> bool {
        let workers = system.snapshot().workers;
        workers.iter().all(|worker| worker.asleep)
    }

    #[test]
    fn memory_that_parked_handlers_used_is_given_back_when_the_worker_sleeps() {
        alone(|| {
            if is_sanitized() {
                return;
            }
            const DEPTH: usize = 512 * KIB;
            const HANDLERS: usize = 60;
            let clock = ManualClock::new();
            let builder = System::builder().workers(2).clock(&clock);
            let system = builder.build().expect("the machine has two threads");
            let players: Vec<_> = (0..HANDLERS)
                .map(|_| system.spawn(Player::default()))
                .collect();
            eventually("all sleep", || all_workers_sleep(&system));
            let before = resident();
            // Twice, since what was given back once is used again.
            for round in 0..2 {
                let sleeps: Vec<_> = players
                    .iter()
                    .map(|player| {
                        player.ask(act(|_, ctx| {
                            go_down::<{ 4 * KIB }>(DEPTH);
                            ctx.sleep(HOUR)
                        }))
                    })
                    .collect();
                eventually("all wait", || parked_stacks(&system) == HANDLERS);
                let used = resident() - before;
                assert!(used > HANDLERS * DEPTH * 9 / 10, "{used} in round {round}");
                clock.advance(HOUR);
                for sleep in sleeps {
                    eventually("it wakes up", || sleep.is_ready());
                    assert_eq!(sleep.wait().unwrap(), Ok(()));
                }
                eventually("all sleep", || all_workers_sleep(&system));
                let kept = resident().saturating_sub(before);
                assert!(kept < 2 * MIB, "{kept} in round {round}");
            }
            assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
        });
    }

    #[test]
    fn memory_that_a_handler_used_without_waiting_is_given_back_when_the_worker_sleeps() {
        alone(|| {
            if is_sanitized() {
                return;
            }
            let (builder, _clock) = stacks_of(64 * MIB);
            let system = builder.build().expect("there is memory for a stack");
            let player = system.spawn(Player::default());
            eventually("it sleeps", || all_workers_sleep(&system));
            let before = resident();
            let used = player.ask(act(|_, _| {
                go_down::<{ 4 * KIB }>(32 * MIB);
                resident()
            }));
            eventually("it answers", || used.is_ready());
            let used = used.wait().unwrap() - before;
            assert!(used > 31 * MIB, "{used}");
            eventually("it sleeps", || all_workers_sleep(&system));
            let kept = resident().saturating_sub(before);
            assert!(kept < 2 * MIB, "{kept}");
            assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
        });
    }

    #[test]
    fn memory_is_given_back_after_some_thousand_waits_by_a_worker_that_never_sleeps() {
        alone(|| {
            if is_sanitized() {
                return;
            }
            const WAITS: usize = 5000;
            let (builder, _clock) = stacks_of(64 * MIB);
            let system = builder.build().expect("there is memory for stacks");
            let debtor = system.spawn(Debtor::default());
            let player = system.actor().capacity(2 * WAITS);
            let player = player.spawn(Player::default()).expect("it is no limit");
            // Everything stands in the queue before the worker comes to it, and what ends a wait
            // stands in another queue by then: there is always something to do.
            let holder = system.spawn(Log::default());
            let (hold, gate) = gate();
            holder.send(hold).unwrap();
            gate.wait_until_held();
            let before = resident();
            let first = player.ask(wait_after_diving(&debtor, 32 * MIB));
            (0..WAITS).for_each(|_| {
                let wait = wait_after_diving(&debtor, 0);
                player.send(wait).expect("there is room");
            });
            let last = player.ask(wait_after_diving(&debtor, 0));
            gate.open();
            let [first, last] = [first, last].map(|told| {
                eventually("it is told", || told.is_ready());
                told.wait().unwrap().saturating_sub(before)
            });
            assert!(first > 31 * MIB, "{first}");
            assert!(last < 4 * MIB, "{last}");
            assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
        });
    }

    /// A message whose handler goes this deep, comes back, waits once, and tells what the process
    /// has in use then.
    fn wait_after_diving(debtor: &Addr<Debtor>, bytes: usize) -> Act<usize> {
        let asked = debtor.clone();
        act(move |_, _| {
            go_down::<{ 4 * KIB }>(bytes);
            let owed = asked.ask(Borrow);
            asked.send(Pay(1)).expect("there is room");
            owed.wait().expect("it is paid");
            resident()
        })
    }

    /// The stacks of this size among the mappings of this process that lie above a guard, and
    /// the number of all mappings.
    fn mapped_stacks(bytes: usize) -> (usize, usize) {
        let maps = read_to_string("/proc/self/maps").expect("Linux tells it");
        let mappings: Vec<_> = maps.lines().map(mapping).collect();
        let is_stack = |pair: &&[(usize, usize, &str)]| {
            let [(guard, below, locked), (above, end, open)] = **pair else {
                return false;
            };
            (locked, open) == ("---p", "rw-p")
                && below == above
                && below - guard == 64 * KIB
                && end - above == bytes
        };
        let stacks = mappings.windows(2).filter(is_stack).count();
        (stacks, mappings.len())
    }

    /// Where a mapping begins and ends, and what may be done with it.
    fn mapping(line: &str) -> (usize, usize, &str) {
        let (range, rest) = line.split_once(' ').expect("a line has several words");
        let (start, end) = range.split_once('-').expect("the first is a range");
        let [start, end] = [start, end]
            .map(|word| usize::from_str_radix(word, 16).expect("an address is a number"));
        let (rights, _) = rest.split_once(' ').expect("the second are rights");
        (start, end, rights)
    }

    #[test]
    fn a_stack_is_two_mappings_the_lower_one_a_guard_of_64_kib() {
        alone(|| {
            if is_sanitized() {
                return;
            }
            const HANDLERS: usize = 1000;
            let bytes = 320 * KIB;
            let (builder, _clock) = stacks_of(bytes);
            let system = builder.build().expect("there is memory for stacks");
            let players: Vec<_> = (0..HANDLERS)
                .map(|_| system.spawn(Player::default()))
                .collect();
            let (stacks, mappings) = mapped_stacks(bytes);
            assert_eq!(stacks, 1, "that of the worker");
            for player in &players {
                player.send(sleep_for(HOUR)).unwrap();
            }
            eventually("all wait", || parked_stacks(&system) == HANDLERS);
            let (stacks, more) = mapped_stacks(bytes);
            assert_eq!(stacks, HANDLERS + 1);
            let more = more - mappings;
            // The heap may have grown by some.
            assert!(
                (2 * HANDLERS..2 * HANDLERS + 32).contains(&more),
                "{more} more mappings"
            );
            players.iter().for_each(|player| player.kill());
            assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
            eventually("the worker gives back its stacks", || {
                mapped_stacks(bytes).0 == 0
            });
        });
    }

    #[test]
    fn a_handler_that_sleeps_holds_8_kib_of_memory_at_most() {
        alone(|| {
            if is_sanitized() {
                return;
            }
            const HANDLERS: usize = 10_000;
            // Frames that are not optimized reach one page further, or two.
            const LIMIT: usize = if cfg!(debug_assertions) { 16 } else { 8 } * KIB;
            let (builder, _clock) = stacks_of(MIB);
            let system = builder.build().expect("there is memory for stacks");
            let players: Vec<_> = (0..HANDLERS)
                .map(|_| system.spawn(Player::default()))
                .collect();
            eventually("it sleeps", || all_workers_sleep(&system));
            let before = resident();
            for player in &players {
                player.send(sleep_for(HOUR)).unwrap();
            }
            eventually("all wait", || parked_stacks(&system) == HANDLERS);
            let each = (resident() - before) / HANDLERS;
            assert!(each <= LIMIT, "{each} bytes");
            players.iter().for_each(|player| player.kill());
            assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
        });
    }

    /// Set in a process whose handler is to overflow its stack.
    const OVERFLOWING: &str = "GREENROOM_TEST_OVERFLOWING";

    /// Checks that a signal ends a process in which the test of this name has a handler go down
    /// without end.
    fn overflows<const FRAME: usize>(name: &str) {
        if is_sanitized() {
            return;
        }
        if std::env::var_os(OVERFLOWING).is_none() {
            let (_, module) = module_path!().split_once("::").expect("it is no root");
            let test = &format!("{module}::{name}");
            let child = Command::new("/proc/self/exe")
                .args([test, "--exact", "--nocapture", "--test-threads=1"])
                .env(OVERFLOWING, "1")
                .output()
                .expect("a process starts");
            let text = String::from_utf8_lossy(&child.stdout);
            assert!(child.status.signal().is_some(), "{}\n{text}", child.status);
            assert!(text.contains("it goes down"), "{text}");
            return;
        }
        let (builder, clock) = stacks_of(256 * KIB);
        let system = builder.build().expect("there is memory for stacks");
        let player = system.spawn(Player::default());
        // On a stack that was used before.
        let slept = player.ask(sleep_for(HOUR));
        eventually("it sleeps", || system.snapshot().timers == 1);
        clock.advance(HOUR);
        slept.wait().unwrap().unwrap();
        let reached = player.ask(act(|_, _| {
            println!("it goes down");
            go_down::<FRAME>(usize::MAX)
        }));
        panic!("it came back: {:?}", reached.wait_for(PATIENCE));
    }

    #[test]
    fn a_handler_that_overflows_its_stack_ends_the_process_by_a_signal() {
        overflows::<256>("a_handler_that_overflows_its_stack_ends_the_process_by_a_signal");
    }

    #[test]
    fn a_frame_larger_than_pages_does_not_step_over_the_end_of_its_stack() {
        overflows::<{ 32 * KIB }>(
            "a_frame_larger_than_pages_does_not_step_over_the_end_of_its_stack",
        );
    }
}
