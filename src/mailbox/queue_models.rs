//! Models of the queue: senders and runners in all their interleavings.
#![expect(unsafe_code, reason = "plays the runner")]

use loom::sync::Arc;

use super::*;
use crate::mailbox::loom_models::{Item, Owner, keep_segments, spawn};
use crate::mailbox::segment::{LARGE, SMALL};
use crate::sync::AtomicBool;
use crate::sync::model::{Spared, fails, holds};

/// An owner whose runner has taken this many items and given none of them back, so that the
/// next position is the one with this number.
fn running_at(position: u32) -> Spared<Arc<Owner>> {
    let owner = Owner::new(8);
    owner.begin_turn();
    for _ in 0..position {
        owner.push(0).unwrap();
        // SAFETY: we are the runner.
        let item = unsafe { owner.queue().take() };
        assert!(item.is_some());
    }
    owner
}

// A runner runs what is scheduled while one sender sends 1 and 2, and another 11.
fn sending_against_scheduled_turns() {
    let owner = Owner::new(4);
    let first = spawn(&owner, |owner| {
        owner.push(1).unwrap();
        owner.push(2).unwrap();
    });
    let second = spawn(&owner, |owner| owner.push(11).unwrap());
    owner.run_entry();
    first.join().unwrap();
    second.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1, 2], &[11]]);
}

#[test]
fn nothing_is_lost_or_handled_twice_when_turns_are_scheduled() {
    holds(3, sending_against_scheduled_turns);
}

#[test]
fn a_slot_that_is_not_published_is_found() {
    fails(
        Fault::SlotUnpublished,
        "Causality violation",
        3,
        sending_against_scheduled_turns,
    );
}

// As above, but the runner runs already.
fn sending_against_a_turn() {
    let owner = running_at(0);
    let first = spawn(&owner, |owner| {
        owner.push(1).unwrap();
        owner.push(2).unwrap();
    });
    let second = spawn(&owner, |owner| owner.push(11).unwrap());
    owner.turn();
    first.join().unwrap();
    second.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1, 2], &[11]]);
}

#[test]
fn nothing_is_lost_or_handled_twice_while_the_runner_runs() {
    holds(2, sending_against_a_turn);
}

#[test]
fn letting_go_without_comparing_the_word_is_found() {
    fails(Fault::ReleaseUnchecked, "stuck", 3, sending_against_a_turn);
}

// Two senders at a given position, of which one may bring a segment for the other.
fn crossing_a_border_at(position: u32) {
    let owner = running_at(position);
    let first = spawn(&owner, |owner| owner.push(1).unwrap());
    let second = spawn(&owner, |owner| owner.push(11).unwrap());
    owner.turn();
    first.join().unwrap();
    second.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1], &[11]]);
}

#[test]
fn two_senders_begin_a_lap() {
    holds(3, || crossing_a_border_at(0));
}

#[test]
fn two_senders_cross_the_border_behind_the_small_segment() {
    holds(3, || crossing_a_border_at(SMALL as u32));
}

#[test]
fn two_senders_share_the_last_segment_of_a_lap() {
    holds(3, || crossing_a_border_at(LARGE as u32));
}

#[test]
fn two_senders_cross_the_border_behind_a_lap() {
    holds(3, || crossing_a_border_at(LAP as u32 - 1));
}

#[test]
fn a_segment_that_is_used_before_it_is_linked_is_found() {
    fails(
        Fault::LinkNotAwaited,
        "a base is stored after its segment",
        3,
        || crossing_a_border_at(0),
    );
}

#[test]
fn a_link_that_is_not_acquired_is_found() {
    fails(Fault::LinkUnacquired, "Causality violation", 3, || {
        crossing_a_border_at(LARGE as u32)
    });
}

// The runner finds the next position reserved and not written: the first one of a lap, the
// first one of a later segment, or one in a segment that is there.
fn letting_go_before_position_is_written(position: u32) {
    let owner = running_at(position);
    let sender = spawn(&owner, |owner| owner.push(1).unwrap());
    owner.turn();
    sender.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1]]);
}

#[test]
fn the_writer_of_an_awaited_position_schedules() {
    for position in 0..LAP as u32 {
        holds(5, move || letting_go_before_position_is_written(position));
    }
}

#[test]
fn overlooking_the_mark_of_an_awaited_position_is_found() {
    for position in 0..LAP as u32 {
        fails(Fault::MarkOverlooked, "stuck", 5, move || {
            letting_go_before_position_is_written(position)
        });
    }
}

// Two threads pop entries, of which one is stale, while a sender sends and a runner gives its
// turn up in the middle.
fn stale_entries() {
    let owner = Owner::new(4);
    owner.schedule();
    let sender = spawn(&owner, |owner| owner.push(1).unwrap());
    let popper = spawn(&owner, |owner| {
        owner.run_entry();
    });
    owner.run_entry();
    sender.join().unwrap();
    popper.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1]]);
}

#[test]
fn stale_entries_do_no_harm() {
    holds(3, stale_entries);
}

#[test]
fn dropping_the_entry_of_a_running_owner_is_found() {
    fails(Fault::ClaimUnsignalled, "stuck", 3, stale_entries);
}

fn giving_up_a_turn() {
    let owner = Owner::new(4);
    owner.push(1).unwrap();
    owner.push(2).unwrap();
    let sender = spawn(&owner, |owner| owner.push(11).unwrap());
    let popper = spawn(&owner, |owner| {
        owner.run_entry();
    });
    if owner.pop_entry() && owner.queue().claim() {
        owner.handle_next();
        // SAFETY: we are the runner, and no longer afterwards.
        unsafe { owner.queue().requeue() };
        owner.schedule();
    }
    sender.join().unwrap();
    popper.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1, 2], &[11]]);
}

#[test]
fn a_turn_that_is_given_up_goes_on_elsewhere() {
    holds(3, giving_up_a_turn);
}

#[test]
fn giving_up_a_turn_and_then_letting_go_unchecked_is_found() {
    fails(Fault::ReleaseUnchecked, "stuck", 3, giving_up_a_turn);
}

// Signals say that something is to be looked at, which each signaller has noted before.
fn signalling_against_letting_go() {
    let owner = running_at(0);
    let notes = Arc::new(AtomicU64::new(0));
    let signaller = |note: u64| {
        let notes = notes.clone();
        spawn(&owner, move |owner| {
            notes.fetch_or(note, Relaxed);
            if owner.queue().signal() {
                owner.schedule();
            }
        })
    };
    let signallers = [signaller(1), signaller(2)];
    let mut seen = 0;
    let mut turn = || {
        loop {
            seen |= notes.load(Relaxed);
            // SAFETY: we are the runner.
            match unsafe { owner.queue().release() } {
                Released::Idle => break,
                Released::Busy => {}
                Released::Line => unreachable!("nobody stands in line"),
            }
        }
    };
    turn();
    while owner.pop_entry() {
        if owner.queue().claim() {
            turn();
        }
    }
    for signaller in signallers {
        signaller.join().unwrap();
    }
    while owner.pop_entry() {
        if owner.queue().claim() {
            turn();
        }
    }
    assert_eq!(seen, 3, "a signal is lost");
}

#[test]
fn a_signal_makes_the_runner_look_again() {
    holds(3, signalling_against_letting_go);
}

#[test]
fn letting_go_over_a_signal_is_found() {
    fails(
        Fault::ReleaseUnchecked,
        "a signal is lost",
        3,
        signalling_against_letting_go,
    );
}

#[test]
fn a_signal_that_publishes_nothing_is_found() {
    fails(
        Fault::SignalUnpublished,
        "a signal is lost",
        3,
        signalling_against_letting_go,
    );
}

fn pushing_against_taking() {
    let owner = Owner::new(1);
    owner.push(1).unwrap();
    assert!(owner.pop_entry() && owner.queue().claim());
    let taken = Arc::new(AtomicBool::new(false));
    let sender = spawn(&owner, {
        let taken = taken.clone();
        move |owner| {
            let room = taken.load(Acquire);
            let pushed = owner.push(11);
            assert!(pushed.is_ok() || !room, "refused, though there is room");
            pushed.is_ok()
        }
    });
    owner.handle_next();
    taken.store(true, Release);
    // SAFETY: we are the runner.
    unsafe { owner.queue().give_back() };
    owner.turn();
    let others: &[u32] = if sender.join().unwrap() { &[11] } else { &[] };
    owner.run_entries();
    owner.check_handled(&[&[1], others]);
}

#[test]
fn a_push_is_refused_only_if_the_queue_was_full() {
    holds(3, pushing_against_taking);
}

#[test]
fn a_refusal_in_spite_of_room_is_found() {
    fails(
        Fault::ProgressOverlooked,
        "refused, though there is room",
        3,
        pushing_against_taking,
    );
}

fn two_senders_and_room_for_one() {
    let owner = Owner::new(1);
    owner.push(1).unwrap();
    assert!(owner.pop_entry() && owner.queue().claim());
    let senders = [
        spawn(&owner, |owner| owner.push(11).is_ok()),
        spawn(&owner, |owner| owner.push(21).is_ok()),
    ];
    owner.handle_next();
    let sent = senders.map(|sender| sender.join().unwrap());
    let late = owner.push(31).is_ok();
    let queued = sent.into_iter().chain([late]).filter(|sent| *sent).count();
    assert_eq!(queued, 1, "queued into a mailbox with room for one");
    owner.turn();
    let expected = |item, sent| if sent { vec![item] } else { vec![] };
    let [first, second] = sent;
    owner.run_entries();
    owner.check_handled(&[
        &[1],
        &expected(11, first),
        &expected(21, second),
        &expected(31, late),
    ]);
}

#[test]
fn the_capacity_is_never_exceeded() {
    holds(3, two_senders_and_room_for_one);
}

#[test]
fn room_that_is_used_twice_is_found() {
    fails(
        Fault::RoomUsedTwice,
        "queued into a mailbox with room for one",
        3,
        two_senders_and_room_for_one,
    );
}

fn pushing_against_closing() {
    let owner = running_at(0);
    let first = spawn(&owner, |owner| {
        let sent = [owner.push(1), owner.push(2)].map(|pushed| pushed.is_ok());
        assert!(sent != [false, true], "queued in a closed queue");
        (1..=2)
            .zip(sent)
            .filter(|(_, sent)| *sent)
            .map(|(item, _)| item)
            .collect::<Vec<_>>()
    });
    let second = spawn(&owner, |owner| owner.push(11).is_ok());
    owner.queue().close();
    owner.drain();
    let first = first.join().unwrap();
    let second: &[u32] = if second.join().unwrap() { &[11] } else { &[] };
    owner.drain_entries();
    owner.check_handled(&[&first, second]);
    assert_eq!(owner.push(3), Err(Refused::Closed));
}

#[test]
fn a_push_is_refused_as_closed_or_its_item_is_drained() {
    holds(3, pushing_against_closing);
}

#[test]
fn closing_over_a_reservation_is_found() {
    fails(Fault::CloseUnchecked, "stuck", 3, pushing_against_closing);
}

// The runner keeps the segments that it has emptied, and then sends with them.
fn using_segments_again() {
    let _kept = keep_segments();
    let owner = Owner::new(4);
    owner.push(1).unwrap();
    owner.push(2).unwrap();
    owner.run_entry();
    let sender = spawn(&owner, |owner| {
        let _kept = keep_segments();
        owner.push(11).unwrap();
        owner.run_entry();
    });
    owner.push(3).unwrap();
    owner.run_entry();
    sender.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1, 2, 3], &[11]]);
}

#[test]
fn segments_are_as_new_when_they_are_used_again() {
    holds(3, using_segments_again);
}

#[test]
fn a_segment_that_is_not_as_new_is_found() {
    fails(
        Fault::StampKept,
        "Causality violation",
        3,
        using_segments_again,
    );
}

// A caller pushes a request and runs the owner without an entry, up to that request; the entry of
// an older message stands in the run queue meanwhile, where a worker pops it, and one more sender
// comes. What the caller leaves goes back to the run queue.
fn a_caller_against_a_stale_entry() {
    let owner = Owner::new(4);
    owner.push(1).unwrap();
    let worker = spawn(&owner, |owner| {
        owner.run_entry();
    });
    let sender = spawn(&owner, |owner| owner.push(11).unwrap());
    owner.push(2).unwrap();
    if owner.queue().claim_unasked() {
        for _ in 0..2 {
            owner.handle_next();
        }
        // SAFETY: we are the runner, and no longer afterwards.
        unsafe { owner.queue().requeue() };
        owner.schedule();
    }
    worker.join().unwrap();
    sender.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1, 2], &[11]]);
}

#[test]
fn a_caller_and_a_worker_claim_the_owner_one_at_a_time() {
    holds(2, a_caller_against_a_stale_entry);
}

#[test]
fn letting_go_unchecked_beside_a_caller_is_found() {
    fails(
        Fault::ReleaseUnchecked,
        "stuck",
        3,
        a_caller_against_a_stale_entry,
    );
}

// Two callers, each with a request of its own. A caller whose push says that the owner has to be
// scheduled keeps that turn for himself, and makes no entry of it.
fn two_callers() {
    fn call(owner: &Owner, number: u32) {
        let pushed = owner.queue().push(Item::new(number), Turn::Newcomer);
        let has_turn = pushed.unwrap_or_else(|_| unreachable!("there is room"));
        let claimed = if has_turn {
            owner.queue().claim()
        } else {
            owner.queue().claim_unasked()
        };
        if claimed {
            owner.turn();
        }
    }
    let owner = Owner::new(4);
    let other = spawn(&owner, |owner| call(owner, 11));
    call(&owner, 1);
    other.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1], &[11]]);
}

#[test]
fn a_turn_that_a_caller_keeps_for_himself_is_not_lost() {
    holds(5, two_callers);
}

#[test]
fn a_caller_who_drops_his_turn_while_another_one_runs_is_found() {
    fails(Fault::ClaimUnsignalled, "stuck", 5, two_callers);
}
