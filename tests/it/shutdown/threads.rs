//! The threads of a system end with it.

use std::sync::mpsc;

use greenroom::testkit::ManualClock;
use greenroom::{StopReason, System};

use super::{SECOND, sleep_for};
use crate::support::{
    Log, Note, PATIENCE, Player, act, alone, end_of, eventually, gate, in_time, threads,
};

fn count_named(part: &str) -> usize {
    threads()
        .iter()
        .filter(|name| name.starts_with(part))
        .count()
}

#[test]
fn the_threads_of_a_system_carry_its_name_and_end_after_a_shutdown() {
    let system = System::builder()
        .workers(3)
        .name("curtain")
        .build()
        .unwrap();
    let mut names = threads();
    names.retain(|name| name.starts_with("curtain"));
    names.sort();
    assert_eq!(names, ["curtain-0", "curtain-1", "curtain-2"]);
    let player = system.actor().name("curtain-actor");
    let player = player.spawn_thread(Player::default).unwrap();
    player.ask(Note(1)).wait_for(PATIENCE).unwrap();
    assert_eq!(count_named("curtain-actor"), 1);
    assert!(system.shutdown(PATIENCE).is_clean());
    // The handle is still there, the threads are not.
    eventually("the threads end", || count_named("curtain") == 0);
}

#[test]
fn all_threads_of_a_system_end_after_its_last_handle_is_dropped() {
    alone(|| {
        let before = threads().len();
        for workers in [1, 2, 8] {
            let system = System::builder().workers(workers).build().unwrap();
            let player = system.spawn(Player::default());
            let alone = system.actor().spawn_thread(Player::default).unwrap();
            player.send(Note(1)).unwrap();
            alone.send(Note(1)).unwrap();
            assert!(threads().len() > before + workers);
            drop(system);
            assert_eq!(end_of(&player), StopReason::Shutdown);
            assert_eq!(end_of(&alone), StopReason::Shutdown);
            drop((player, alone));
            // Those that fire timers among them.
            eventually("the threads end", || threads().len() == before);
        }
    });
}

#[test]
fn an_actors_own_thread_ends_with_the_actor() {
    let system = crate::support::pool(1);
    let player = system.actor().name("soliloquy");
    let player = player.spawn_thread(Player::default).unwrap();
    player.ask(Note(1)).wait_for(PATIENCE).unwrap();
    assert_eq!(count_named("soliloquy"), 1);
    player.stop();
    assert_eq!(end_of(&player), StopReason::Stopped);
    eventually("the thread ends", || count_named("soliloquy") == 0);
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn a_stuck_handlers_thread_ends_when_the_handler_does() {
    let clock = ManualClock::new();
    let builder = System::builder().workers(2).name("stuckness");
    let system = builder.clock(&clock).build().unwrap();
    let stuck = system.spawn(Log::default());
    let (hold, gate) = gate();
    stuck.send(hold).unwrap();
    gate.wait_until_held();
    let report = in_time({
        let system = system.clone();
        move || system.shutdown(std::time::Duration::ZERO)
    });
    assert_eq!(report.unfinished.len(), 1);
    assert!((1..=2).contains(&count_named("stuckness")));
    gate.open();
    eventually("the threads end", || count_named("stuckness") == 0);
}

#[test]
fn the_threads_end_although_an_actors_last_hook_waits() {
    let builder = System::builder().workers(2).name("encore");
    let system = builder.build().unwrap();
    let (tell, told) = mpsc::channel();
    let player = system.spawn(Player::ending_with(move |_, ctx| {
        ctx.sleep(SECOND / 1000).expect("nobody ends the sleep");
        tell.send(()).expect("the test listens");
    }));
    player.send(sleep_for(SECOND / 1000)).unwrap();
    player.send(act(|_, _| ())).unwrap();
    drop(system);
    assert_eq!(end_of(&player), StopReason::Shutdown);
    told.try_recv().expect("the hook has run");
    eventually("the threads end", || count_named("encore") == 0);
}
