//! Keys that belong to members.

use std::collections::BTreeMap;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Recipient, Router};
use proptest::prelude::*;

use super::{logs, recipients, seen};
use crate::support::{Entry, Log, under_seed};

/// A router by numbers.
fn by_number<'a>(logs: impl IntoIterator<Item = &'a Addr<Log>>) -> Recipient<Entry> {
    let members = logs.into_iter().map(Addr::recipient);
    Router::by_key(|Entry(number)| *number).recipient(members)
}

/// Sends each key once; which of the members it belongs to, told by its place.
fn owners(
    stepper: &Stepper,
    router: &Recipient<Entry>,
    logs: &[Addr<Log>],
) -> BTreeMap<u64, usize> {
    let before = lens(logs);
    for key in KEYS {
        router.send(Entry(key)).unwrap();
        if key % 500 == 0 {
            stepper.run();
        }
    }
    let mut owners = BTreeMap::new();
    for (index, (seen, before)) in seen_of(logs).into_iter().zip(before).enumerate() {
        owners.extend(seen[before..].iter().map(|key| (*key, index)));
    }
    assert_eq!(owners.len(), KEYS.count());
    owners
}

const KEYS: std::ops::Range<u64> = 0..2000;

/// Nothing of those that have ended.
fn seen_of(logs: &[Addr<Log>]) -> Vec<Vec<u64>> {
    let seen = |log: &Addr<Log>| log.ask(crate::support::Seen).wait().unwrap_or_default();
    logs.iter().map(seen).collect()
}

fn lens(logs: &[Addr<Log>]) -> Vec<usize> {
    seen_of(logs).iter().map(Vec::len).collect()
}

#[test]
fn messages_with_the_same_key_go_to_the_same_member_in_order() {
    under_seed(0, |stepper| {
        let logs = logs(stepper, 5);
        let router: Recipient<Entry> =
            Router::by_key(|Entry(number): &Entry| format!("key {}", number % 7))
                .recipient(recipients(&logs));
        for number in 0..70 {
            router.send(Entry(number)).unwrap();
        }
        let seen = seen(&logs);
        for key in 0..7 {
            let of_key = |seen: &Vec<u64>| -> Vec<u64> {
                seen.iter()
                    .copied()
                    .filter(|number| number % 7 == key)
                    .collect()
            };
            let holders: Vec<_> = seen
                .iter()
                .map(of_key)
                .filter(|of| !of.is_empty())
                .collect();
            assert_eq!(
                holders,
                [(0..10).map(|turn| turn * 7 + key).collect::<Vec<_>>()]
            );
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        // A failure prints its input and its seed.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn when_a_member_ends_only_its_keys_move(
        members in 2..10_usize,
        gone in any::<prop::sample::Index>(),
        ids_before in 0..1000_usize,
    ) {
        let stepper = Stepper::new(0);
        drop(logs(&stepper, ids_before));
        let logs = logs(&stepper, members);
        let gone = gone.index(members);
        let router = by_number(&logs);
        let before = owners(&stepper, &router, &logs);
        logs[gone].stop();
        stepper.run();
        let after = owners(&stepper, &router, &logs);
        let mut heirs = vec![0; members];
        for key in KEYS {
            if before[&key] == gone {
                heirs[after[&key]] += 1;
            } else {
                prop_assert_eq!(before[&key], after[&key], "key {} moved", key);
            }
        }
        prop_assert_eq!(heirs[gone], 0);
        // Its keys are spread over all the others.
        prop_assert!(heirs.iter().enumerate().all(|(heir, keys)| heir == gone || *keys > 0));
    }

    #[test]
    fn a_router_anew_with_one_more_or_one_less_moves_only_that_ones_keys(
        members in 2..10_usize,
        changed in any::<prop::sample::Index>(),
    ) {
        let stepper = Stepper::new(0);
        let logs = logs(&stepper, members);
        let changed = changed.index(members);
        let fewer = logs.iter().enumerate().filter(|(index, _)| *index != changed);
        let fewer = by_number(fewer.map(|(_, log)| log));
        let with = owners(&stepper, &by_number(&logs), &logs);
        let without = owners(&stepper, &fewer, &logs);
        for key in KEYS {
            if with[&key] != changed {
                prop_assert_eq!(with[&key], without[&key], "key {} moved", key);
            }
        }
        // The order of the members is nothing to the keys.
        let turned = owners(&stepper, &by_number(logs.iter().rev()), &logs);
        prop_assert_eq!(with, turned);
    }

    #[test]
    fn keys_are_spread_evenly(members in 1..12_usize, ids_before in 0..1000_usize) {
        let stepper = Stepper::new(0);
        drop(logs(&stepper, ids_before));
        let logs = logs(&stepper, members);
        let owners = owners(&stepper, &by_number(&logs), &logs);
        let share = KEYS.count() as f64 / members as f64;
        // Six standard deviations.
        let most = 6.0 * (share * (1.0 - 1.0 / members as f64)).sqrt();
        for member in 0..members {
            let keys = owners.values().filter(|owner| **owner == member).count() as f64;
            prop_assert!((keys - share).abs() <= most, "{} of {}", keys, share);
        }
    }
}

#[test]
fn a_member_that_is_given_twice_gets_twice_the_keys() {
    under_seed(0, |stepper| {
        let logs = logs(stepper, 2);
        let router = by_number([&logs[0], &logs[1], &logs[0]]);
        let owners = owners(stepper, &router, &logs);
        let of_first = owners.values().filter(|owner| **owner == 0).count();
        // Two thirds of 2000, within six standard deviations.
        assert!((1207..=1460).contains(&of_first), "{of_first}");
    });
}
