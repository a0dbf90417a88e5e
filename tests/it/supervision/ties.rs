//! Watching others for their ends, and being linked with them.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, ReplyOf, System};

use super::*;
use crate::support::{PATIENCE, end_of, eventually, in_pools, under_seeds};

fn member(stepper: &Stepper, name: &'static str, diary: &Diary) -> Addr<Member> {
    let named = stepper.system().actor().name(name);
    named
        .spawn(Member::new(name, diary))
        .expect("the system runs")
}

/// A way to end an actor.
type End = fn(&Addr<Member>);

/// Has a member do something now.
fn have<R: Send + 'static>(
    actor: &Addr<Member>,
    scene: impl FnOnce(&mut Context<Member>) -> R + Send + 'static,
) -> ReplyOf<Member, Do<R>> {
    let done = actor.ask(to(move |_, ctx| scene(ctx)));
    done.wait().expect("the member lives")
}

fn watch(watcher: &Addr<Member>, watched: &Addr<Member>) {
    let watched = watched.clone();
    have(watcher, move |ctx| ctx.watch(&watched));
}

fn unwatch(watcher: &Addr<Member>, watched: &Addr<Member>) -> bool {
    let watched = watched.clone();
    have(watcher, move |ctx| ctx.unwatch(&watched))
}

fn link(one: &Addr<Member>, other: &Addr<Member>) {
    let other = other.clone();
    have(one, move |ctx| ctx.link(&other));
}

#[test]
fn a_watcher_is_told_once_of_every_kind_of_end() {
    let ends: [(End, &str); 5] = [
        (|a| a.stop(), "w told of a: it was stopped"),
        (|a| a.kill(), "w told of a: it was killed"),
        (|a| a.drain(), "w told of a: it was drained"),
        (
            |a| drop(a.try_send(to_panic())),
            "w told of a: it panicked: on request",
        ),
        (
            |a| drop(a.try_send(to_fail())),
            "w told of a: it failed: by request",
        ),
    ];
    for (end, told) in ends {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (w, a) = (
                member(stepper, "w", &diary),
                member(stepper, "a", &Diary::default()),
            );
            // Twice is once.
            watch(&w, &a);
            watch(&w, &a);
            diary.take();
            end(&a);
            stepper.run();
            assert_eq!(diary.take(), [told]);
            assert!(!unwatch(&w, &a), "it is over");
        });
    }
}

#[test]
fn one_that_has_ended_is_told_of_at_once_and_each_time() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (w, a) = (
            member(stepper, "w", &diary),
            member(stepper, "a", &Diary::default()),
        );
        a.stop();
        stepper.run();
        diary.take();
        watch(&w, &a);
        stepper.run();
        assert_eq!(diary.take(), ["w told of a: it was stopped"]);
        watch(&w, &a);
        stepper.run();
        assert_eq!(diary.take(), ["w told of a: it was stopped"]);
    });
}

#[test]
fn nobody_is_told_after_an_unwatch_also_if_the_end_came_before() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (w, a) = (
            member(stepper, "w", &diary),
            member(stepper, "a", &Diary::default()),
        );
        diary.take();
        assert!(!unwatch(&w, &a), "there is none");
        watch(&w, &a);
        assert!(unwatch(&w, &a));
        watch(&w, &a);
        // The end comes while the watcher handles a message.
        let ending = a.clone();
        have(&w, move |ctx| {
            ending.stop();
            ending.join().expect("it ends");
            assert!(ctx.unwatch(&ending));
        });
        stepper.run();
        assert!(!diary.take().iter().any(|note| note.contains("told")));
    });
}

#[test]
fn who_watches_itself_is_never_told() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let a = member(stepper, "a", &diary);
        watch(&a, &a);
        link(&a, &a);
        a.kill();
        stepper.run();
        assert_eq!(diary.take(), ["a started", "a stopped: it was killed"]);
    });
}

#[test]
fn an_end_is_told_after_all_that_was_sent_before_also_to_a_full_mailbox() {
    for capacity in [1, 2, 100] {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let w = stepper.system().actor().name("w").capacity(capacity);
            let w = w.spawn(Member::new("w", &diary)).unwrap();
            let a = member(stepper, "a", &Diary::default());
            watch(&w, &a);
            stepper.run();
            diary.take();
            let to_w = w.clone();
            a.send(to(move |_, ctx| {
                for line in ["1", "2", "3", "4", "5"] {
                    to_w.send(to_note(line)).expect("there comes room");
                }
                ctx.stop();
            }))
            .expect("there is room");
            stepper.run();
            let told = "w told of a: it was stopped";
            assert_eq!(diary.take(), ["w 1", "w 2", "w 3", "w 4", "w 5", told]);
        });
    }
}

#[test]
fn a_watch_keeps_nobody_alive() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let w = member(stepper, "w", &diary);
        let a = member(stepper, "a", &Diary::default());
        watch(&w, &a);
        stepper.run();
        diary.take();
        drop(a);
        stepper.run();
        assert_eq!(diary.take(), ["w told of a: its last address was dropped"]);
    });
}

#[test]
fn a_watched_one_that_is_restarted_has_not_ended() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let w = member(stepper, "w", &diary);
        let tree = stepper.system().supervisor(greenroom::Strategy::OneForOne);
        let child = Member::spec("a", &Diary::default()).restart(Restart::Transient);
        let (_supervisor, a) = with_child(tree, child);
        watch(&w, &a);
        diary.take();
        a.kill();
        stepper.run();
        assert_eq!(diary.take(), [""; 0]);
        a.stop();
        stepper.run();
        assert_eq!(diary.take(), ["w told of a: it was stopped"]);
    });
}

#[test]
fn actors_of_different_systems_watch_and_link() {
    let (here, there) = (System::new(), System::new());
    let diary = Diary::default();
    let watcher = here.spawn(Member::new("w", &diary));
    let watched = there.spawn(Member::new("a", &Diary::default()));
    watch(&watcher, &watched);
    watched.kill();
    eventually("the end is told", || {
        diary
            .take()
            .contains(&"w told of somebody: it was killed".to_owned())
    });
    let linked = there.spawn(Member::new("b", &Diary::default()));
    link(&watcher, &linked);
    linked.kill();
    assert!(matches!(end_of(&watcher), StopReason::Linked { .. }));
}

#[test]
fn a_link_works_both_ways_and_twice_is_once() {
    under_seeds(|stepper| {
        for first_ends in [true, false] {
            let diary = Diary::default();
            let (a, b) = (member(stepper, "a", &diary), member(stepper, "b", &diary));
            // Both at once, as far as the seed allows.
            let (of_a, of_b) = (a.clone(), b.clone());
            let linking = [
                a.ask(to(move |_, ctx| ctx.link(&of_b))),
                b.ask(to(move |_, ctx| ctx.link(&of_a))),
            ];
            linking
                .into_iter()
                .for_each(|done| done.wait().expect("it lives"));
            let (ends, follows) = if first_ends { (&a, &b) } else { (&b, &a) };
            ends.kill();
            stepper.run();
            assert_eq!(end_of(ends), StopReason::Killed);
            match end_of(follows) {
                StopReason::Linked { actor, reason } => {
                    assert_eq!((actor.id, &*reason), (ends.id(), &StopReason::Killed));
                }
                reason => panic!("{reason}"),
            }
        }
    });
}

#[test]
fn an_end_that_is_not_abnormal_only_dissolves_the_link() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (a, b) = (member(stepper, "a", &diary), member(stepper, "b", &diary));
        link(&a, &b);
        b.stop();
        stepper.run();
        assert!(!a.is_stopped());
        let other = b.clone();
        assert!(!have(&a, move |ctx| ctx.unlink(&other)));
    });
}

#[test]
fn either_side_dissolves_a_link() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (a, b) = (member(stepper, "a", &diary), member(stepper, "b", &diary));
        for (from, with) in [(&a, &b), (&b, &a)] {
            link(&a, &b);
            let with = with.clone();
            assert!(have(from, move |ctx| ctx.unlink(&with)));
        }
        a.kill();
        stepper.run();
        assert!(!b.is_stopped());
    });
}

#[test]
fn a_link_with_one_that_has_failed_counts_as_its_end_now() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (a, b) = (member(stepper, "a", &diary), member(stepper, "b", &diary));
        b.kill();
        stepper.run();
        link(&a, &b);
        stepper.run();
        assert!(matches!(end_of(&a), StopReason::Linked { .. }));
    });
}

#[test]
fn who_traps_links_is_told_of_every_end_instead() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let t = member(stepper, "t", &diary);
        let others = ["a", "b"].map(|name| member(stepper, name, &Diary::default()));
        others.iter().for_each(|other| link(&t, other));
        have(&t, |ctx| ctx.trap_links());
        diary.take();
        others[0].kill();
        stepper.run();
        others[1].stop();
        stepper.run();
        assert_eq!(
            diary.take(),
            ["t told of a: it was killed", "t told of b: it was stopped"]
        );
    });
}

#[test]
fn a_chain_of_links_falls_to_its_end() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let chain: Vec<_> = (0..20).map(|_| member(stepper, "c", &diary)).collect();
        for pair in chain.windows(2) {
            link(&pair[0], &pair[1]);
        }
        chain[7].kill();
        stepper.run();
        for (index, actor) in chain.iter().enumerate() {
            let mut reason = end_of(actor);
            let mut steps = 0;
            while let StopReason::Linked { reason: cause, .. } = reason {
                reason = (*cause).clone();
                steps += 1;
            }
            assert_eq!((steps, reason), (index.abs_diff(7), StopReason::Killed));
        }
    });
}

#[test]
fn an_end_that_is_linked_ends_no_wait() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (a, b) = (member(stepper, "a", &diary), member(stepper, "b", &diary));
        link(&a, &b);
        let asleep = a.ask(to(|_, ctx| {
            u64::from(ctx.sleep(Duration::from_secs(9)).is_ok())
        }));
        stepper.run();
        b.kill();
        assert_eq!(outcome(asleep), Ok(1));
        stepper.run();
        assert!(a.is_stopped());
    });
}

/// Each watched actor ends on another thread than the one that has it watched, while it sends.
#[test]
fn a_storm_of_ends_is_told_exactly_once_each_after_all_messages() {
    struct Tallier {
        sent: Vec<u64>,
        told: mpsc::Sender<(usize, u64)>,
    }
    struct Watch(usize, Addr<Sender>);
    struct Tick(usize);
    struct Sender(usize, Addr<Tallier>);
    impl Actor for Tallier {
        fn terminated(&mut self, ended: &Terminated, _: &mut Context<Self>) {
            let name = ended.name.as_deref().expect("each has a number");
            let number = name.parse().expect("each has a number");
            self.told
                .send((number, self.sent[number]))
                .expect("the test listens");
        }
    }
    impl Handler<Watch> for Tallier {
        type Reply = ();
        fn handle(&mut self, Watch(number, sender): Watch, ctx: &mut Context<Self>) {
            assert_eq!(*ctx.name().expect("it has a name"), *"tallier");
            assert_eq!(sender.name(), Some(&*number.to_string()));
            ctx.watch(&sender);
        }
    }
    impl Handler<Tick> for Tallier {
        type Reply = ();
        fn handle(&mut self, Tick(number): Tick, _: &mut Context<Self>) {
            self.sent[number] += 1;
        }
    }
    impl Actor for Sender {}
    impl Handler<u64> for Sender {
        type Reply = ();
        fn handle(&mut self, times: u64, ctx: &mut Context<Self>) {
            for _ in 0..times {
                self.1.send(Tick(self.0)).expect("the tallier lives");
            }
            ctx.stop();
        }
    }
    const SENDERS: usize = 400;
    in_pools(|system| {
        let (told, tells) = mpsc::channel();
        let tallier = system.actor().name("tallier").capacity(16);
        let sent = vec![0; SENDERS];
        let tallier = tallier.spawn(Tallier { sent, told }).unwrap();
        thread::scope(|scope| {
            for quarter in 0..4 {
                let tallier = tallier.clone();
                scope.spawn(move || {
                    for number in (quarter..SENDERS).step_by(4) {
                        let sender = system.actor().name(number.to_string());
                        let sender = sender.spawn(Sender(number, tallier.clone())).unwrap();
                        let watch = Watch(number, sender.clone());
                        tallier.send(watch).expect("the tallier lives");
                        // The rest is queued before or after the watch.
                        sender.send(number as u64 % 40).expect("it lives");
                    }
                });
            }
        });
        let mut all = vec![None; SENDERS];
        for _ in 0..SENDERS {
            let (number, sent) = tells.recv_timeout(PATIENCE).expect("each end is told");
            assert_eq!(all[number].replace(sent), None, "once");
        }
        let expected = |number: usize| Some(number as u64 % 40);
        assert!(
            all.iter()
                .enumerate()
                .all(|(number, sent)| *sent == expected(number))
        );
        drop(tallier);
        assert!(
            tells.recv_timeout(PATIENCE).is_err(),
            "no end is told twice"
        );
    });
}
