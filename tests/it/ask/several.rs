//! Several answers that are waited for together.

use greenroom::{
    Actor, Addr, AskError, Context, Handler, Overflow, Reply, WaitError, wait_all, wait_any,
};

use super::{Clerk, Double, Nap, Owe, Renege, SECOND, Settle, full_clerk};
use crate::support::{in_pools, in_time, under_seeds};

#[test]
fn waiting_for_all_gives_the_outcomes_in_the_order_of_the_requests() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let owed: Vec<_> = (0..4).map(|_| clerk.ask(Owe)).collect();
        for index in [2, 0, 3] {
            clerk.send(Settle(index, index as u64)).unwrap();
        }
        clerk.send(Renege(1)).unwrap();
        let outcomes = wait_all(owed);
        assert_eq!(outcomes.len(), 4);
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(answer) => assert_eq!(answer, index as u64),
                Err(AskError::Dropped) => assert_eq!(index, 1),
                Err(other) => panic!("{other}"),
            }
        }
    });
    assert_eq!(wait_all(Vec::<Reply<u64>>::new()).len(), 0);
}

#[test]
fn waiting_for_all_of_requests_that_are_made_as_it_goes_has_them_under_way_together() {
    under_seeds(|stepper| {
        let clerks: Vec<_> = (0..5)
            .map(|_| stepper.system().spawn(Clerk::default()))
            .collect();
        let before = stepper.clock().now();
        let naps = wait_all(clerks.iter().map(|clerk| clerk.ask(Nap(SECOND))));
        assert_eq!(stepper.clock().now() - before, SECOND);
        assert!(naps.into_iter().all(|nap| nap.unwrap().is_ok()));
    });
}

#[test]
fn waiting_for_any_takes_one_that_was_refused_at_once() {
    under_seeds(|stepper| {
        let full = full_clerk(stepper, Overflow::Reject, SECOND);
        let clerk = stepper.system().spawn(Clerk::default());
        let mut replies = vec![clerk.ask(Owe), full.ask(Double(1)), clerk.ask(Owe)];
        let (index, outcome) = wait_any(&mut replies).unwrap().expect("there are three");
        assert!(matches!((index, outcome), (1, Err(AskError::Full(_)))));
        assert_eq!(replies.len(), 2);
        clerk.send(Settle(1, 5)).unwrap();
        let (index, outcome) = wait_any(&mut replies).unwrap().expect("there are two");
        assert_eq!((index, outcome.unwrap()), (1, 5));
    });
}

#[test]
fn waiting_for_any_gives_the_first_that_is_there_and_leaves_the_others() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let mut owed: Vec<_> = (0..4).map(|_| clerk.ask(Owe)).collect();
        clerk.send(Settle(2, 12)).unwrap();
        let (index, outcome) = wait_any(&mut owed).unwrap().expect("there are four");
        assert_eq!((index, outcome.unwrap(), owed.len()), (2, 12, 3));
        // If several are there, it is the first of them. The fourth is the third now.
        for index in [3, 1] {
            clerk.send(Settle(index, 10 + index as u64)).unwrap();
        }
        stepper.run();
        let (index, outcome) = wait_any(&mut owed).unwrap().expect("there are three");
        assert_eq!((index, outcome.unwrap(), owed.len()), (1, 11, 2));
        let (index, outcome) = wait_any(&mut owed).unwrap().expect("there are two");
        assert_eq!((index, outcome.unwrap(), owed.len()), (1, 13, 1));
        clerk.send(Renege(0)).unwrap();
        let (index, outcome) = wait_any(&mut owed).unwrap().expect("there is one");
        assert!(matches!((index, outcome), (0, Err(AskError::Dropped))));
        assert!(wait_any(&mut owed).unwrap().is_none());
    });
}

#[test]
fn waiting_for_any_on_real_threads_gives_each_answer_once() {
    in_pools(|system| {
        let clerks: Vec<_> = (0..4).map(|_| system.spawn(Clerk::default())).collect();
        let outcomes = in_time(move || {
            let mut replies: Vec<_> = (0..100)
                .map(|number| clerks[number as usize % 4].ask(Double(number)))
                .collect();
            let mut outcomes = Vec::new();
            while let Some((_, outcome)) = wait_any(&mut replies).unwrap() {
                outcomes.push(outcome.unwrap());
            }
            outcomes.sort_unstable();
            outcomes
        });
        assert!(outcomes.into_iter().eq((0..100).map(|number| number * 2)));
    });
}

/// Waits for any of several loans in its handler, in vain.
struct Choosy {
    from: Vec<Addr<Clerk>>,
}

impl Actor for Choosy {}

impl Handler<Owe> for Choosy {
    type Reply = (Result<(), WaitError>, usize);

    fn handle(&mut self, _: Owe, _: &mut Context<Self>) -> Self::Reply {
        let mut replies: Vec<_> = self.from.iter().map(|clerk| clerk.ask(Owe)).collect();
        let waited = wait_any(&mut replies).map(|_| ());
        (waited, replies.len())
    }
}

#[test]
fn waiting_for_any_that_is_interrupted_leaves_all_replies() {
    under_seeds(|stepper| {
        let from: Vec<_> = (0..3)
            .map(|_| stepper.system().spawn(Clerk::default()))
            .collect();
        let choosy = stepper.system().spawn(Choosy { from });
        let reply = choosy.ask(Owe);
        stepper.run();
        choosy.kill();
        let outcome = reply.wait().unwrap();
        assert_eq!(outcome, (Err(WaitError::Interrupted), 3));
    });
}
