//! Requests that are not waited for beyond a limit.

use std::time::Duration;

use greenroom::{Actor, Addr, AskError, Context, DeferredHandler, Handler, Overflow, Stage};

use super::{Clerk, Double, Nap, Owe, Runs, SECOND, Wanted, full_clerk, waiting_senders};
use crate::support::{
    Entry, Log, PATIENCE, Seen, gate, in_pools, in_time, under_seed, under_seeds,
};

#[test]
fn a_request_that_times_out_while_it_is_queued_is_never_run_and_is_counted_as_cancelled() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        clerk.send(Nap(10 * SECOND)).unwrap();
        let before = stepper.clock().now();
        let outcome = clerk.ask(Double(1)).wait_for(3 * SECOND);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
        assert_eq!(stepper.clock().now() - before, 3 * SECOND);
        assert_eq!(clerk.ask(Runs).wait().unwrap(), 0);
        let counts = stepper.system().snapshot().totals;
        assert_eq!((counts.cancelled, counts.handled), (1, 2), "{counts}");
    });
}

#[test]
fn a_request_that_times_out_while_it_stands_in_line_is_never_queued() {
    under_seeds(|stepper| {
        let clerk = full_clerk(stepper, Overflow::Block, 10 * SECOND);
        let outcome = clerk.ask(Double(1)).wait_for(3 * SECOND);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
        assert_eq!(waiting_senders(stepper.system(), &clerk), 0);
        assert_eq!(clerk.ask(Runs).wait().unwrap(), 1, "only what filled it");
        assert_eq!(stepper.system().snapshot().totals.cancelled, 0);
    });
}

#[test]
fn a_request_that_times_out_while_it_runs_says_so_and_runs_on() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let before = stepper.clock().now();
        let outcome = clerk.ask(Nap(10 * SECOND)).wait_for(3 * SECOND);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Running))));
        assert_eq!(stepper.clock().now() - before, 3 * SECOND);
        assert_eq!(clerk.ask(Double(1)).wait().unwrap(), 2);
        assert_eq!(stepper.clock().now() - before, 10 * SECOND);
        let counts = stepper.system().snapshot().totals;
        assert_eq!((counts.cancelled, counts.handled), (0, 2), "{counts}");
    });
}

#[test]
fn a_request_whose_answer_is_put_off_times_out_as_running() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let outcome = clerk.ask(Owe).wait_for(SECOND);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Running))));
        assert!(!clerk.ask(Wanted(0)).wait().unwrap());
    });
}

#[test]
fn a_handler_that_waits_for_a_limited_time_gets_the_same_errors() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let hasty = stepper.system().spawn(Hasty { to: clerk.clone() });
        clerk.send(Nap(10 * SECOND)).unwrap();
        let stage = hasty.ask(Double(1)).wait().unwrap();
        assert_eq!(stage, Some(Stage::Queued));
        let before = stepper.clock().now();
        let stage = hasty.ask(Nap(30 * SECOND)).wait().unwrap();
        assert_eq!(stage, Some(Stage::Queued));
        assert_eq!(stepper.clock().now() - before, SECOND);
        stepper.advance(10 * SECOND);
        let stage = hasty.ask(Nap(30 * SECOND)).wait().unwrap();
        assert_eq!(stage, Some(Stage::Running));
        stepper.advance(30 * SECOND);
        assert_eq!(hasty.ask(Double(1)).wait().unwrap(), None);
    });
}

/// Waits for a second, and says how far a late request had come.
struct Hasty {
    to: Addr<Clerk>,
}

impl Actor for Hasty {}

impl<M: Send + 'static> Handler<M> for Hasty
where
    Clerk: DeferredHandler<M>,
{
    type Reply = Option<Stage>;

    fn handle(&mut self, message: M, _: &mut Context<Self>) -> Option<Stage> {
        match self.to.ask(message).wait_for(SECOND) {
            Ok(_) => None,
            Err(AskError::TimedOut(stage)) => Some(stage),
            Err(other) => panic!("the clerk is late at most: {other}"),
        }
    }
}

#[test]
fn on_real_threads_a_deadline_tells_queued_requests_from_running_ones() {
    in_pools(|system| {
        let log = system.spawn(Log::default());
        let (hold, gate) = gate();
        let running = log.ask(hold);
        gate.wait_until_held();
        let queued = log.ask(Entry(1));
        let outcome = running.wait_for(Duration::ZERO);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Running))));
        let outcome = queued.wait_for(Duration::ZERO);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
        gate.open();
        let seen = log.ask(Seen).wait_for(PATIENCE).unwrap();
        assert_eq!(seen, [0_u64; 0], "the queued one is not run");
    });
}

#[test]
fn an_outcome_that_is_there_is_had_also_without_any_time() {
    under_seed(0, |stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let reply = clerk.ask(Double(1));
        stepper.run();
        assert_eq!(reply.wait_for(Duration::ZERO).unwrap(), 2);
        let clerk = full_clerk(stepper, Overflow::Reject, SECOND);
        let outcome = clerk.ask(Double(1)).wait_for(Duration::ZERO);
        assert!(matches!(outcome, Err(AskError::Full(_))));
    });
}

#[test]
fn the_longest_limit_is_no_limit() {
    in_pools(|system| {
        let clerk = system.spawn(Clerk::default());
        let reply = clerk.ask(Double(1));
        let answer = in_time(move || reply.wait_for(Duration::MAX));
        assert_eq!(answer.unwrap(), 2);
    });
}
