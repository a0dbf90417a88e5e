//! A house of two levels of supervisors in which things go wrong: a child that panics comes back
//! with its queue, later siblings start again with it, one that cannot come back is tried at longer
//! and longer intervals, and at last the house gives up and says why.
//!
//! It runs in virtual time, step by step, so it does not wait and always prints the same.
//!
//! ```sh
//! cargo run --example supervision
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, Backoff, ChildSpec, Context, Failure, Handler, StopReason, Strategy, Supervisor,
    Terminated,
};

/// Says when it begins and ends.
struct Part(&'static str);

impl Actor for Part {
    fn started(&mut self, _: &mut Context<Self>) {
        println!("  {} on", self.0);
    }

    fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
        println!("  {} off: {reason}", self.0);
    }
}

struct Break;
impl Handler<Break> for Part {
    type Reply = ();
    fn handle(&mut self, _: Break, _: &mut Context<Self>) {
        panic!("a fuse has blown");
    }
}

/// Reads lines out, and panics at an empty one.
struct Prompter {
    read: u32,
}

impl Actor for Prompter {
    fn restarting(&mut self, failure: &Failure, _: &mut Context<Self>) {
        println!("  prompter leaves, having read {}: {failure}", self.read);
    }

    fn restarted(&mut self, _: &Failure, ctx: &mut Context<Self>) {
        println!("  prompter is back, restart {}", ctx.restarts());
    }
}

struct Line(&'static str);
impl Handler<Line> for Prompter {
    type Reply = ();
    fn handle(&mut self, Line(line): Line, _: &mut Context<Self>) {
        assert!(!line.is_empty(), "an empty line");
        self.read += 1;
        println!("  prompter reads: {line}");
    }
}

/// Needs a bank that does not answer at times.
struct BoxOffice {
    opened: Instant,
    refusals: Arc<AtomicU32>,
}

impl Actor for BoxOffice {
    fn restarted(&mut self, _: &Failure, ctx: &mut Context<Self>) {
        let after = ctx.now() - self.opened;
        let refused = self
            .refusals
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        match refused {
            Ok(_) => {
                println!("  after {after:?}: the bank does not answer");
                ctx.fail("the bank does not answer");
            }
            Err(_) => println!("  after {after:?}: the box office is open again"),
        }
    }
}

struct Pay;
impl Handler<Pay> for BoxOffice {
    type Reply = ();
    fn handle(&mut self, _: Pay, ctx: &mut Context<Self>) {
        if self.refusals.load(SeqCst) > 0 {
            ctx.fail("the bank does not answer");
        } else {
            println!("  a ticket is paid");
        }
    }
}

/// Watches the house from outside.
struct Critic {
    house: Addr<Supervisor>,
}

impl Actor for Critic {
    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.watch(&self.house);
    }

    fn terminated(&mut self, ended: &Terminated, ctx: &mut Context<Self>) {
        println!("  critic: {ended}");
        ctx.stop();
    }
}

fn show(supervisor: &Addr<Supervisor>) -> Result<(), Box<dyn Error>> {
    for child in supervisor.list().wait()? {
        let (id, kind, state) = (child.id, child.kind, child.state);
        println!("  {id}: {kind:?}, {state:?}, restarts: {}", child.restarts);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let stepper = Stepper::new(1);
    let system = stepper.system();

    println!("The house opens.");
    // On the stage, each needs those before it.
    let mut stage = system.supervisor(Strategy::RestForOne);
    let lights = stage.child(ChildSpec::new("lights", || Part("lights")))?;
    let prompter = stage.child(ChildSpec::new("prompter", || Prompter { read: 0 }))?;
    stage.child(ChildSpec::new("subtitles", || Part("subtitles")))?;

    let mut house = system.supervisor(Strategy::OneForOne);
    let stage = house.child(stage.into_spec("stage"))?;
    let (opened, refusals) = (system.now(), Arc::new(AtomicU32::new(0)));
    let bank = Arc::clone(&refusals);
    let box_office = house.child(
        ChildSpec::new("box office", move || BoxOffice {
            opened,
            refusals: Arc::clone(&bank),
        })
        .backoff(Backoff::exponential(Duration::from_secs(10)).jitter(0.0)),
    )?;
    let house = house.start()?;
    show(&house)?;
    let critic = system.spawn(Critic {
        house: house.clone(),
    });

    println!("A line is missing.");
    for line in ["To be,", "or not to be:", "", "that is the question."] {
        prompter
            .send(Line(line))
            .map_err(|error| error.without_message())?;
    }
    stepper.run();
    show(&stage)?;

    println!("The bank does not answer.");
    refusals.store(2, SeqCst);
    for _ in 0..3 {
        box_office
            .send(Pay)
            .map_err(|error| error.without_message())?;
    }
    stepper.run();
    show(&house)?;
    stepper.advance(Duration::from_secs(120));

    println!("A fuse blows, again and again.");
    while lights.send(Break).is_ok() {
        stepper.run();
    }
    critic.join()?;
    Ok(())
}
