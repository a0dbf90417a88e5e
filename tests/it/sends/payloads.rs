//! Messages of all sizes: they arrive as they were sent, and are dropped exactly once, in every
//! ending that a message can have.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context as TaskContext, Poll, Waker};

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Context, Handler, Overflow, Recipient, Reply, SendError, Stage,
    TrySendError, WaitError,
};
use static_assertions::const_assert_eq;

use super::{SECOND, waiting_senders};
use crate::support::{end_of, in_pools, under_seed};

// What is sent.

/// A message that tells whether it is as it was made, and when it is dropped.
trait Specimen: Send + Sized + 'static {
    fn new(number: u32) -> Self;

    fn number(&self) -> u32;

    fn is_intact(&self) -> bool;
}

/// How often each specimen was made, and dropped.
static REGISTER: Mutex<BTreeMap<u32, (u32, u32)>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU32 = AtomicU32::new(1);

fn register(number: u32) -> u32 {
    REGISTER.lock().unwrap().entry(number).or_default().0 += 1;
    number
}

fn deregister(number: u32) {
    REGISTER.lock().unwrap().entry(number).or_default().1 += 1;
}

/// `N` bytes, without any alignment: a number, and a pattern that belongs to it.
struct Bytes<const N: usize>([u8; N]);

const_assert_eq!(size_of::<Bytes<40>>(), 40);
const_assert_eq!(size_of::<Bytes<41>>(), 41);

fn pattern(number: u32, index: usize) -> u8 {
    (number as usize).wrapping_mul(167).wrapping_add(index * 31) as u8
}

impl<const N: usize> Specimen for Bytes<N> {
    fn new(number: u32) -> Self {
        register(number);
        let mut bytes = std::array::from_fn(|index| pattern(number, index));
        bytes[..4].copy_from_slice(&number.to_ne_bytes());
        Self(bytes)
    }

    fn number(&self) -> u32 {
        let number = self.0[..4].try_into().expect("four bytes are there");
        u32::from_ne_bytes(number)
    }

    fn is_intact(&self) -> bool {
        let number = self.number();
        let mut rest = self.0.iter().enumerate().skip(4);
        rest.all(|(index, byte)| *byte == pattern(number, index))
    }
}

impl<const N: usize> Drop for Bytes<N> {
    fn drop(&mut self) {
        deregister(self.number());
    }
}

/// Five words: as large as a message may be that lies in the mailbox itself.
struct Words([u64; 5]);

const_assert_eq!(size_of::<Words>(), 40);

impl Specimen for Words {
    fn new(number: u32) -> Self {
        register(number);
        Self([u64::from(number), !u64::from(number), 2, 3, 4])
    }

    fn number(&self) -> u32 {
        self.0[0] as u32
    }

    fn is_intact(&self) -> bool {
        self.0[1..] == [!self.0[0], 2, 3, 4] && std::ptr::from_ref(self).is_aligned()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        deregister(self.number());
    }
}

macro_rules! aligned {
    ($name:ident, $align:literal, $bytes:literal) => {
        #[repr(align($align))]
        struct $name(Bytes<$bytes>);

        const_assert_eq!(align_of::<$name>(), $align);

        impl Specimen for $name {
            fn new(number: u32) -> Self {
                Self(Bytes::new(number))
            }

            fn number(&self) -> u32 {
                self.0.number()
            }

            fn is_intact(&self) -> bool {
                std::ptr::from_ref(self).addr() % $align == 0 && self.0.is_intact()
            }
        }
    };
}

aligned!(Aligned16, 16, 16);
aligned!(Aligned64, 64, 32);

/// Nothing at all; all of them have one number.
struct Nothing;

const_assert_eq!(size_of::<Nothing>(), 0);

const NOTHING: u32 = 0;

impl Specimen for Nothing {
    fn new(_: u32) -> Self {
        register(NOTHING);
        Self
    }

    fn number(&self) -> u32 {
        NOTHING
    }

    fn is_intact(&self) -> bool {
        true
    }
}

impl Drop for Nothing {
    fn drop(&mut self) {
        deregister(NOTHING);
    }
}

/// Makes specimens, and knows which.
struct Series<S> {
    first: u32,
    specimen: std::marker::PhantomData<S>,
}

impl<S: Specimen> Series<S> {
    fn begin() -> Self {
        // Each series has numbers of its own, since others run at the same time.
        let first = NEXT.fetch_add(100_000, SeqCst);
        Self {
            first,
            specimen: std::marker::PhantomData,
        }
    }

    /// The specimen of this index in the series.
    fn nth(&self, index: u32) -> S {
        S::new(self.first + index)
    }

    fn assert_is_nth(&self, specimen: &S, index: u32) {
        assert!(specimen.is_intact());
        let number = specimen.number();
        assert!(number == self.first + index || number == NOTHING);
    }

    /// Each that was made has been dropped, and once.
    fn assert_is_gone(self, what: &str) {
        // All specimens of no size have one number, and one test at a time makes them.
        let numbers = if size_of::<S>() == 0 {
            NOTHING..=NOTHING
        } else {
            self.first..=self.first + 99_999
        };
        let register = REGISTER.lock().unwrap();
        for (number, (made, dropped)) in register.range(numbers) {
            assert_eq!(made, dropped, "{what}: number {number}");
        }
    }
}

// Who gets it.

/// Looks at what it is sent.
struct Keeper;

impl Actor for Keeper {}

impl<S: Specimen> Handler<S> for Keeper {
    type Reply = u32;

    fn handle(&mut self, specimen: S, _: &mut Context<Self>) -> u32 {
        assert!(specimen.is_intact());
        specimen.number()
    }
}

/// Keeps the keeper busy.
struct Nap;

impl Handler<Nap> for Keeper {
    type Reply = Result<(), WaitError>;

    fn handle(&mut self, _: Nap, ctx: &mut Context<Self>) -> Result<(), WaitError> {
        ctx.sleep(10 * SECOND)
    }
}

/// Has the keeper panic with the message in hand.
struct Spoil<S>(S);

impl<S: Specimen> Handler<Spoil<S>> for Keeper {
    type Reply = u32;

    fn handle(&mut self, Spoil(specimen): Spoil<S>, _: &mut Context<Self>) -> u32 {
        panic!("in hand: {}", specimen.is_intact());
    }
}

/// Has the keeper send itself this later.
struct Later<S>(S);

impl<S: Specimen> Handler<Later<S>> for Keeper {
    type Reply = ();

    fn handle(&mut self, Later(specimen): Later<S>, ctx: &mut Context<Self>) {
        ctx.send_after(SECOND, specimen);
    }
}

/// The answer is the message.
struct Back<S>(S);

impl<S: Specimen> Handler<Back<S>> for Keeper {
    type Reply = S;

    fn handle(&mut self, Back(specimen): Back<S>, _: &mut Context<Self>) -> S {
        specimen
    }
}

/// A keeper that sleeps, and whose mailbox is full with the series' number 0.
fn full<S: Specimen>(stepper: &Stepper, series: &Series<S>, overflow: Overflow) -> Addr<Keeper> {
    let keeper = stepper.system().actor().capacity(1).overflow(overflow);
    let keeper = keeper.spawn(Keeper).unwrap();
    keeper.send(Nap).unwrap();
    stepper.run();
    keeper.send(series.nth(0)).unwrap();
    keeper
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut TaskContext::from_waker(Waker::noop()))
}

// Its endings.

type Case<S> = (&'static str, fn(&Stepper, &Series<S>));

fn every_ending<S: Specimen>() {
    let cases: [Case<S>; 13] = [
        ("handled", is_handled),
        ("handled by a panic", is_in_hand_at_a_panic),
        ("answered", is_answered),
        ("queued at the end", is_queued_at_the_end),
        ("refused by a full mailbox", is_refused_by_a_full_mailbox),
        ("refused by an actor that has ended", is_refused_at_the_end),
        ("late", is_late),
        ("dropped by policy", is_dropped_by_policy),
        ("withdrawn from the queue", is_withdrawn_from_the_queue),
        ("in line", stands_in_line),
        ("in line at the end", stands_in_line_at_the_end),
        ("of a timer", comes_from_a_timer),
        ("forwarded", is_forwarded),
    ];
    for (what, case) in cases {
        let series = Series::begin();
        under_seed(1, |stepper| case(stepper, &series));
        series.assert_is_gone(what);
    }
}

fn answer<S: Specimen>(series: &Series<S>, reply: Reply<u32>, index: u32) {
    let number = reply.wait().unwrap();
    assert!(number == series.first + index || number == NOTHING);
}

fn is_handled<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = stepper.system().spawn(Keeper);
    // Many at once, so that they fill what holds them more than once.
    for index in 0..500 {
        keeper.send(series.nth(index)).unwrap();
    }
    answer(series, keeper.ask(series.nth(500)), 500);
    keeper.try_send(series.nth(501)).unwrap();
    keeper.send_for(series.nth(502), SECOND).unwrap();
    assert!(poll_once(&mut keeper.send_async(series.nth(503))).is_ready());
    let recipient: Recipient<S> = keeper.recipient();
    recipient.send(series.nth(504)).unwrap();
    recipient.try_send(series.nth(505)).unwrap();
    recipient.send_for(series.nth(506), SECOND).unwrap();
    assert!(poll_once(&mut Box::pin(recipient.send_async(series.nth(507)))).is_ready());
    let asker = keeper.asker::<S>();
    answer(series, asker.ask(series.nth(508)), 508);
    assert_eq!(stepper.system().snapshot().totals.handled, 509);
}

fn is_in_hand_at_a_panic<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    for index in 0..3 {
        let keeper = stepper.system().spawn(Keeper);
        let reply = keeper.ask(Spoil(series.nth(index)));
        keeper.send(series.nth(100 + index)).unwrap();
        let Err(AskError::Panicked { message }) = reply.wait() else {
            panic!("the handler panics");
        };
        assert_eq!(&*message, "in hand: true");
    }
}

fn is_answered<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = stepper.system().spawn(Keeper);
    let back = keeper.ask(Back(series.nth(0))).wait().unwrap();
    series.assert_is_nth(&back, 0);
    keeper.send(Back(series.nth(1))).unwrap();
    drop(keeper.ask(Back(series.nth(2))));
    let untaken = keeper.ask(Back(series.nth(3)));
    stepper.run();
    drop(untaken);
    keeper.stop();
    drop(keeper.ask(Back(series.nth(4))));
}

fn is_queued_at_the_end<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let enders: [fn(&Addr<Keeper>); 2] = [Addr::stop, Addr::kill];
    for end in enders {
        let keeper = stepper.system().spawn(Keeper);
        (0..200).for_each(|index| keeper.send(series.nth(index)).unwrap());
        let reply = keeper.ask(series.nth(200));
        end(&keeper);
        assert!(matches!(reply.wait(), Err(AskError::Stopped { .. })));
        end_of(&keeper);
    }
    let keeper = stepper.system().spawn(Keeper);
    (0..200).for_each(|index| keeper.send(series.nth(index)).unwrap());
    stepper.system().shutdown_now(SECOND);
}

fn is_refused_by_a_full_mailbox<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = full(stepper, series, Overflow::Reject);
    let Err(SendError::Full(back)) = keeper.send(series.nth(1)) else {
        panic!("the mailbox is full");
    };
    series.assert_is_nth(&back, 1);
    let Err(TrySendError::Full(back)) = keeper.try_send(back) else {
        panic!("the mailbox is full");
    };
    series.assert_is_nth(&back, 1);
    let Poll::Ready(Err(SendError::Full(back))) = poll_once(&mut keeper.send_async(back)) else {
        panic!("the mailbox is full");
    };
    series.assert_is_nth(&back, 1);
    let Err(AskError::Full(undelivered)) = keeper.ask(back).wait() else {
        panic!("the mailbox is full");
    };
    let Ok(back) = undelivered.into_message::<S>() else {
        panic!("it is of the same type");
    };
    series.assert_is_nth(&back, 1);
    // An error that nobody looks at.
    assert!(keeper.ask(series.nth(2)).wait().is_err());
    drop(keeper.ask(series.nth(3)));
}

fn is_refused_at_the_end<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = stepper.system().spawn(Keeper);
    keeper.stop();
    end_of(&keeper);
    let back = keeper.send(series.nth(1)).unwrap_err().into_inner();
    series.assert_is_nth(&back, 1);
    let back = keeper.try_send(back).unwrap_err().into_inner();
    series.assert_is_nth(&back, 1);
    let back = keeper.send_for(back, SECOND).unwrap_err().into_inner();
    series.assert_is_nth(&back, 1);
    let Poll::Ready(Err(error)) = poll_once(&mut keeper.send_async(back)) else {
        panic!("the actor has ended");
    };
    series.assert_is_nth(&error.into_inner(), 1);
    assert!(keeper.ask(series.nth(2)).wait().is_err());
}

fn is_late<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = full(stepper, series, Overflow::BlockFor(SECOND));
    let Err(SendError::TimedOut(back)) = keeper.send(series.nth(1)) else {
        panic!("there is no room in time");
    };
    series.assert_is_nth(&back, 1);
    let Err(SendError::TimedOut(back)) = keeper.send_for(back, SECOND) else {
        panic!("there is no room in time");
    };
    series.assert_is_nth(&back, 1);
    let Err(AskError::Full(undelivered)) = keeper.ask(back).wait() else {
        panic!("there is no room in time");
    };
    let Ok(back) = undelivered.into_message::<S>() else {
        panic!("it is of the same type");
    };
    series.assert_is_nth(&back, 1);
    let reply = keeper.ask(back);
    stepper.advance(SECOND);
    drop(reply);
    let outcome = keeper.ask(series.nth(2)).wait_for(SECOND / 2);
    assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
    assert_eq!(waiting_senders(stepper.system(), &keeper), 0);
}

fn is_dropped_by_policy<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = full(stepper, series, Overflow::DropNewest);
    keeper.send(series.nth(1)).unwrap();
    assert!(matches!(
        keeper.ask(series.nth(2)).wait(),
        Err(AskError::DroppedByPolicy)
    ));
    assert!(poll_once(&mut keeper.send_async(series.nth(3))).is_ready());
    assert_eq!(stepper.system().snapshot().totals.dropped, 3);
}

fn is_withdrawn_from_the_queue<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = stepper.system().spawn(Keeper);
    drop(keeper.ask(series.nth(0)));
    let late = keeper.ask(series.nth(1));
    keeper.send(Nap).unwrap();
    let hasty = keeper.ask(series.nth(2));
    answer(series, late, 1);
    assert!(hasty.wait_for(SECOND).is_err());
    answer(series, keeper.ask(series.nth(3)), 3);
    assert_eq!(stepper.system().snapshot().totals.cancelled, 2);
}

fn stands_in_line<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = full(stepper, series, Overflow::Block);
    drop(keeper.send_async(series.nth(1)));
    let mut leaves = keeper.send_async(series.nth(2));
    let mut stays = keeper.send_async(series.nth(3));
    let mut is_granted = keeper.send_async(series.nth(4));
    assert!(poll_once(&mut leaves).is_pending());
    assert!(poll_once(&mut stays).is_pending());
    assert!(poll_once(&mut is_granted).is_pending());
    let asked = keeper.ask(series.nth(5));
    let gives_up = keeper.ask(series.nth(6));
    drop(keeper.ask(series.nth(7)));
    assert!(keeper.ask(series.nth(8)).wait_for(SECOND).is_err());
    drop(leaves);
    assert_eq!(waiting_senders(stepper.system(), &keeper), 4);
    stepper.advance(20 * SECOND);
    assert!(matches!(poll_once(&mut stays), Poll::Ready(Ok(()))));
    // It was queued, and its sender never learned it.
    drop(is_granted);
    answer(series, asked, 5);
    drop(gives_up);
}

fn stands_in_line_at_the_end<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = full(stepper, series, Overflow::Block);
    let mut learns = keeper.send_async(series.nth(1));
    let mut does_not = keeper.send_async(series.nth(2));
    assert!(poll_once(&mut learns).is_pending());
    assert!(poll_once(&mut does_not).is_pending());
    let asked = keeper.ask(series.nth(3));
    keeper.kill();
    stepper.run();
    let Poll::Ready(Err(SendError::Stopped(back))) = poll_once(&mut learns) else {
        panic!("the actor has ended");
    };
    series.assert_is_nth(&back, 1);
    drop(does_not);
    assert!(asked.wait().is_err());
}

fn comes_from_a_timer<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let keeper = stepper.system().spawn(Keeper);
    keeper.send(Later(series.nth(0))).unwrap();
    stepper.advance(SECOND);
    assert_eq!(stepper.system().snapshot().totals.handled, 2);
    // One that finds no room, one that stands in line, one that does not come.
    for overflow in [Overflow::Reject, Overflow::DropNewest, Overflow::Block] {
        let keeper = stepper.system().actor().capacity(1).overflow(overflow);
        let keeper = keeper.spawn(Keeper).unwrap();
        keeper.send(Later(series.nth(1))).unwrap();
        stepper.run();
        keeper.send(Nap).unwrap();
        stepper.run();
        keeper.send(series.nth(2)).unwrap();
        stepper.advance(2 * SECOND);
    }
    let keeper = stepper.system().spawn(Keeper);
    keeper.send(Later(series.nth(3))).unwrap();
    stepper.run();
    keeper.stop();
    end_of(&keeper);
}

fn is_forwarded<S: Specimen>(stepper: &Stepper, series: &Series<S>) {
    let asked = stepper.system().spawn(Keeper);
    let forward = |index: u32, to: &Addr<Keeper>| {
        let specimen = series.nth(100 + index);
        asked.ask(series.nth(index)).forward(to, move |_| specimen);
        stepper.run();
    };
    let keeper = stepper.system().spawn(Keeper);
    forward(1, &keeper);
    keeper.stop();
    end_of(&keeper);
    forward(2, &keeper);
    for (index, overflow) in (3..).zip([Overflow::Reject, Overflow::DropNewest, Overflow::Block]) {
        let keeper = full(stepper, series, overflow);
        forward(index, &keeper);
    }
}

#[test]
fn messages_of_exactly_forty_bytes_arrive_intact_and_are_dropped_once_in_every_ending() {
    every_ending::<Bytes<40>>();
    every_ending::<Words>();
}

#[test]
fn messages_of_forty_one_bytes_arrive_intact_and_are_dropped_once_in_every_ending() {
    every_ending::<Bytes<41>>();
}

#[test]
fn messages_of_larger_alignment_arrive_intact_and_are_dropped_once_in_every_ending() {
    every_ending::<Aligned16>();
    every_ending::<Aligned64>();
}

#[test]
fn messages_of_four_kibibytes_arrive_intact_and_are_dropped_once_in_every_ending() {
    every_ending::<Bytes<4096>>();
}

#[test]
fn messages_of_four_bytes_and_of_none_arrive_and_are_dropped_once_in_every_ending() {
    every_ending::<Bytes<4>>();
    every_ending::<Nothing>();
}

#[test]
fn messages_of_all_sizes_arrive_from_many_threads_and_are_dropped_once() {
    fn send_all<S: Specimen>(keeper: &Addr<Keeper>) -> Series<S> {
        let series = Series::begin();
        for index in 0..2000 {
            if index % 8 == 0 {
                // Some are withdrawn just as they are handled.
                drop(keeper.ask(series.nth(index)));
            } else {
                keeper.send(series.nth(index)).unwrap();
            }
        }
        series
    }

    in_pools(|system| {
        let keeper = system.actor().capacity(7).spawn(Keeper).unwrap();
        let (small, fitting, boxed, large, aligned) = std::thread::scope(|scope| {
            let small = scope.spawn(|| send_all::<Bytes<4>>(&keeper));
            let fitting = scope.spawn(|| send_all::<Words>(&keeper));
            let boxed = scope.spawn(|| send_all::<Bytes<41>>(&keeper));
            let large = scope.spawn(|| send_all::<Bytes<4096>>(&keeper));
            let aligned = scope.spawn(|| send_all::<Aligned64>(&keeper));
            (
                small.join().unwrap(),
                fitting.join().unwrap(),
                boxed.join().unwrap(),
                large.join().unwrap(),
                aligned.join().unwrap(),
            )
        });
        keeper.drain();
        end_of(&keeper);
        small.assert_is_gone("4 bytes");
        fitting.assert_is_gone("40 bytes");
        boxed.assert_is_gone("41 bytes");
        large.assert_is_gone("4096 bytes");
        aligned.assert_is_gone("aligned");
    });
}
