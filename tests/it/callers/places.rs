//! Which waits run the actor on the thread that waits, and which leave it to the pool.

use std::sync::mpsc::{self, Receiver};
use std::thread::ThreadId;
use std::time::Duration;

use greenroom::testkit::ManualClock;
use greenroom::{
    Addr, AskError, Context, DeferredHandler, Reply, ReplyTo, Spawner, Stage, StopReason, System,
    wait_any,
};

use super::{here, occupy, open_player, place};
use crate::support::{
    Act, Note, PATIENCE, Player, act, end_of, eventually, in_pools, in_time, under_seed,
};

/// Asks for the place, by an answer that might be put off.
struct PlaceLater;

impl DeferredHandler<PlaceLater> for Player {
    type Reply = ThreadId;

    fn handle_deferred(&mut self, _: PlaceLater, reply: ReplyTo<ThreadId>, _: &mut Context<Self>) {
        reply.send(here());
    }
}

// Here.

#[test]
fn a_thread_that_waits_runs_the_handler_while_all_workers_are_busy() {
    in_pools(|system| {
        let _gates = occupy(system);
        let players = [0; 10].map(|_| system.spawn(Player::default()));
        for _ in 0..100 {
            for player in &players {
                assert_eq!(player.ask(place()).wait().unwrap(), here());
            }
        }
    });
}

#[test]
fn a_thread_that_waits_runs_the_handler_while_workers_sleep() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        // A worker may come first, if this thread is held up after it has asked.
        eventually("the thread comes first", || {
            player.ask(place()).wait().unwrap() == here()
        });
    });
}

#[test]
fn an_actor_in_line_for_a_full_mailbox_is_run_until_the_request_was_handled() {
    in_pools(|system| {
        let _gates = occupy(system);
        let options = system.actor().capacity(2);
        let player = options.spawn(Player::default()).unwrap();
        let notes = [1, 2, 3, 4].map(|number| player.ask(Note(number)));
        assert_eq!(player.ask(place()).wait().unwrap(), here());
        assert!(notes.iter().all(Reply::is_ready));
    });
}

#[test]
fn requests_that_are_asked_together_are_all_run_by_who_waits_for_them() {
    in_pools(|system| {
        let _gates = occupy(system);
        let players = [0; 64].map(|_| system.spawn(Player::default()));
        let places: Vec<_> = players.iter().map(|player| player.ask(place())).collect();
        let places = greenroom::wait_all(places);
        assert!(places.into_iter().all(|place| place.unwrap() == here()));
    });
}

// Not here.

#[test]
fn an_actor_with_a_thread_of_its_own_is_run_by_that_thread_alone() {
    in_pools(|system| {
        let options = system.actor().run_on_callers();
        let player = options.spawn_thread(Player::default).unwrap();
        let own = player.ask(place()).wait().unwrap();
        assert_ne!(own, here());
        for _ in 0..100 {
            assert_eq!(player.ask(place()).wait().unwrap(), own);
            assert_eq!(player.ask(place()).wait_for(PATIENCE).unwrap(), own);
        }
    });
}

#[test]
fn in_a_stepped_system_the_seed_decides_who_runs_while_a_thread_waits() {
    let mut others_first = 0;
    for seed in 0..50 {
        under_seed(seed, |stepper| {
            let [first, second] = [0; 2].map(|_| stepper.system().spawn(Player::default()));
            let reply = first.ask(place());
            second.send(Note(1)).unwrap();
            reply.wait().unwrap();
            let handled = super::snapshot_of(stepper.system(), &second).counts.handled;
            others_first += handled;
        });
    }
    assert!((1..50).contains(&others_first), "{others_first} of 50");
}

/// Waits in each way that leaves an actor to the pool, and checks where it ran.
fn check_waits_that_never_run_the_actor(system: &System, player: &Addr<Player>) {
    for _ in 0..20 {
        assert_ne!(player.ask(PlaceLater).wait().unwrap(), here());
        assert_ne!(player.ask(PlaceLater).wait_for(PATIENCE).unwrap(), here());
        assert_ne!(pollster::block_on(player.ask(PlaceLater)).unwrap(), here());
        let mut replies = vec![player.ask(place()), player.ask(place())];
        while let Some((_, place)) = wait_any(&mut replies).unwrap() {
            assert_ne!(place.unwrap(), here());
        }
    }
    let own = here();
    // Room: nothing is run by the thread that waits for it.
    for _ in 0..1000 {
        let check = act(move |_, _| assert_ne!(here(), own));
        player.send(check).unwrap();
    }
    // The end: neither what is queued before it, nor the last hook.
    player.drain();
    assert_eq!(player.join().unwrap(), StopReason::Drained);
    assert!(system.snapshot().actors.is_empty());
}

/// A player with a small mailbox who tells where he ends.
fn player_who_tells(options: Spawner) -> (Addr<Player>, Receiver<ThreadId>) {
    let (tell, told) = mpsc::channel();
    let player = Player::ending_with(move |_, _| tell.send(here()).expect("the test listens"));
    let player = options.capacity(2).spawn(player).expect("it is spawned");
    (player, told)
}

#[test]
fn put_off_answers_room_ends_and_the_first_of_several_are_never_run_by_who_waits() {
    in_pools(|system| {
        for options in [system.actor(), system.actor().run_on_callers()] {
            let (player, end) = player_who_tells(options);
            check_waits_that_never_run_the_actor(system, &player);
            assert_ne!(end.recv().unwrap(), here());
        }
    });
}

#[test]
fn a_wait_with_a_limit_and_a_task_that_awaits_leave_the_actor_to_the_pool() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for _ in 0..50 {
            assert_ne!(player.ask(place()).wait_for(PATIENCE).unwrap(), here());
            assert_ne!(pollster::block_on(player.ask(place())).unwrap(), here());
        }
    });
}

// Here, if the actor allows it.

#[test]
fn an_actor_that_allows_it_is_run_by_who_waits_with_a_limit() {
    in_pools(|system| {
        let _gates = occupy(system);
        let player = open_player(system);
        for _ in 0..100 {
            assert_eq!(player.ask(place()).wait_for(PATIENCE).unwrap(), here());
            assert_eq!(player.ask(place()).wait().unwrap(), here());
        }
    });
}

/// Asks and awaits; whether the handler ran on the thread of the task.
async fn runs_in_the_task(player: Addr<Player>) -> bool {
    // The first poll of the reply follows at once, on the same thread.
    let own = here();
    player.ask(place()).await.unwrap() == own
}

fn under_executors(ask: impl Fn(Box<dyn Fn(Addr<Player>) -> bool + Send>) -> bool) {
    assert!(ask(Box::new(|player| pollster::block_on(
        runs_in_the_task(player)
    ))));
    assert!(ask(Box::new(|player| smol::block_on(async {
        smol::spawn(runs_in_the_task(player)).await
    }))));
    let builders = [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ];
    for mut builder in builders {
        let runtime = builder.worker_threads(2).build().unwrap();
        assert!(ask(Box::new(move |player| {
            let task = runtime.spawn(runs_in_the_task(player));
            runtime.block_on(task).expect("the task ends")
        })));
    }
}

#[test]
fn an_actor_that_allows_it_is_run_by_the_task_that_awaits() {
    in_pools(|system| {
        let _gates = occupy(system);
        let player = open_player(system);
        under_executors(|ask| {
            let player = player.clone();
            in_time(move || ask(player))
        });
    });
}

#[test]
fn a_limit_that_passes_meanwhile_ends_the_wait_before_the_next_message() {
    const SECOND: Duration = Duration::from_secs(1);
    in_time(|| {
        let clock = ManualClock::new();
        let system = System::builder().workers(1).clock(&clock).build().unwrap();
        let gates = occupy(&system);
        let player = open_player(&system);
        let slow = |clock: &ManualClock| -> Act<()> {
            let clock = clock.clone();
            act(move |_, _| clock.advance(2 * SECOND))
        };
        // His own handler overshoots it: the answer is there all the same.
        assert!(player.ask(slow(&clock)).wait_for(SECOND).is_ok());
        // The one before overshoots it.
        player.send(slow(&clock)).unwrap();
        let late = player.ask(place()).wait_for(SECOND);
        assert!(matches!(late, Err(AskError::TimedOut(Stage::Queued))));
        drop(gates);
        player.drain();
        assert_eq!(end_of(&player), StopReason::Drained);
        let totals = system.snapshot().totals;
        assert_eq!((totals.cancelled, totals.queued), (1, 0), "{totals}");
    });
}
