//! The stacks on which threads run actors: as large as the system says, whatever the thread has, and
//! counted among the system's.

use std::thread::{self, ThreadId};

use greenroom::{Addr, System};

use super::{here, occupy, open_player, open_players, place, workers};
use crate::support::{
    Act, KIB, MIB, PATIENCE, Player, act, alone, close_the_books, go_down, in_pools, in_time,
};

fn on_a_stack_of<R: Send + 'static>(bytes: usize, f: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = thread::Builder::new().stack_size(bytes).spawn(f);
    thread.expect("there is a thread").join().unwrap()
}

/// Uses 4 MiB, once in small frames and once in a single one; tells where.
fn use_much() -> Act<ThreadId> {
    act(|_, _| {
        go_down::<{ 4 * KIB }>(4 * MIB);
        go_down::<{ 4 * MIB }>(0);
        here()
    })
}

#[test]
fn a_handler_has_the_stack_of_the_system_on_a_thread_with_a_smaller_one() {
    // An overflow ends the process.
    alone(|| {
        let builder = System::builder().workers(2).stack_size(16 * MIB);
        let system = builder.build().unwrap();
        let gates = occupy(&system);
        for bytes in [2 * MIB, 64 * KIB] {
            let asked = [system.spawn(Player::default()), open_player(&system)];
            on_a_stack_of(bytes, move || {
                for _ in 0..3 {
                    for player in &asked {
                        assert_eq!(player.ask(use_much()).wait().unwrap(), here());
                    }
                    let [_, open] = &asked;
                    let limited = open.ask(use_much()).wait_for(PATIENCE);
                    assert_eq!(limited.unwrap(), here());
                    let awaited = pollster::block_on(open.ask(use_much()));
                    assert_eq!(awaited.unwrap(), here());
                }
            });
        }
        drop(gates);
        close_the_books(&system);
    });
}

#[test]
fn each_of_several_handlers_on_top_of_each_other_has_the_stack_of_the_system() {
    alone(|| {
        let builder = System::builder().workers(2).stack_size(16 * MIB);
        let system = builder.build().unwrap();
        let gates = occupy(&system);
        let own = system.actor().spawn_thread(Player::default).unwrap();
        for below in [system.spawn(Player::default()), own] {
            let [middle, above] = open_players(&system);
            let places = on_a_stack_of(64 * KIB, move || {
                let places = below.ask(act(move |_, _| {
                    let places = middle.ask(act(move |_, _| {
                        go_down::<{ 4 * MIB }>(0);
                        let above = above.ask(use_much()).wait().expect("it answers");
                        go_down::<{ 4 * MIB }>(0);
                        [here(), above]
                    }));
                    let [middle, above] = places.wait().expect("it answers");
                    [here(), middle, above]
                }));
                places.wait().unwrap()
            });
            assert_eq!(places, [places[0]; 3]);
        }
        drop(gates);
        close_the_books(&system);
    });
}

#[test]
fn a_panic_of_a_handler_on_the_thread_of_a_caller_unwinds_its_stack_and_no_other() {
    in_pools(|system| {
        let _gates = occupy(system);
        let [below, above] = open_players(system);
        let outcome = below.ask(act(move |_, _| {
            let fallen: Result<(), _> = above
                .ask(act(|_, _| {
                    go_down::<{ 4 * KIB }>(256 * KIB);
                    std::panic::resume_unwind(Box::new("a fall"))
                }))
                .wait();
            (fallen.is_err(), here())
        }));
        assert_eq!(outcome.wait().unwrap(), (true, here()));
    });
}

/// Asks in each way in which a thread may run the actor, and tells who ran it.
fn places_of(player: &Addr<Player>) -> [ThreadId; 3] {
    [
        player.ask(place()).wait().unwrap(),
        player.ask(place()).wait_for(PATIENCE).unwrap(),
        pollster::block_on(player.ask(place())).unwrap(),
    ]
}

#[test]
fn a_thread_for_which_no_stack_is_left_is_answered_by_the_pool() {
    for count in [1, 2, 8] {
        let builder = System::builder().workers(count).max_stacks(count);
        let system = builder.build().unwrap();
        let workers = workers(&system);
        for player in [system.spawn(Player::default()), open_player(&system)] {
            for _ in 0..50 {
                for place in places_of(&player) {
                    assert!(workers.contains(&place));
                }
            }
        }
        let [asked] = open_players(&system);
        let own = system.actor().spawn_thread(Player::default).unwrap();
        for _ in 0..20 {
            let asked = asked.clone();
            let places = own.ask(act(move |_, _| places_of(&asked)));
            let places = places.wait().unwrap();
            assert!(places.iter().all(|place| workers.contains(place)));
        }
        close_the_books(&system);
    }
}

#[test]
fn a_thread_keeps_its_stack_until_it_ends_or_turns_to_another_system() {
    in_time(|| {
        // One stack more than the workers have.
        let [first, second] = [0; 2].map(|_| {
            let builder = System::builder().workers(2).max_stacks(3);
            builder.build().unwrap()
        });
        let players = [&first, &second].map(|system| system.spawn(Player::default()));
        // Nobody else can answer.
        let gates = [&first, &second].map(occupy);
        let runs = |number: usize| {
            let player = players[number].clone();
            move || player.ask(place()).wait().unwrap() == here()
        };
        for _ in 0..5 {
            for number in [0, 1] {
                assert!(thread::spawn(runs(number)).join().unwrap());
                assert!(runs(number)());
            }
        }
        // This thread has turned away from the first one, and keeps a stack of the second one's.
        assert!(thread::spawn(runs(0)).join().unwrap());
        drop(gates);
        let workers = workers(&second);
        let player = players[1].clone();
        let place = thread::spawn(move || player.ask(place()).wait().unwrap());
        assert!(workers.contains(&place.join().unwrap()));
        [first, second].iter().for_each(close_the_books);
    });
}

#[test]
fn an_actor_of_another_system_for_which_a_handler_on_a_thread_waits_is_run_by_its_pool() {
    in_pools(|first| {
        in_pools(|second| {
            let gates = occupy(first);
            let near = first.spawn(Player::default());
            let far = open_player(second);
            let (before, after) = (near.clone(), far.clone());
            let places = near.ask(act(move |_, _| (here(), far.ask(place()).wait().unwrap())));
            let (near, far) = places.wait().unwrap();
            assert_eq!(near, here());
            assert!(workers(second).contains(&far));
            // With nobody below, each is run by this thread.
            let more = occupy(second);
            for player in [&after, &before, &after] {
                assert_eq!(player.ask(place()).wait().unwrap(), here());
            }
            drop((gates, more));
        });
    });
}
