//! Storms: hundreds of actors that ask, put answers off, forward them, send into small mailboxes,
//! want any of several answers, wait for ends, stop, panic and are killed, all at random.
//!
//! Along an order there is no circle, so there must be no alarm; anywhere else each alarm is
//! checked against what the actors say of their own waits ([`log`]). Nothing may hang: a stepped
//! system panics if nothing can happen any more, a pool has to make progress.
//!
//! The long form goes on until there were so many waits, in pools only, and prints its figures:
//!
//! ```sh
//! GREENROOM_STORM_WAITS=10000000 cargo test --release --test it storm -- --nocapture --test-threads=1
//! ```
//!
//! A failure prints the seed. `GREENROOM_STORM_SEED=7 cargo test --test it storm` replays it: the
//! same steps in a stepped system; in a pool the same decisions, as long as the threads allow.

mod log;
mod sailor;
mod sea;

use std::env;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use greenroom::System;
use greenroom::testkit::Stepper;

use self::sailor::{Blow, Wind};
use self::sea::{Course, Sea};
use crate::support::{Numbers, PATIENCE, pool};

const SAILORS: usize = 200;
const WINDS: u64 = 32;

/// What became of some storms.
#[derive(Default)]
struct Figures {
    waits: u64,
    alarms: u64,
    unchecked: u64,
}

/// The number in this variable of the environment.
fn number_in(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().expect("it is a number"))
}

/// Runs `f`; if it panics, prints how to replay this seed.
fn replayable<R>(seed: u64, f: impl FnOnce() -> R) -> R {
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let seed = self.0;
                eprintln!("replay: GREENROOM_STORM_SEED={seed} cargo test --test it storm");
            }
        }
    }
    let _tell = Tell(seed);
    f()
}

/// Lets a storm of so many waits blow over.
fn storm(system: &System, course: Course, seed: u64, waits: u64, figures: &mut Figures) {
    let sea = Sea::new(course, SAILORS, waits, || system.actor());
    let winds: Vec<_> = (0..WINDS)
        .map(|wind| {
            let wind = system.spawn(Wind {
                sea: sea.clone(),
                numbers: Numbers(seed << 8 | wind),
            });
            wind.send(Blow).expect("there is room");
            wind
        })
        .collect();
    for wind in winds {
        let mut before = sea.waits.load(SeqCst);
        while wind.join_for(PATIENCE).expect("the test waits").is_none() {
            let now = sea.waits.load(SeqCst);
            assert!(now > before, "it hangs: {}", picture(system));
            before = now;
        }
    }
    sea.clear();
    let report = system.shutdown(PATIENCE);
    assert!(report.is_clean(), "{report}");
    assert!(system.snapshot().totals.is_balanced());
    if let Some(failure) = sea.failure() {
        panic!("{failure}");
    }
    figures.waits += sea.waits.load(SeqCst);
    figures.alarms += sea.alarms.load(SeqCst);
    figures.unchecked += sea.unchecked.load(SeqCst);
    let sea = Arc::into_inner(sea);
    assert!(sea.is_some(), "all that shared it have ended");
}

fn picture(system: &System) -> String {
    let waits = system.waits();
    let waits = waits.iter().map(|wait| format!("\n{wait}"));
    waits.collect()
}

/// A few storms in stepped systems and pools; or, in the long form, as many as it takes.
fn storms(course: Course) -> Figures {
    let mut figures = Figures::default();
    let seeds = number_in("GREENROOM_STORM_SEED").map_or(0..5, |seed| seed..seed + 1);
    let Some(enough) = number_in("GREENROOM_STORM_WAITS") else {
        for seed in seeds.clone() {
            replayable(seed, || {
                let stepper = Stepper::new(seed);
                storm(stepper.system(), course, seed, 4_000, &mut figures);
            });
        }
        for seed in seeds {
            for workers in [1, 2, 8] {
                replayable(seed, || {
                    storm(&pool(workers), course, seed, 8_000, &mut figures);
                });
            }
        }
        return figures;
    };
    let began = Instant::now();
    let mut rounds = seeds.start..;
    while figures.waits < enough {
        let seed = rounds.next().expect("there is no end of numbers");
        for workers in [1, 2, 8] {
            replayable(seed, || {
                storm(&pool(workers), course, seed, 500_000, &mut figures);
            });
        }
    }
    let rate = figures.waits as f64 / began.elapsed().as_secs_f64();
    eprintln!(
        "{course:?}: {} waits, {rate:.0} a second; {} alarms, {} of them unchecked",
        figures.waits, figures.alarms, figures.unchecked
    );
    figures
}

#[test]
fn waits_along_an_order_never_hang_and_nobody_is_alarmed() {
    let figures = storms(Course::Ordered);
    assert_eq!(figures.alarms, 0);
}

#[test]
fn waits_for_anybody_never_hang_and_no_alarm_is_false() {
    let figures = storms(Course::Wild);
    assert!(figures.alarms > 0, "circles were closed");
    assert!(figures.unchecked * 100 <= figures.alarms);
}
