//! Actors on threads of their own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use greenroom::{Actor, Addr, Context, Handler, StopReason, System};

use super::{Do, told};
use crate::support::{PATIENCE, end_of, in_a_pool, in_pools, in_time, under_seeds};

thread_local! {
    /// Tells when the thread ends that has set it.
    static AT_THE_END: RefCell<Option<TellDrop>> = const { RefCell::new(None) };
}

struct TellDrop(mpsc::Sender<ThreadId>);

impl Drop for TellDrop {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

/// An actor that may not leave its thread, and tells on which it is.
struct Tied {
    count: Rc<Cell<u64>>,
    /// Another owner of the count, as in a graph of objects.
    same: Rc<Cell<u64>>,
    threads: mpsc::Sender<(&'static str, ThreadId)>,
}

impl Tied {
    fn new(threads: mpsc::Sender<(&'static str, ThreadId)>) -> Self {
        let count = Rc::new(Cell::new(0));
        let tied = Self {
            same: count.clone(),
            count,
            threads,
        };
        tied.tell("made");
        tied
    }

    fn tell(&self, what: &'static str) {
        let _ = self.threads.send((what, thread::current().id()));
    }
}

impl Actor for Tied {
    fn started(&mut self, _: &mut Context<Self>) {
        self.tell("started");
    }

    fn stopped(&mut self, _: &StopReason, _: &mut Context<Self>) {
        self.tell("stopped");
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        self.tell("dropped");
    }
}

impl Handler<Do> for Tied {
    type Reply = u64;

    fn handle(&mut self, Do(number): Do, _: &mut Context<Self>) -> u64 {
        self.tell("handled");
        self.same.set(self.same.get() + number);
        self.count.get()
    }
}

struct Wait(Duration);

impl Handler<Wait> for Tied {
    type Reply = bool;

    fn handle(&mut self, Wait(time): Wait, ctx: &mut Context<Self>) -> bool {
        self.tell("waits");
        let waited = ctx.sleep(time);
        self.tell("has waited");
        waited.is_ok()
    }
}

/// Has the actor's thread tell when it ends.
struct Watch(mpsc::Sender<ThreadId>);

impl Handler<Watch> for Tied {
    type Reply = ThreadId;

    fn handle(&mut self, Watch(tell): Watch, _: &mut Context<Self>) -> ThreadId {
        AT_THE_END.set(Some(TellDrop(tell)));
        thread::current().id()
    }
}

fn tied(system: &System) -> (Addr<Tied>, mpsc::Receiver<(&'static str, ThreadId)>) {
    let (tell, told) = mpsc::channel();
    let addr = system.actor().spawn_thread(move || Tied::new(tell));
    (addr.unwrap(), told)
}

#[test]
fn an_actor_on_its_own_thread_may_be_tied_to_it_and_never_leaves_it() {
    in_pools(|system| {
        let (addr, told) = tied(system);
        for number in 1..=100 {
            let sum = number * (number + 1) / 2;
            assert_eq!(addr.ask(Do(number)).wait_for(PATIENCE).unwrap(), sum);
        }
        assert!(
            addr.ask(Wait(Duration::from_nanos(1)))
                .wait_for(PATIENCE)
                .unwrap()
        );
        // Others send, stop, and drop the last address; the actor stays where it is.
        let clone = addr.clone();
        thread::spawn(move || {
            clone.send(Do(1)).unwrap();
            clone.stop();
        })
        .join()
        .unwrap();
        assert_eq!(end_of(&addr), StopReason::Stopped);
        drop(addr);
        let told: Vec<_> = told.iter().collect();
        let (_, home) = told[0];
        assert_ne!(home, thread::current().id());
        assert!(told.iter().all(|(_, thread)| *thread == home), "{told:?}");
        let what: Vec<_> = told.iter().map(|(what, _)| *what).collect();
        assert_eq!(what[..2], ["made", "started"]);
        assert_eq!(what[what.len() - 2..], ["stopped", "dropped"]);
    });
}

#[test]
fn each_of_two_actors_on_their_own_threads_has_another_thread() {
    in_a_pool(1, |system| {
        let (tell, _ends) = mpsc::channel();
        let threads = [0, 1].map(|_| {
            let (addr, _told) = tied(system);
            let watch = Watch(tell.clone());
            (addr.ask(watch).wait_for(PATIENCE).unwrap(), addr)
        });
        assert_ne!(threads[0].0, threads[1].0);
    });
}

#[test]
fn the_thread_of_an_actor_ends_with_it_however_it_ends() {
    type End = fn(Addr<Tied>);
    let endings: [End; 4] = [
        |addr| addr.stop(),
        |addr| addr.kill(),
        |addr| addr.drain(),
        drop,
    ];
    in_a_pool(1, |system| {
        for end in endings {
            let (addr, _told) = tied(system);
            let (tell, ends) = mpsc::channel();
            let home = addr.ask(Watch(tell)).wait_for(PATIENCE).unwrap();
            assert!(ends.try_recv().is_err(), "it lives");
            end(addr);
            assert_eq!(ends.recv_timeout(PATIENCE), Ok(home));
        }
    });
    let (tell, ends) = mpsc::channel();
    let mut home = None;
    in_a_pool(1, |system| {
        let (addr, _told) = tied(system);
        home = Some(addr.ask(Watch(tell)).wait_for(PATIENCE).unwrap());
    });
    assert_eq!(ends.recv_timeout(PATIENCE).ok(), home);
}

#[test]
fn the_thread_of_an_actor_carries_its_name() {
    in_a_pool(1, |system| {
        let named = system
            .actor()
            .name("stage-left")
            .spawn_thread(|| told().0)
            .unwrap();
        let name = named.ask(super::act(|_| thread::current().name().map(str::to_owned)));
        let name = name.wait_for(PATIENCE).unwrap();
        assert_eq!(name.as_deref(), Some("stage-left"));
    });
}

#[test]
fn an_actor_that_is_stopped_before_it_is_made_ends_all_the_same() {
    in_pools(|system| {
        let (open, opened) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let addr = system
            .actor()
            .spawn_thread(move || {
                let _ = opened.recv();
                Tied::new(tell)
            })
            .unwrap();
        let queued = addr.ask(Do(1));
        addr.stop();
        drop(open);
        assert_eq!(end_of(&addr), StopReason::Stopped);
        assert!(queued.wait_for(PATIENCE).is_err());
        let threads: Vec<_> = told.iter().map(|(_, thread)| thread).collect();
        assert!(threads.iter().all(|thread| *thread == threads[0]));
    });
}

#[test]
fn a_wait_on_a_thread_of_its_own_ends_when_the_actor_is_killed() {
    in_a_pool(1, |system| {
        let (addr, told) = tied(system);
        let waited = addr.ask(Wait(Duration::from_secs(1 << 20)));
        while told.recv_timeout(PATIENCE).unwrap().0 != "waits" {}
        addr.kill();
        assert!(!waited.wait_for(PATIENCE).unwrap());
        assert_eq!(end_of(&addr), StopReason::Killed);
    });
}

#[test]
fn a_sender_waits_for_room_at_an_actor_on_its_own_thread() {
    in_pools(|system| {
        let (tell, told) = mpsc::channel();
        let addr = system
            .actor()
            .capacity(1)
            .spawn_thread(move || Tied::new(tell))
            .unwrap();
        let last = in_time(move || {
            (0..1000).for_each(|_| addr.send(Do(1)).unwrap());
            addr.ask(Do(0)).wait()
        });
        assert_eq!(last.unwrap(), 1000);
        drop(told);
    });
}

#[test]
fn in_a_stepped_system_the_stepping_thread_makes_and_runs_the_actor() {
    under_seeds(|stepper| {
        let (addr, told) = tied(stepper.system());
        assert_eq!(told.try_iter().count(), 0, "it is made in its first turn");
        assert_eq!(addr.ask(Do(2)).wait().unwrap(), 2);
        addr.stop();
        assert_eq!(end_of(&addr), StopReason::Stopped);
        let here = thread::current().id();
        assert!(told.try_iter().all(|(_, thread)| thread == here));
    });
}
