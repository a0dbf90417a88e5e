//! Models of the line of a full mailbox, and the owner of a mailbox as all models use it.
#![expect(unsafe_code, reason = "plays the runner")]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicUsize as UntrackedUsize;
use std::task::Wake;

use loom::sync::Arc as ModelArc;
use loom::thread;

use super::*;
use crate::sync::model::{Alarm, Spared, fails, holds};
use crate::sync::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Acquire, Release},
    Track, UnsafeCell, relax,
};

/// An item that is missed if it is not dropped.
pub(super) struct Item(
    pub(super) u32,
    #[expect(dead_code, reason = "held for its drop")] Track<()>,
);

impl Item {
    pub(super) fn new(number: u32) -> Self {
        Self(number, Track::new(()))
    }
}

loom::thread_local! {
    /// If a model fails, what its threads keep is dropped outside of it, where the model checker
    /// is out of reach; so only [`Kept`] frees it.
    static CACHE: RefCell<Option<ManuallyDrop<SegmentCache<Item>>>> = RefCell::new(None);
}

/// While this lives, the thread of the model keeps the segments that it empties. Threads without
/// a cache free them, and then the model checker sees whether anybody still uses them.
pub(super) struct Kept(());

pub(super) fn keep_segments() -> Kept {
    CACHE.with(|cache| cache.replace(Some(ManuallyDrop::new(SegmentCache::new()))));
    Kept(())
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let cache = CACHE.with(RefCell::take);
            drop(cache.map(ManuallyDrop::into_inner));
        }
    }
}

impl Stored for Item {
    fn with_cache<R>(f: impl FnOnce(&mut SegmentCache<Self>) -> R) -> Option<R> {
        CACHE.with(|cache| cache.borrow_mut().as_deref_mut().map(f))
    }

    fn stash() -> Option<&'static Stash<Self>> {
        None
    }
}

/// A mailbox with what belongs to it: a run queue, and an actor that notes what it handles.
pub(super) struct Owner {
    pub(super) mailbox: Mailbox<Item>,
    /// How many entries the run queue holds.
    entries: AtomicUsize,
    /// What was handled. Touched by the runner only.
    handled: UnsafeCell<Vec<u32>>,
}

impl Owner {
    pub(super) fn new(capacity: usize) -> Spared<ModelArc<Self>> {
        Spared::new(ModelArc::new(Self {
            mailbox: Mailbox::new(capacity),
            entries: AtomicUsize::new(0),
            handled: UnsafeCell::new(Vec::new()),
        }))
    }

    pub(super) fn queue(&self) -> &Queue<Item> {
        self.mailbox.queue()
    }

    /// Adds an entry to the run queue, which publishes what was done before, as run queues do.
    pub(super) fn schedule(&self) {
        self.entries.fetch_add(1, Release);
    }

    /// Pushes an item, and schedules the owner if told so.
    pub(super) fn push(&self, number: u32) -> Result<(), Refused> {
        match self.queue().push(Item::new(number), Turn::Newcomer) {
            Ok(schedule) => {
                if schedule {
                    self.schedule();
                }
                Ok(())
            }
            Err((refused, item)) => {
                assert_eq!(item.0, number);
                Err(refused)
            }
        }
    }

    /// Pops an entry, and says whether there was one.
    pub(super) fn pop_entry(&self) -> bool {
        self.entries
            .fetch_update(AcqRel, Acquire, |entries| entries.checked_sub(1))
            .is_ok()
    }

    /// Gives the owner a turn if there is an entry for it.
    pub(super) fn run_entry(&self) -> bool {
        let popped = self.pop_entry();
        if popped && self.queue().claim() {
            self.turn();
        }
        popped
    }

    /// Becomes the runner of an owner that nobody knows yet.
    pub(super) fn begin_turn(&self) {
        assert!(self.queue().signal());
        assert!(self.queue().claim());
    }

    /// Handles all there is, and lets go. The caller is the runner.
    pub(super) fn turn(&self) {
        let mut round = 0;
        loop {
            while self.handle_next() {}
            // SAFETY: the caller is the runner.
            match unsafe { self.queue().release() } {
                Released::Idle => return,
                Released::Busy => {}
                Released::Line => {
                    self.grant();
                    if round > 0 {
                        relax(&mut round);
                    }
                    round += 1;
                }
            }
        }
    }

    /// Handles the next item, if it is there. The caller is the runner.
    pub(super) fn handle_next(&self) -> bool {
        // SAFETY: the caller is the runner.
        let Some(item) = (unsafe { self.queue().take() }) else {
            return false;
        };
        self.handled.with_mut(|handled| {
            // SAFETY: the caller is the runner.
            unsafe { &mut *handled }.push(item.0);
        });
        true
    }

    /// Moves the line on. The caller is the runner.
    fn grant(&self) {
        let mut wakes = Wakes::new();
        let schedule = self.mailbox.grant(&mut wakes);
        assert!(!schedule, "the runner is never told to schedule itself");
        wakes.into_iter().for_each(Waker::wake);
    }

    /// Closes the mailbox; returns the items whose senders do not wait.
    fn close(&self) -> Vec<Item> {
        let (mut wakes, mut orphans) = (Wakes::new(), Vec::new());
        self.mailbox.close(&mut wakes, &mut orphans);
        wakes.into_iter().for_each(Waker::wake);
        orphans
    }

    /// Handles what is left in a closed queue, and lets go if something is not written yet.
    pub(super) fn drain(&self) {
        loop {
            while self.handle_next() {}
            // SAFETY: the caller is the runner.
            if unsafe { self.queue().is_exhausted() } {
                return;
            }
            // SAFETY: the caller is the runner.
            if unsafe { self.queue().release() } == Released::Idle {
                return;
            }
        }
    }

    /// Runs what is scheduled now that all others are done.
    pub(super) fn run_entries(&self) {
        while self.run_entry() {}
    }

    /// As above, for a closed mailbox.
    pub(super) fn drain_entries(&self) {
        while self.pop_entry() {
            if self.queue().claim() {
                self.drain();
            }
        }
    }

    /// Checks that just these items were handled, those of each sender in order, once all
    /// others are done and all entries were run.
    pub(super) fn check_handled(&self, of_senders: &[&[u32]]) {
        let len = self.queue().len();
        assert_eq!(len, 0, "stuck: items are queued and nothing is scheduled");
        let mut handled = self.handled.with_mut(|handled| {
            // SAFETY: all others are done.
            std::mem::take(unsafe { &mut *handled })
        });
        for items in of_senders {
            let (these, others): (Vec<_>, _) =
                handled.into_iter().partition(|item| items.contains(item));
            assert_eq!(these, *items, "lost, handled twice, or out of order");
            handled = others;
        }
        assert!(handled.is_empty(), "{handled:?} handled, though never sent");
    }
}

/// Starts a thread of the model that uses the owner.
pub(super) fn spawn<R: 'static>(
    owner: &ModelArc<Owner>,
    f: impl FnOnce(&Owner) -> R + 'static,
) -> thread::JoinHandle<R> {
    let owner = Spared::new(owner.clone());
    thread::spawn(move || f(&owner))
}

/// Counts its calls. Looked at only when all threads are done, so it needs no tracking.
struct Counter(UntrackedUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Counter {
    fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self(UntrackedUsize::new(0)));
        (counter.clone(), Waker::from(counter))
    }
}

/// A sender that pushes an item or stands in line with it.
struct Sender {
    number: u32,
    waker: Option<(Arc<Counter>, Waker)>,
    outcome: Stood<Item>,
}

impl Sender {
    fn send(owner: &Owner, number: u32, waits: bool) -> Self {
        let waker = waits.then(Counter::new);
        let outcome = owner
            .mailbox
            .push_or_stand(Item::new(number), waker.as_ref().map(|(_, waker)| waker));
        if let Stood::Queued(true) = outcome {
            owner.schedule();
        }
        Self {
            number,
            waker,
            outcome,
        }
    }

    /// Whether its item has come to the queue; otherwise it has come back.
    fn has_sent(self) -> bool {
        match self.outcome {
            Stood::Queued(_) => true,
            Stood::Closed(item) => {
                assert_eq!(item.0, self.number);
                false
            }
            Stood::InLine(place) => {
                let calls = self.waker.map(|(counter, _)| counter.0.load(Relaxed));
                let standing = std::mem::replace(&mut *place.0.lock(), Standing::Withdrawn);
                match standing {
                    Standing::InLine(..) => panic!("stuck in line"),
                    _ => assert!(
                        calls.is_none_or(|calls| calls == 1),
                        "called {calls:?} times"
                    ),
                }
                match standing {
                    Standing::Granted => true,
                    Standing::Closed(item) => {
                        assert_eq!(item.0, self.number);
                        false
                    }
                    // Closed, and its item was orphaned.
                    Standing::Withdrawn | Standing::InLine(..) => false,
                }
            }
        }
    }
}

fn standing_against_letting_go() {
    let owner = Owner::new(1);
    owner.push(1).unwrap();
    let first = spawn(&owner, |owner| Sender::send(owner, 11, true));
    let second = spawn(&owner, |owner| Sender::send(owner, 21, true));
    owner.run_entry();
    let senders = [first.join().unwrap(), second.join().unwrap()];
    owner.run_entries();
    assert!(senders.into_iter().all(Sender::has_sent));
    owner.check_handled(&[&[1], &[11], &[21]]);
}

#[test]
fn who_stands_in_line_is_granted_when_the_runner_lets_go() {
    holds(3, standing_against_letting_go);
}

#[test]
fn a_runner_that_overlooks_the_line_is_found() {
    fails(
        Fault::LineOverlooked,
        "stuck in line",
        3,
        standing_against_letting_go,
    );
}

// The sender comes to wait for its place after it has taken it, as a future does.
fn polling_against_granting() {
    let owner = Owner::new(1);
    owner.push(1).unwrap();
    let sender = spawn(&owner, |owner| {
        let place = match owner.mailbox.push_or_stand(Item::new(11), None) {
            Stood::InLine(place) => place,
            Stood::Queued(schedule) => {
                if schedule {
                    owner.schedule();
                }
                return;
            }
            Stood::Closed(_) => unreachable!("nobody closes"),
        };
        let (alarm, waker) = Alarm::new();
        loop {
            match place.poll(&waker) {
                Progress::Waiting => alarm.wait(),
                Progress::Granted => return,
                Progress::Closed(_) => unreachable!("nobody closes"),
            }
        }
    });
    owner.run_entry();
    sender.join().unwrap();
    owner.run_entries();
    owner.check_handled(&[&[1], &[11]]);
}

#[test]
fn who_waits_for_a_place_is_called_when_it_is_granted() {
    holds(3, polling_against_granting);
}

#[test]
fn a_grant_of_which_nobody_hears_is_found() {
    fails(
        Fault::GrantUnannounced,
        "deadlock",
        3,
        polling_against_granting,
    );
}

fn withdrawing_against_granting() {
    let owner = Owner::new(1);
    owner.push(1).unwrap();
    let Stood::InLine(place) = owner.mailbox.push_or_stand(Item::new(2), None) else {
        unreachable!("the mailbox is full")
    };
    let withdrawer = spawn(&owner, move |owner| owner.mailbox.withdraw(&place));
    let newcomer = spawn(&owner, |owner| Sender::send(owner, 11, true));
    owner.run_entry();
    let withdrawn = withdrawer.join().unwrap();
    let newcomer = newcomer.join().unwrap();
    let sent: &[u32] = if withdrawn.is_some() { &[1] } else { &[1, 2] };
    owner.run_entries();
    assert!(newcomer.has_sent());
    owner.check_handled(&[sent, &[11]]);
}

#[test]
fn a_place_is_withdrawn_or_granted() {
    holds(3, withdrawing_against_granting);
}

#[test]
fn a_line_that_is_dissolved_without_its_lock_is_found() {
    fails(
        Fault::LineDissolvedUnlocked,
        "stuck in line",
        3,
        withdrawing_against_granting,
    );
}

fn closing_against_standing() {
    let owner = Owner::new(1);
    owner.push(1).unwrap();
    assert!(owner.pop_entry() && owner.queue().claim());
    let waiting = spawn(&owner, |owner| Sender::send(owner, 11, true));
    let careless = spawn(&owner, |owner| Sender::send(owner, 21, false));
    let orphans = owner.close();
    owner.drain();
    let waiting = waiting.join().unwrap();
    let careless = careless.join().unwrap();
    let stood = matches!(careless.outcome, Stood::InLine(_));
    owner.drain_entries();
    let first: &[u32] = if waiting.has_sent() { &[11] } else { &[] };
    let second: &[u32] = if careless.has_sent() { &[21] } else { &[] };
    assert_eq!(orphans.len(), usize::from(stood && second.is_empty()));
    owner.check_handled(&[&[1], first, second]);
}

#[test]
fn closing_gives_those_in_line_their_items_back() {
    holds(3, closing_against_standing);
}

#[test]
fn standing_in_line_of_a_closed_mailbox_is_found() {
    fails(
        Fault::ClosedOverlooked,
        "stuck in line",
        3,
        closing_against_standing,
    );
}

fn pushing_against_granting() {
    let owner = Owner::new(2);
    owner.push(1).unwrap();
    owner.push(2).unwrap();
    let first = Sender::send(&owner, 3, true);
    assert!(owner.pop_entry() && owner.queue().claim());
    let emptied = ModelArc::new(AtomicBool::new(false));
    let newcomer = spawn(&owner, {
        let emptied = emptied.clone();
        move |owner| {
            let room = emptied.load(Acquire);
            match owner.mailbox.push(Item::new(11)) {
                Pushed::Queued(schedule) => {
                    if schedule {
                        owner.schedule();
                    }
                    true
                }
                Pushed::Full(_, schedule) => {
                    assert!(!room, "refused, though there is room");
                    if schedule {
                        owner.schedule();
                    }
                    false
                }
                Pushed::Closed(_) => unreachable!("nobody closes"),
            }
        }
    });
    while owner.handle_next() {}
    emptied.store(true, Release);
    owner.grant();
    owner.turn();
    let others: &[u32] = if newcomer.join().unwrap() { &[11] } else { &[] };
    owner.run_entries();
    assert!(first.has_sent());
    owner.check_handled(&[&[1, 2, 3], others]);
}

#[test]
fn a_push_is_refused_only_if_the_mailbox_was_full() {
    holds(3, pushing_against_granting);
}

#[test]
fn a_refusal_because_of_a_hint_is_found() {
    fails(
        Fault::LineHintTrusted,
        "refused, though there is room",
        3,
        pushing_against_granting,
    );
}
