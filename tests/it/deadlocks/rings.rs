//! Rings: each of several actors waits for the next one, and the last for the first.

use std::ops::Range;

use greenroom::System;

use super::{Member, WAYS, Way, close_ring, run};
use crate::support::{Numbers, in_a_pool, in_pools, telling_seed, under_seed, under_seeds};

fn ring_of(system: &System, way: Way, members: usize) -> Vec<Member<'_>> {
    vec![Member::new(system, way); members]
}

/// Closes rings of these sizes, for each way to wait.
fn close_rings(system: &System, sizes: &[usize], run: &dyn Fn()) {
    for way in WAYS {
        for members in sizes {
            close_ring(&ring_of(system, way, *members), run);
        }
    }
}

#[test]
fn two_actors_that_wait_for_each_other_are_found_under_every_order_of_steps() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let began = stepper.clock().now();
        for first in WAYS {
            for second in WAYS {
                let ring = [Member::new(system, first), Member::new(system, second)];
                close_ring(&ring, &|| run(stepper));
            }
        }
        assert_eq!(stepper.clock().now(), began, "no deadline had to pass");
    });
}

#[test]
fn rings_of_3_to_64_actors_are_found_in_a_stepped_system() {
    under_seeds(|stepper| {
        close_rings(stepper.system(), &[3, 16, 17, 18], &|| run(stepper));
    });
    under_seed(7, |stepper| {
        let sizes: Vec<_> = (4..16).chain(19..=64).collect();
        close_rings(stepper.system(), &sizes, &|| run(stepper));
    });
}

#[test]
fn rings_of_2_to_64_actors_are_found_in_pools() {
    in_pools(|system| {
        for _ in 0..20 {
            close_rings(system, &[2, 3], &|| ());
        }
        close_rings(system, &[5, 16, 17, 33, 64], &|| ());
    });
}

#[test]
fn a_ring_of_a_thousand_actors_is_found_in_pools() {
    in_pools(|system| {
        for way in [Way::Answer, Way::Room, Way::End] {
            close_ring(&ring_of(system, way, 1000), &|| ());
        }
    });
}

/// A ring in which everything is left to the generator.
fn any_ring<'a>(systems: &[&'a System], numbers: &mut Numbers) -> Vec<Member<'a>> {
    let mut threads = 0;
    let members = 2 + numbers.below(23);
    let ring = (0..members).map(|_| {
        let member = Member::new(numbers.pick(systems), numbers.pick(&WAYS));
        if threads < 4 && numbers.below(4) == 0 {
            threads += 1;
            return member.on_its_own_thread();
        }
        member
    });
    ring.collect()
}

/// Closes a ring for each of these seeds.
fn close_any_rings(systems: &[&System], seeds: Range<u64>) {
    for seed in seeds {
        telling_seed(seed, || {
            close_ring(&any_ring(systems, &mut Numbers(seed)), &|| ());
        });
    }
}

#[test]
fn rings_of_every_mixture_of_waits_and_threads_are_found_in_a_stepped_system() {
    under_seeds(|stepper| {
        let mut numbers = Numbers(stepper.seed());
        for _ in 0..10 {
            let ring = any_ring(&[stepper.system()], &mut numbers);
            close_ring(&ring, &|| run(stepper));
        }
    });
}

#[test]
fn rings_of_every_mixture_of_waits_and_threads_are_found_in_pools() {
    in_pools(|system| close_any_rings(&[system], 0..60));
}

#[test]
fn actors_on_threads_of_their_own_close_a_ring_without_a_pool_between_them() {
    in_a_pool(1, |system| {
        for way in WAYS {
            for members in [2, 5] {
                let ring = ring_of(system, way, members);
                let ring: Vec<_> = ring.into_iter().map(Member::on_its_own_thread).collect();
                close_ring(&ring, &|| ());
            }
        }
    });
}

#[test]
fn a_ring_through_two_pools_is_found() {
    for workers in [1, 2] {
        in_a_pool(workers, |first| {
            in_a_pool(1, |second| {
                for way in WAYS {
                    let ring = [Member::new(first, way), Member::new(second, way)];
                    close_ring(&ring, &|| ());
                }
                close_any_rings(&[first, second], 0..60);
            });
        });
    }
}

#[test]
fn a_ring_through_a_pool_and_a_stepped_system_is_found() {
    under_seed(3, |stepper| {
        in_a_pool(1, |system| {
            for way in WAYS {
                let ring = [
                    Member::new(stepper.system(), way),
                    Member::new(system, way),
                    Member::new(system, way).on_its_own_thread(),
                ];
                close_ring(&ring, &|| run(stepper));
            }
        });
    });
}

#[test]
fn several_rings_that_close_at_the_same_time_are_told_once_each() {
    in_pools(|system| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || close_any_rings(&[system], thread * 30..(thread + 1) * 30));
            }
        });
    });
}
