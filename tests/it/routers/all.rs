//! Broadcast and scatter-gather.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Asker, Broadcast, Context, DeferredHandler, Handler, Overflow,
    Recipient, Reply, ReplyTo, Router, SendError, Stage, StopReason, TrySendError, WaitError,
    wait_all, wait_any,
};

use super::SECOND;
use crate::support::{
    Borrow, Debtor, Default_, Pay, Player, act, in_pools, pool, under_seed, under_seeds,
};

/// A message that counts its copies.
#[derive(Debug)]
struct News(u64, Arc<AtomicUsize>);

impl Clone for News {
    fn clone(&self) -> Self {
        self.1.fetch_add(1, Ordering::Relaxed);
        Self(self.0, self.1.clone())
    }
}

impl PartialEq for News {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

fn news(number: u64) -> News {
    News(number, Arc::default())
}

#[derive(Default)]
struct Reader(Vec<u64>);

impl Actor for Reader {}

impl Handler<News> for Reader {
    type Reply = ();

    fn handle(&mut self, News(number, _): News, _: &mut Context<Self>) {
        self.0.push(number);
    }
}

struct Read;

impl Handler<Read> for Reader {
    type Reply = Vec<u64>;

    fn handle(&mut self, _: Read, _: &mut Context<Self>) -> Vec<u64> {
        self.0.clone()
    }
}

/// Readers with room for one message, full or not.
fn readers(stepper: &Stepper, overflow: Overflow, full: &[bool]) -> Vec<Addr<Reader>> {
    let spawn = |full: &bool| {
        let spawner = stepper.system().actor().capacity(1).overflow(overflow);
        let reader = spawner.spawn(Reader::default()).unwrap();
        if *full {
            reader.send(news(0)).unwrap();
        }
        reader
    };
    full.iter().map(spawn).collect()
}

fn router(readers: &[Addr<Reader>]) -> Recipient<News> {
    Router::broadcast().recipient(readers.iter().map(Addr::recipient))
}

#[test]
fn a_broadcast_tells_what_became_of_each_copy() {
    under_seed(0, |stepper| {
        let readers = readers(stepper, Overflow::Reject, &[false, true, false, false]);
        readers[2].stop();
        let all = Broadcast::new(readers.iter().map(Addr::recipient));
        let copies = Arc::new(AtomicUsize::new(0));
        let sent = all.send(News(7, copies.clone()));
        assert_eq!(
            sent,
            [
                Ok(()),
                Err(SendError::Full(news(7))),
                Err(SendError::Stopped(news(7))),
                Ok(()),
            ]
        );
        assert_eq!(copies.load(Ordering::Relaxed), 3);
        let sent = all.try_send(news(8));
        assert_eq!(sent[0], Err(TrySendError::Full(news(8))));
        assert_eq!(sent[2], Err(TrySendError::Stopped(news(8))));
        stepper.run();
        assert!(
            all.try_send(news(9))
                .iter()
                .enumerate()
                .all(|(index, sent)| { sent.is_ok() == (index != 2) })
        );
        assert_eq!(Broadcast::new([]).send(news(1)), []);
    });
}

#[test]
fn a_broadcast_through_the_address_reaches_all_that_have_room() {
    under_seed(0, |stepper| {
        let readers = readers(stepper, Overflow::Reject, &[false, true, false, false]);
        readers[2].stop();
        stepper.run();
        let router = router(&readers);
        let copies = Arc::new(AtomicUsize::new(0));
        readers[1].send(news(0)).unwrap();
        router.send(News(7, copies.clone())).unwrap();
        stepper.run();
        assert_eq!(copies.load(Ordering::Relaxed), 3);
        // Who has ended gets no copy any more.
        router.try_send(News(8, copies.clone())).unwrap();
        assert_eq!(copies.load(Ordering::Relaxed), 3 + 2);
        stepper.run();
        router.send_for(news(9), SECOND).unwrap();
        stepper.run();
        pollster::block_on(router.send_async(news(10))).unwrap();
        let read = |index: usize| readers[index].ask(Read).wait().unwrap();
        stepper.run();
        assert_eq!(read(0), [7, 8, 9, 10]);
        assert_eq!(read(1), [0, 0, 8, 9, 10]);
        assert_eq!(read(3), [7, 8, 9, 10]);
    });
}

#[test]
fn a_broadcast_fails_only_if_no_member_took_its_copy() {
    under_seed(0, |stepper| {
        let readers = readers(stepper, Overflow::Reject, &[true, true]);
        let router = router(&readers);
        assert_eq!(router.send(news(1)), Err(SendError::Full(news(1))));
        readers[0].stop();
        // That one is full says more than that another has ended.
        assert_eq!(router.send(news(2)), Err(SendError::Full(news(2))));
        assert_eq!(router.try_send(news(3)), Err(TrySendError::Full(news(3))));
        readers[1].stop();
        for number in 4..6 {
            let stopped = Err(SendError::Stopped(news(number)));
            assert_eq!(router.send(news(number)), stopped);
            assert_eq!(router.send_for(news(number), SECOND), stopped);
            assert_eq!(pollster::block_on(router.send_async(news(number))), stopped);
        }
        assert_eq!(
            router.try_send(news(6)),
            Err(TrySendError::Stopped(news(6)))
        );
    });
}

#[test]
fn the_limit_of_a_broadcast_is_for_all_its_waits_together() {
    under_seed(0, |stepper| {
        let busy = || super::busy(stepper, Overflow::Block);
        let idle = stepper.system().spawn(Player::default());
        let members = [busy(), busy(), idle.clone()];
        for erased in [false, true] {
            let players = members.each_ref().map(|player| player.recipient::<Cue>());
            let begun = stepper.clock().now();
            if erased {
                Router::broadcast()
                    .recipient(players)
                    .send_for(Cue, SECOND)
                    .unwrap();
            } else {
                let sent = Broadcast::new(players).send_for(Cue, SECOND);
                let late = Err(SendError::TimedOut(Cue));
                assert_eq!(sent, [late.clone(), late, Ok(())]);
            }
            assert_eq!(stepper.clock().now() - begun, SECOND);
        }
        stepper.run();
        assert_eq!(super::counts(stepper, &idle).handled, 2);
    });
}

#[derive(Clone, PartialEq, Debug)]
struct Cue;

impl Handler<Cue> for Player {
    type Reply = ();

    fn handle(&mut self, _: Cue, _: &mut Context<Self>) {}
}

// Scatter-gather.

#[derive(Clone, Copy)]
enum Way {
    Answer,
    Panic,
    Owe,
    /// Answers after so many seconds.
    After(u32),
}

/// Answers with its number, or does not.
struct Expert {
    number: u64,
    way: Way,
    debts: Vec<ReplyTo<u64>>,
}

impl Actor for Expert {}

#[derive(Clone)]
struct Question;

impl DeferredHandler<Question> for Expert {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Question, reply: ReplyTo<u64>, ctx: &mut Context<Self>) {
        match self.way {
            Way::Answer => reply.send(self.number),
            Way::Panic => panic!("expert {} fails", self.number),
            Way::Owe => self.debts.push(reply),
            Way::After(seconds) => {
                ctx.sleep(seconds * SECOND).unwrap();
                reply.send(self.number);
            }
        }
    }
}

fn experts(stepper: &Stepper, ways: &[Way]) -> Vec<Addr<Expert>> {
    let spawn = |(number, way): (usize, &Way)| {
        stepper.system().spawn(Expert {
            number: number as u64,
            way: *way,
            debts: Vec::new(),
        })
    };
    ways.iter().enumerate().map(spawn).collect()
}

fn ask(experts: &[Addr<Expert>]) -> Reply<u64> {
    let askers = experts.iter().map(Addr::asker);
    let all: Asker<Question, u64> = Router::broadcast().asker(askers);
    all.ask(Question)
}

#[test]
fn the_first_answer_counts_and_what_has_not_begun_is_cancelled() {
    under_seeds(|stepper| {
        let experts = experts(stepper, &[Way::Answer; 4]);
        let answer = ask(&experts).wait().unwrap();
        assert!(answer < 4);
        stepper.run();
        let totals = stepper.system().snapshot().totals;
        assert_eq!((totals.handled, totals.cancelled), (1, 3), "{totals}");
    });
}

#[test]
fn the_first_answer_is_the_one_that_comes_first() {
    under_seeds(|stepper| {
        let ways = [Way::After(3), Way::Owe, Way::After(1), Way::After(2)];
        let experts = experts(stepper, &ways);
        let begun = stepper.clock().now();
        assert_eq!(ask(&experts).wait().unwrap(), 2);
        assert_eq!(stepper.clock().now() - begun, SECOND);
        assert_eq!(ask(&experts[..1]).wait_for(10 * SECOND).unwrap(), 0);
    });
}

#[test]
fn a_failure_is_no_answer() {
    under_seeds(|stepper| {
        let experts = experts(stepper, &[Way::Panic, Way::Answer, Way::After(1)]);
        experts[1].stop();
        assert_eq!(ask(&experts).wait().unwrap(), 2);
    });
}

#[test]
fn if_all_fail_each_failure_is_told() {
    under_seeds(|stepper| {
        let experts = experts(stepper, &[Way::Panic, Way::Owe, Way::Answer]);
        let reply = ask(&experts);
        experts[2].stop();
        stepper.run();
        experts[1].kill();
        let error = reply.wait().unwrap_err();
        assert_eq!(error.to_string(), "none of 3 asked actors answered");
        let AskError::NoneAnswered { failures } = error else {
            panic!("{error}");
        };
        let failures = failures.iter().map(|failure| match failure {
            AskError::Panicked { message } => message.to_string(),
            AskError::Stopped { reason } => reason.to_string(),
            other => panic!("{other}"),
        });
        let failures: Vec<_> = failures.collect();
        assert_eq!(
            failures,
            ["expert 0 fails", "it was killed", "it was stopped"]
        );
    });
}

#[test]
fn if_all_have_ended_each_reason_is_told() {
    under_seed(0, |stepper| {
        let experts = experts(stepper, &[Way::Answer; 2]);
        experts[0].stop();
        experts[1].kill();
        stepper.run();
        let all: Asker<Question, u64> = Router::broadcast().asker(experts.iter().map(Addr::asker));
        for _ in 0..2 {
            match all.ask(Question).wait() {
                Err(AskError::NoneAnswered { failures }) => {
                    let reasons = failures.iter().map(|failure| match failure {
                        AskError::Stopped { reason } => reason.clone(),
                        other => panic!("{other}"),
                    });
                    let reasons: Vec<_> = reasons.collect();
                    assert_eq!(reasons, [StopReason::Stopped, StopReason::Killed]);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_limit_withdraws_all_requests() {
    under_seeds(|stepper| {
        let experts = experts(stepper, &[Way::After(9), Way::Owe, Way::Panic]);
        let begun = stepper.clock().now();
        match ask(&experts).wait_for(SECOND) {
            Err(AskError::TimedOut(stage)) => assert_eq!(stage, Stage::Running),
            other => panic!("{other:?}"),
        }
        assert_eq!(stepper.clock().now() - begun, SECOND);
        // The first is busy still, so nothing of this begins.
        match ask(&experts[..1]).wait_for(SECOND) {
            Err(AskError::TimedOut(stage)) => assert_eq!(stage, Stage::Queued),
            other => panic!("{other:?}"),
        }
        stepper.advance(9 * SECOND);
        assert_eq!(super::counts(stepper, &experts[0]).cancelled, 1);
    });
}

#[test]
fn a_reply_that_is_dropped_withdraws_all_requests() {
    under_seeds(|stepper| {
        let experts = experts(stepper, &[Way::Answer; 3]);
        drop(ask(&experts));
        stepper.run();
        assert_eq!(stepper.system().snapshot().totals.cancelled, 3);
    });
}

#[test]
fn the_losers_are_withdrawn_as_soon_as_the_answer_is_seen() {
    under_seeds(|stepper| {
        let experts = experts(stepper, &[Way::After(1), Way::Answer]);
        stepper.run();
        experts[0].send(Question).unwrap();
        stepper.run();
        let reply = ask(&experts);
        assert!(!reply.is_ready());
        stepper.run();
        assert!(reply.is_ready());
        stepper.advance(SECOND);
        assert_eq!(super::counts(stepper, &experts[0]).cancelled, 1);
        assert_eq!(reply.wait().unwrap(), 1);
    });
}

#[test]
fn a_first_answer_is_forwarded_awaited_and_waited_for_with_others() {
    under_seeds(|stepper| {
        let experts = experts(
            stepper,
            &[Way::Panic, Way::After(1), Way::Owe, Way::After(3)],
        );
        let player = stepper.system().spawn(Player::default());
        ask(&experts).forward(&player, |outcome| crate::support::Note(outcome.unwrap()));
        stepper.advance(SECOND);
        let notes = player
            .ask(act(|player, _| player.notes.len()))
            .wait()
            .unwrap();
        assert_eq!(notes, 1);

        // Of the first two, one has ended and one answers in a second; the last one later.
        let mut replies = vec![ask(&experts[3..]), ask(&experts[..2]), ask(&experts[2..3])];
        let (index, outcome) = wait_any(&mut replies).unwrap().expect("there are three");
        assert_eq!((index, outcome.unwrap()), (1, 1));
        let mut replies = vec![ask(&experts[..1]), ask(&experts[2..3])];
        let (index, outcome) = wait_any(&mut replies).unwrap().expect("there are two");
        assert!(matches!(
            (index, outcome),
            (0, Err(AskError::NoneAnswered { .. }))
        ));
        let all = wait_all([ask(&experts[..2]), ask(&experts[3..])]);
        assert_eq!(
            all.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [1, 3]
        );
    });
    in_pools(|system| {
        let debtors = [(); 2].map(|()| system.spawn(Debtor::default()));
        let all: Asker<Owing, u64> = Router::broadcast().asker(debtors.iter().map(Addr::asker));
        let reply = all.ask(Owing);
        debtors[0].send(Default_).unwrap();
        debtors[1].send(Pay(5)).unwrap();
        assert_eq!(pollster::block_on(reply).unwrap(), 5);
    });
}

/// A request to borrow that can be copied.
#[derive(Clone)]
struct Owing;

impl DeferredHandler<Owing> for Debtor {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Owing, reply: ReplyTo<u64>, ctx: &mut Context<Self>) {
        self.handle_deferred(Borrow, reply, ctx);
    }
}

#[test]
fn routers_of_routers_give_the_first_answer_of_all() {
    under_seeds(|stepper| {
        let ways = [Way::Panic, Way::Owe, Way::After(2), Way::After(1)];
        let experts = experts(stepper, &ways);
        let pairs = experts.chunks(2).map(|pair| -> Asker<Question, u64> {
            Router::broadcast().asker(pair.iter().map(Addr::asker))
        });
        let pairs: Vec<_> = pairs.collect();
        let all: Asker<Question, u64> = Router::broadcast().asker(pairs.iter().cloned());
        assert_eq!(all.ask(Question).wait().unwrap(), 3);
        // A router in turn over the pairs passes over nobody: a pair has a member that lives.
        let turn: Asker<Question, u64> = Router::round_robin().asker(pairs);
        let owed = turn.ask(Question);
        assert_eq!(turn.ask(Question).wait().unwrap(), 3);
        experts[1].kill();
        match owed.wait() {
            Err(AskError::NoneAnswered { failures }) => assert_eq!(failures.len(), 1),
            other => panic!("{other:?}"),
        }
        assert_eq!(turn.ask(Question).wait().unwrap(), 3);
    });
}

// Circles.

#[derive(Clone)]
struct Ask(Addr<Caller>);

/// Asks all by a router, and says whether that was refused as a circle.
struct Caller(Vec<Addr<Callee>>);

impl Actor for Caller {}

struct Go;

impl Handler<Go> for Caller {
    type Reply = Result<bool, AskError>;

    fn handle(&mut self, _: Go, ctx: &mut Context<Self>) -> Result<bool, AskError> {
        let all: Asker<Ask, bool> = Router::broadcast().asker(self.0.iter().map(Addr::asker));
        all.ask(Ask(ctx.addr())).wait()
    }
}

/// As `Go`, with the reply as one of several.
struct GoAny;

impl Handler<GoAny> for Caller {
    type Reply = Result<(), WaitError>;

    fn handle(&mut self, _: GoAny, ctx: &mut Context<Self>) -> Result<(), WaitError> {
        let (first, others) = self.0.split_at(1);
        let asked = [first, others].map(|callees| -> Reply<bool> {
            let all: Asker<Ask, bool> = Router::broadcast().asker(callees.iter().map(Addr::asker));
            all.ask(Ask(ctx.addr()))
        });
        wait_any(&mut asked.into()).map(drop)
    }
}

struct Ping;

impl Handler<Ping> for Caller {
    type Reply = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

enum Callee {
    AsksBack,
    PanicsAfter(u32),
    AnswersAfter(u32),
}

impl Actor for Callee {}

impl Handler<Ask> for Callee {
    type Reply = bool;

    fn handle(&mut self, Ask(caller): Ask, ctx: &mut Context<Self>) -> bool {
        match self {
            // It waits for the caller, who waits for it and for others.
            Self::AsksBack => caller.ask(Ping).wait().is_ok(),
            Self::PanicsAfter(seconds) => {
                ctx.sleep(*seconds * SECOND).unwrap();
                panic!("it cannot answer");
            }
            Self::AnswersAfter(seconds) => {
                ctx.sleep(*seconds * SECOND).unwrap();
                true
            }
        }
    }
}

fn called(stepper: &Stepper, callees: Vec<Callee>) -> Result<bool, AskError> {
    let spawn = |callee| stepper.system().spawn(callee);
    let callees = callees.into_iter().map(spawn).collect();
    let caller = stepper.system().spawn(Caller(callees));
    caller.ask(Go).wait().unwrap()
}

#[test]
fn a_circle_is_closed_only_by_all_members_that_have_not_failed() {
    use Callee::{AnswersAfter, AsksBack, PanicsAfter};
    under_seeds(|stepper| {
        // One answers, so the others' waits end.
        assert!(called(stepper, vec![AsksBack, AnswersAfter(1), AsksBack]).unwrap());
        // All ask back. Who closes the circle gets the error; the first to get it answers `false`,
        // which is an answer.
        assert!(!called(stepper, vec![AsksBack, AsksBack]).unwrap());
        // When one has failed, there is only the circle; the caller closes it.
        match called(stepper, vec![AsksBack, PanicsAfter(1), AsksBack]) {
            Err(AskError::WouldDeadlock { path }) => assert_eq!(path.edges().len(), 2),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_circle_among_several_replies_is_found_when_a_member_fails() {
    use Callee::{AnswersAfter, AsksBack, PanicsAfter};
    under_seeds(|stepper| {
        let caller = |callees: Vec<Callee>| {
            let spawn = |callee| stepper.system().spawn(callee);
            let callees = callees.into_iter().map(spawn).collect();
            stepper.system().spawn(Caller(callees))
        };
        let stuck = caller(vec![AsksBack, PanicsAfter(1), AsksBack]);
        let outcome = stuck.ask(GoAny).wait().unwrap();
        let refused = matches!(outcome, Err(WaitError::WouldDeadlock { .. }));
        assert!(refused, "{outcome:?}");
        let free = caller(vec![AsksBack, PanicsAfter(1), AnswersAfter(2), AsksBack]);
        assert!(free.ask(GoAny).wait().unwrap().is_ok());
    });
}

#[test]
fn a_killed_asker_is_interrupted() {
    under_seeds(|stepper| {
        let experts = experts(stepper, &[Way::Owe, Way::After(9)]);
        let player = stepper.system().spawn(Player::default());
        let asked = player.ask(act(move |_, _| ask(&experts).wait()));
        stepper.run();
        player.kill();
        let outcome = asked.wait().unwrap();
        assert!(
            matches!(outcome, Err(AskError::Wait(WaitError::Interrupted))),
            "{outcome:?}"
        );
    });
}

#[test]
fn first_answers_come_from_real_threads() {
    for workers in [1, 2, 4] {
        let system = pool(workers);
        let readers = [(); 4].map(|()| system.spawn(Reader::default()));
        let all: Asker<News, ()> = Router::broadcast().asker(readers.iter().map(Addr::asker));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|number| all.ask(news(number)).wait().unwrap()));
            }
        });
        crate::support::close_the_books(&system);
    }
}
