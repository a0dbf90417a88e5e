//! What stays over a restart, and what does not: the second table.

use std::collections::HashSet;
use std::time::Duration;

use greenroom::{ActorState, Backoff, Overflow, TrySendError};

use super::*;
use crate::support::{Debtor, Pay};

/// A child whose restarts are put off by 10 s.
fn late(name: &'static str, diary: &Diary) -> ChildSpec<Member> {
    let backoff = Backoff::exponential(Duration::from_secs(10)).jitter(0.0);
    Member::spec(name, diary).backoff(backoff)
}

#[test]
fn addresses_are_the_same_and_equal() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let (before, weak) = (a.clone(), a.downgrade());
        let (recipient, asker) = (a.recipient::<Owe>(), a.asker::<Owe>());
        a.kill();
        stepper.run();
        let after = a.ask(to(|_, ctx| ctx.addr())).wait().unwrap();
        assert_eq!(after, before);
        assert_eq!(after.id(), before.id());
        assert_eq!(after.downgrade(), weak);
        assert_eq!(weak.upgrade(), Some(after.clone()));
        assert_eq!(after.recipient::<Owe>(), recipient);
        let one_place: HashSet<_> = [before, after, a.clone()].into_iter().collect();
        assert_eq!(one_place.len(), 1);
        recipient.send(Owe).expect("there is room");
        let asked = asker.ask(Owe);
        let pay = a.ask(to(|member, _| {
            let debts = std::mem::take(&mut member.debts);
            let count = debts.len() as u64;
            debts.into_iter().for_each(|debt| debt.send(7));
            count
        }));
        assert_eq!((outcome(pay), outcome(asked)), (Ok(2), Ok(7)));
    });
}

#[test]
fn at_an_end_for_good_sends_give_the_message_back_and_asks_fail_with_the_reason() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let supervisor = supervisor.expect("it has one");
        let removed = supervisor.remove("a");
        assert_eq!(removed.wait().unwrap(), Ok(StopReason::Removed));
        let refused = a.try_send(to_note("too late"));
        assert!(matches!(refused, Err(TrySendError::Stopped(_))));
        let refused = a.ask(to_note("too late"));
        assert_eq!(
            outcome(refused),
            Err("actor has stopped: its supervisor stopped it".to_owned())
        );
    });
}

#[test]
fn what_is_queued_stays_in_its_order_through_several_restarts() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        diary.take();
        let replies: Vec<_> = (0..9_u64)
            .map(|number| {
                a.ask(to(move |member, ctx| {
                    assert!(number % 3 != 1, "one in three");
                    member.note(&number.to_string());
                    ctx.restarts()
                }))
            })
            .collect();
        let outcomes: Vec<_> = replies.into_iter().map(outcome).collect();
        let panicked = || Err("the asked actor panicked: one in three".to_owned());
        assert_eq!(
            outcomes,
            [
                Ok(0),
                panicked(),
                Ok(1),
                Ok(1),
                panicked(),
                Ok(2),
                Ok(2),
                panicked(),
                Ok(3)
            ]
        );
        let handled = diary.take();
        let handled = handled.iter().filter(|note| !note.contains("start"));
        assert!(handled.eq(["a 0", "a 2", "a 3", "a 5", "a 6", "a 8"]));
    });
}

#[test]
fn messages_and_requests_wait_while_an_actor_is_down() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), late("a", &diary));
        diary.take();
        a.kill();
        stepper.advance(Duration::from_secs(1));
        assert_eq!(diary.take(), ["a restarting: it was killed"]);
        let actors = stepper.system().snapshot().actors;
        assert_eq!(actors[0].state, ActorState::Down);
        a.send(to_note("first")).expect("there is room");
        let asked = a.ask(to_note("second"));
        stepper.advance(Duration::from_nanos(8_999_999_999));
        assert_eq!(diary.take(), [""; 0]);
        assert_eq!(stepper.system().snapshot().actors[0].counts.queued, 2);
        stepper.advance(Duration::from_nanos(1));
        assert_eq!(
            diary.take(),
            ["a restarted 1: it was killed", "a first", "a second"]
        );
        assert_eq!(outcome(asked), Ok(2));
    });
}

#[test]
fn senders_stay_in_line_while_an_actor_is_down() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let child = late("a", &diary).capacity(1);
        let (_supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
        diary.take();
        a.kill();
        stepper.run();
        a.send(to_note("queued")).expect("there is room");
        let sender = stepper.system().spawn(Member::new("s", &Diary::default()));
        let to_a = a.clone();
        let sent = sender.ask(to(move |_, ctx| {
            let begun = ctx.now();
            to_a.send(to_note("from the line"))
                .expect("there comes room");
            (ctx.now() - begun).as_secs()
        }));
        stepper.run();
        let asked = a.ask(to_note("asked"));
        stepper.run();
        assert_eq!(stepper.system().snapshot().actors[0].waiting_senders, 2);
        assert_eq!(outcome(sent), Ok(10));
        assert_eq!(outcome(asked), Ok(2));
        let notes = [
            "a restarting: it was killed",
            "a restarted 1: it was killed",
            "a queued",
            "a from the line",
            "a asked",
        ];
        assert_eq!(diary.take(), notes);
    });
}

#[test]
fn senders_in_line_learn_of_an_end_for_good_while_the_actor_is_down() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let child = late("a", &diary).capacity(1);
        let (supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
        a.kill();
        stepper.run();
        let queued = a.ask(to_note("queued"));
        let sender = stepper.system().spawn(Member::new("s", &Diary::default()));
        let to_a = a.clone();
        let sent = sender.ask(to(move |_, _| {
            let refused = to_a.send(to_note("from the line")).unwrap_err();
            assert_eq!(refused.to_string(), "actor has stopped");
            5
        }));
        stepper.run();
        let begun = stepper.system().now();
        assert_eq!(
            supervisor.remove("a").wait().unwrap(),
            Ok(StopReason::Removed)
        );
        assert_eq!(outcome(sent), Ok(5));
        let stopped = "actor has stopped: its supervisor stopped it".to_owned();
        assert_eq!(outcome(queued), Err(stopped));
        assert_eq!(stepper.system().now(), begun);
    });
}

#[test]
fn a_full_mailbox_does_what_its_policy_says_while_the_actor_is_down() {
    let policies = [
        (Overflow::Block, "mailbox stayed full"),
        (
            Overflow::BlockFor(Duration::from_secs(2)),
            "mailbox stayed full",
        ),
        (Overflow::Reject, "mailbox is full"),
        (Overflow::DropNewest, "sent"),
    ];
    for (policy, expected) in policies {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let child = late("a", &diary).capacity(1).overflow(policy);
            let (_supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
            diary.take();
            a.kill();
            stepper.run();
            a.send(to_note("queued")).expect("there is room");
            let sender = stepper.system().spawn(Member::new("s", &Diary::default()));
            let to_a = a.clone();
            let sent = sender.ask(to(move |_, _| {
                let second = to_note("too much");
                let sent = match policy {
                    Overflow::Block => to_a.send_for(second, Duration::from_secs(2)),
                    _ => to_a.send(second),
                };
                sent.map_or_else(|error| error.to_string(), |()| "sent".to_owned())
            }));
            assert_eq!(sent.wait().unwrap(), expected);
            stepper.advance(Duration::from_secs(10));
            let notes = [
                "a restarting: it was killed",
                "a restarted 1: it was killed",
                "a queued",
            ];
            assert_eq!(diary.take(), notes);
            let counts = stepper.system().snapshot().actors[0].counts;
            let dropped = u64::from(policy == Overflow::DropNewest);
            assert_eq!(counts.dropped, dropped);
            assert_eq!(counts.rejected, 1 - dropped);
        });
    }
}

#[test]
fn answers_that_were_owed_fail_as_the_life_did() {
    let ends: [(Way, &str); 5] = [
        (
            |_| panic!("on request"),
            "the asked actor panicked: on request",
        ),
        (|ctx| ctx.fail("so"), "actor has stopped: it failed: so"),
        (|ctx| ctx.stop(), "actor has stopped: it was stopped"),
        (|ctx| ctx.addr().kill(), "actor has stopped: it was killed"),
        (
            |ctx| ctx.addr().drain(),
            "actor has stopped: it was drained",
        ),
    ];
    for (care, (end, expected)) in CARES
        .into_iter()
        .flat_map(|care| ends.map(|end| (care, end)))
    {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (_supervisor, a) = cast(stepper, care, &diary, |_, _| ());
            let owed = [a.ask(Owe), a.ask(Owe)];
            a.send(to(move |_, ctx| end(ctx))).expect("there is room");
            stepper.run();
            for owed in owed {
                assert_eq!(outcome(owed), Err(expected.to_owned()));
            }
        });
    }
}

#[test]
fn an_answer_that_is_kept_elsewhere_can_be_given_after_the_restart() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let owed = a.ask(Owe);
        let debts = a.ask(to(|member, _| std::mem::take(&mut member.debts)));
        let debts = debts.wait().unwrap();
        a.kill();
        stepper.run();
        debts.into_iter().for_each(|debt| debt.send(9));
        assert_eq!(outcome(owed), Ok(9));
    });
}

#[test]
fn requests_that_an_actor_had_made_are_withdrawn_with_its_life() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let busy = stepper.system().spawn(Member::new("b", &diary));
        let asleep = busy.ask(to(|_, ctx| {
            u64::from(ctx.sleep(Duration::from_secs(1)).is_ok())
        }));
        stepper.run();
        diary.take();
        let asked = busy.clone();
        a.send(to(move |member, _| {
            member.requests.push(asked.ask(to_note("never")));
        }))
        .expect("there is room");
        stepper.run();
        a.kill();
        stepper.run();
        assert_eq!(outcome(asleep), Ok(1));
        stepper.run();
        assert!(!diary.take().contains(&"b never".to_owned()));
        let actors = stepper.system().snapshot().actors;
        let of_busy = actors.iter().find(|actor| actor.id == busy.id());
        assert_eq!(of_busy.expect("it lives").counts.cancelled, 1);
    });
}

#[test]
fn timers_are_cancelled_at_the_end_of_a_life() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) =
            cast(
                stepper,
                Some(Restart::Permanent),
                &diary,
                |moment, ctx| match moment {
                    Moment::Started | Moment::Restarting => {
                        let _ = ctx.send_after(Duration::from_secs(5), to_note("once"));
                        let _ = ctx.interval(Duration::from_secs(1), || to_note("tick"));
                    }
                    _ => {}
                },
            );
        stepper.advance(Duration::from_secs(2));
        assert_eq!(diary.take(), ["a started", "a tick", "a tick"]);
        assert_eq!(stepper.system().snapshot().timers, 2);
        a.kill();
        stepper.run();
        assert_eq!(stepper.system().snapshot().timers, 0);
        stepper.advance(Duration::from_secs(60));
        let notes = [
            "a restarting: it was killed",
            "a restarted 1: it was killed",
        ];
        assert_eq!(diary.take(), notes);
    });
}

#[test]
fn whom_a_life_watches_the_next_one_does_not() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let other = stepper.system().spawn(Member::new("b", &Diary::default()));
        let watched = other.clone();
        a.send(to(move |_, ctx| {
            ctx.watch(&watched);
            ctx.trap_links();
        }))
        .expect("there is room");
        stepper.run();
        a.kill();
        stepper.run();
        diary.take();
        other.stop();
        stepper.run();
        assert_eq!(diary.take(), [""; 0]);
        // Nor does it trap.
        let unlucky = stepper.system().spawn(Member::new("c", &Diary::default()));
        let linked = unlucky.clone();
        a.send(to(move |_, ctx| ctx.link(&linked)))
            .expect("there is room");
        stepper.run();
        unlucky.kill();
        stepper.run();
        assert_eq!(a.ask(to(|_, ctx| ctx.restarts())).wait().unwrap(), 2);
    });
}

#[test]
fn the_end_of_a_watched_one_that_was_not_told_yet_is_forgotten_too() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let other = stepper.system().spawn(Member::new("b", &Diary::default()));
        let watched = other.clone();
        let fails = a.ask(to(move |_, ctx| {
            ctx.watch(&watched);
            watched.stop();
            let ended = watched.join().expect("it ends");
            assert_eq!(ended, StopReason::Stopped);
            panic!("on request")
        }));
        let fails: Reply<u64> = fails;
        stepper.run();
        assert!(outcome(fails).is_err());
        let notes = [
            "a started",
            "a restarting: it panicked: on request",
            "a restarted 1: it panicked: on request",
        ];
        assert_eq!(diary.take(), notes);
    });
}

#[test]
fn linked_ones_are_told_of_a_restart_and_watchers_are_not() {
    under_seeds(|stepper| {
        let (diary, others) = (Diary::default(), Diary::default());
        let (supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let watcher = stepper.system().spawn(Member::new("w", &others));
        let watched = a.clone();
        watcher
            .send(to(move |_, ctx| ctx.watch(&watched)))
            .expect("there is room");
        let linked = stepper.system().spawn(Member::new("l", &others));
        let with = a.clone();
        linked
            .send(to(move |_, ctx| ctx.link(&with)))
            .expect("there is room");
        let joins = stepper.system().spawn(Member::new("j", &others));
        let of = a.clone();
        let joined = joins.ask(to(move |_, _| of.join()));
        stepper.run();
        others.take();
        a.send(to(|_, ctx| ctx.fail("so"))).expect("there is room");
        stepper.run();
        let notes = others.take();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(
            notes[0].starts_with("l stopped: it is linked with "),
            "{notes:?}"
        );
        assert!(
            notes[0].ends_with("(a), which has ended: it failed: so"),
            "{notes:?}"
        );
        assert_eq!(
            supervisor.expect("it has one").remove("a").wait().unwrap(),
            Ok(StopReason::Removed)
        );
        stepper.run();
        assert_eq!(others.take(), ["w told of a: its supervisor stopped it"]);
        assert_eq!(joined.wait().unwrap(), Ok(StopReason::Removed));
    });
}

#[test]
fn its_children_end_before_the_hook_at_the_end() {
    for care in CARES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (of_children, kept) = (diary.clone(), Mutex::new(Vec::new()));
            let (_supervisor, a) = cast(stepper, care, &diary, move |moment, ctx| {
                if moment == Moment::Started {
                    for name in ["first", "second"] {
                        let child = Member::alone(name, &of_children, |moment, ctx| {
                            if moment == Moment::Stopped {
                                ctx.sleep(Duration::from_secs(1)).expect("it is not killed");
                            }
                        });
                        let child = ctx.child().spawn(child).expect("the parent lives");
                        kept.lock().expect("no panic here").push(child);
                    }
                }
            });
            stepper.run();
            diary.take();
            a.send(to(|_, ctx| ctx.fail("so"))).expect("there is room");
            stepper.advance(Duration::from_secs(2));
            let mut notes = vec![
                "second stopped: its parent ended",
                "first stopped: its parent ended",
            ];
            match care {
                Some(Restart::Permanent | Restart::Transient) => {
                    notes.extend([
                        "a restarting: it failed: so",
                        "a restarted 1: it failed: so",
                    ]);
                }
                _ => notes.push("a stopped: it failed: so"),
            }
            assert_eq!(diary.take(), notes);
        });
    }
}

#[test]
fn no_child_may_come_while_a_life_ends() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let kept = Mutex::new(None);
        let role = move |moment, ctx: &mut Context<Member>| {
            if moment == Moment::Restarting {
                let child = ctx.child().spawn(Member::new("c", &Diary::default()));
                let error = child.unwrap_err();
                assert_eq!(error.to_string(), "the parent is ending");
                // And by the short form, it has ended already.
                assert!(
                    ctx.spawn_child(Member::new("d", &Diary::default()))
                        .is_stopped()
                );
            }
            if moment == Moment::Restarted {
                let child = ctx.child().spawn(Member::new("c", &Diary::default()));
                let child = child.expect("a new life can have children");
                *kept.lock().expect("no panic here") = Some(child);
            }
        };
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, role);
        a.kill();
        stepper.run();
        assert_eq!(stepper.system().snapshot().actors.len(), 3);
        assert_eq!(a.ask(to(|_, ctx| ctx.restarts())).wait().unwrap(), 1);
    });
}

#[test]
fn children_that_it_supervises_end_this_life_and_begin_the_next_with_it() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let mut inner = patient(stepper, Strategy::OneForOne);
        let a = inner.child(Member::spec("a", &diary)).unwrap();
        let b = inner
            .child(Member::spec("b", &diary).restart(Restart::Temporary))
            .unwrap();
        let c = inner
            .child(Member::spec("c", &diary).restart(Restart::Transient))
            .unwrap();
        let tree = patient(stepper, Strategy::OneForOne);
        let (_root, inner) = with_child(tree, inner.into_spec("inner"));
        assert_eq!(diary.take(), ["a started", "b started", "c started"]);
        inner.kill();
        let asked = [
            a.ask(to_note("asked")),
            b.ask(to_note("asked")),
            c.ask(to_note("asked")),
        ];
        stepper.run();
        let notes = diary.take();
        let hooks: Vec<_> = notes
            .iter()
            .filter(|note| !note.contains("asked"))
            .collect();
        assert_eq!(
            hooks,
            [
                "c restarting: its supervisor restarts it",
                "b stopped: its parent ended",
                "a restarting: its supervisor restarts it",
                "a restarted 1: its supervisor restarts it",
                "c restarted 1: its supervisor restarts it",
            ]
        );
        let [of_a, _, of_c] = asked;
        assert_eq!((outcome(of_a), outcome(of_c)), (Ok(2), Ok(2)));
        assert!(b.is_stopped());
        let ids: Vec<_> = inner
            .list()
            .wait()
            .unwrap()
            .into_iter()
            .map(|child| child.id)
            .collect();
        assert_eq!(ids, ["a".into(), "c".into()]);
    });
}

#[test]
fn counts_go_on_and_restarts_are_counted() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        for _ in 0..3 {
            let handled = a.ask(to_note("handled"));
            let panicked = a.ask(to_panic());
            assert_eq!(outcome(handled), Ok(2));
            assert!(outcome(panicked).is_err());
        }
        stepper.run();
        let supervisor = supervisor.expect("it has one");
        assert_eq!(supervisor.list().wait().unwrap()[0].restarts, 3);
        let of_a = stepper.system().snapshot().actors.swap_remove(0);
        assert_eq!((of_a.id, of_a.restarts), (a.id(), 3));
        assert_eq!(of_a.counts.accepted, 6);
        assert_eq!((of_a.counts.handled, of_a.counts.dead_lettered), (3, 3));
        assert!(of_a.counts.is_balanced());
    });
}

#[test]
fn a_debt_to_another_actor_is_paid_to_the_life_that_asked_only() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |_, _| ());
        let debtor = stepper.system().spawn(Debtor::default());
        let of = debtor.clone();
        let waits = a.ask(to(move |_, _| {
            let answer = of.ask(crate::support::Borrow).wait();
            u64::from(answer.is_ok())
        }));
        stepper.run();
        a.kill();
        assert_eq!(outcome(waits), Ok(0));
        stepper.run();
        // Nobody waits any more; the answer goes nowhere, and harms nobody.
        let paid = debtor.ask(Pay(3)).wait().unwrap();
        assert_eq!(paid, 1);
        let next = a.ask(to(|_, ctx| ctx.restarts()));
        assert_eq!(outcome(next), Ok(1));
    });
}
