//! Many waits without a circle: they all end, nobody is alarmed, and no thread is added.

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{Actor, Addr, Asker, Context, Handler, System, wait_all};

use super::{Arrive, Barrier, HOUR, SECOND};
use crate::support::{
    Note, Numbers, PATIENCE, Player, act, alone, eventually, in_a_pool, in_time, telling_seed,
    under_seeds,
};

/// Runs a test in pools of one and two workers, in a process of its own; checks that it adds no
/// thread, and that no stack is parked at its end.
fn without_more_threads(test: fn(&System, &ManualClock)) {
    for workers in [1, 2] {
        let clock = ManualClock::new();
        let system = System::builder().workers(workers).clock(&clock);
        let system = system.build().expect("the machine has threads for a test");
        let before = threads();
        test(&system, &clock);
        assert_eq!(threads(), before);
        assert_eq!(parked_stacks(&system), 0);
        assert_eq!(system.waits(), []);
        assert!(in_time(move || system.shutdown(HOUR)).is_clean());
        let rest = before.map(|threads| threads - workers);
        eventually("the threads have ended", || threads() == rest);
    }
}

/// The threads of this process, where they can be counted.
fn threads() -> Option<usize> {
    #[cfg(target_os = "linux")]
    return Some(crate::support::threads().len());
    #[cfg(not(target_os = "linux"))]
    None
}

fn parked_stacks(system: &System) -> usize {
    let workers = system.snapshot().workers;
    workers.iter().map(|worker| worker.parked_stacks).sum()
}

/// Asks the next one, and adds one to its answer.
struct Link {
    next: Option<Asker<Count, u64>>,
    barrier: Addr<Barrier>,
}

impl Actor for Link {}

struct Count;

impl Handler<Count> for Link {
    type Reply = u64;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u64 {
        match &self.next {
            Some(next) => next.ask(Count).wait().expect("it is answered") + 1,
            None => {
                let all_wait = self.barrier.ask(Arrive).wait();
                all_wait.expect("the test lets it go on");
                1
            }
        }
    }
}

#[test]
fn a_chain_of_ten_thousand_actors_that_each_ask_the_next_one_is_answered() {
    alone(|| {
        without_more_threads(|system, _| {
            // The last one waits until the test comes too.
            let barrier = system.spawn(Barrier::new(2));
            let mut links: Vec<Addr<Link>> = Vec::new();
            for _ in 0..10_000 {
                let next = links.last().map(Addr::asker);
                let barrier = barrier.clone();
                links.push(system.spawn(Link { next, barrier }));
            }
            let first = links.last().expect("there are some");
            let count = first.ask(Count);
            eventually("all wait", || parked_stacks(system) == 10_000);
            assert_eq!(system.waits().len(), 10_000);
            let arrived = barrier.ask(Arrive);
            eventually("all are answered", || count.is_ready());
            assert_eq!(count.wait().unwrap(), 10_000);
            eventually("all stacks are free", || parked_stacks(system) == 0);
            arrived.wait().unwrap();
        });
    });
}

#[test]
fn a_chain_that_grows_from_its_end_is_walked_by_each_who_joins_it_and_answered() {
    const LINKS: usize = 1000;
    let chain = |system: &System, clock: &dyn Fn()| {
        let sleeper = system.spawn(Player::default());
        let mut reply = sleeper.ask(act(|_, ctx| {
            ctx.sleep(HOUR).expect("nobody ends the sleep");
            0
        }));
        let links: Vec<_> = (0..LINKS)
            .map(|_| system.spawn(Player::default()))
            .collect();
        for (index, link) in links.iter().enumerate() {
            let before = reply;
            reply = link.ask(act(move |_, _| before.wait().expect("it is answered") + 1));
            eventually("it waits", || system.waits().len() > index);
        }
        clock();
        eventually("all are answered", || reply.is_ready());
        assert_eq!(reply.wait().unwrap(), LINKS);
    };
    let clock = ManualClock::new();
    let system = System::builder().workers(2).clock(&clock).build().unwrap();
    chain(&system, &|| clock.advance(HOUR));
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
}

#[test]
fn ten_thousand_actors_that_ask_one_who_waits_for_another_are_answered() {
    alone(|| {
        without_more_threads(|system, clock| {
            let options = system.actor().capacity(1);
            let middle = options.spawn(Player::default()).unwrap();
            let last = system.spawn(Player::default());
            let slept = middle.ask(act(move |_, _| {
                let slept = last.ask(act(|_, ctx| ctx.sleep(HOUR)));
                slept.wait().expect("it is answered")
            }));
            eventually("both wait", || system.waits().len() == 2);
            let askers: Vec<_> = (0..10_000)
                .map(|_| system.spawn(Player::default()))
                .collect();
            let answers: Vec<_> = askers
                .iter()
                .map(|asker| {
                    let middle = middle.clone();
                    asker.ask(act(move |_, _| middle.ask(Note(1)).wait().is_ok()))
                })
                .collect();
            eventually("all wait", || parked_stacks(system) == 10_002);
            clock.advance(HOUR);
            eventually("all are answered", || {
                answers.iter().all(|answer| answer.is_ready())
            });
            assert!(wait_all(answers).into_iter().all(|answer| answer.unwrap()));
            assert!(slept.wait().unwrap().is_ok());
            eventually("all stacks are free", || parked_stacks(system) == 0);
        });
    });
}

/// Knows some with higher numbers. The first time it is asked, it asks them all and sends each a
/// token; its mailbox holds one message.
struct Knot {
    after: Vec<Addr<Knot>>,
    depth: Option<u64>,
    tokens: usize,
}

impl Actor for Knot {}

/// Asks for the length of the longest way from here.
struct Depth;

impl Handler<Depth> for Knot {
    type Reply = u64;

    fn handle(&mut self, _: Depth, _: &mut Context<Self>) -> u64 {
        if let Some(depth) = self.depth {
            return depth;
        }
        let depths: Vec<_> = self.after.iter().map(|next| next.ask(Depth)).collect();
        for next in &self.after {
            next.send(Token).expect("there will be room");
        }
        let depths = wait_all(depths).into_iter();
        let longest = depths.map(|depth| depth.expect("it is answered")).max();
        let depth = longest.map_or(0, |depth| depth + 1);
        self.depth = Some(depth);
        depth
    }
}

struct Token;

impl Handler<Token> for Knot {
    type Reply = ();

    fn handle(&mut self, _: Token, _: &mut Context<Self>) {
        self.tokens += 1;
    }
}

struct Tokens;

impl Handler<Tokens> for Knot {
    type Reply = usize;

    fn handle(&mut self, _: Tokens, _: &mut Context<Self>) -> usize {
        self.tokens
    }
}

/// Asks all knots of a random net without circles at the same time.
fn ask_the_net(system: &System, knots: usize, seed: u64) {
    let mut numbers = Numbers(seed);
    // Each knows some of those before it in this list.
    let mut net: Vec<Addr<Knot>> = Vec::new();
    let mut depths: Vec<u64> = Vec::new();
    let mut tokens: Vec<usize> = vec![0; knots];
    for _ in 0..knots {
        let mut after = Vec::new();
        let mut depth = 0;
        for _ in 0..numbers.below(5).min(net.len() as u64) {
            let next = numbers.below(net.len() as u64) as usize;
            after.push(net[next].clone());
            depth = depth.max(depths[next] + 1);
            tokens[next] += 1;
        }
        let knot = Knot {
            after,
            depth: None,
            tokens: 0,
        };
        let options = system.actor().capacity(1);
        net.push(options.spawn(knot).expect("the capacity is in range"));
        depths.push(depth);
    }
    let mut asked: Vec<_> = net.iter().map(|knot| knot.ask(Depth)).collect();
    for (reply, depth) in asked.drain(..).zip(depths) {
        assert_eq!(reply.wait_for(PATIENCE).unwrap(), depth);
    }
    for (knot, tokens) in net.iter().zip(tokens) {
        assert_eq!(knot.ask(Tokens).wait_for(PATIENCE).unwrap(), tokens);
    }
}

#[test]
fn a_random_net_of_a_thousand_actors_with_mailboxes_of_one_is_answered() {
    for workers in [1, 2] {
        in_a_pool(workers, |system| {
            for seed in 0..5 {
                telling_seed(seed, || ask_the_net(system, 1000, seed));
            }
        });
    }
}

#[test]
fn a_random_net_without_circles_is_answered_under_every_order_of_steps() {
    under_seeds(|stepper: &Stepper| ask_the_net(stepper.system(), 100, stepper.seed()));
}
