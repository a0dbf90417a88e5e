//! Time: messages to come, intervals of both paces, an idle timeout, and what a cancel means.
//!
//! The system is stepped by hand on a clock that stands still until it is moved, as in a test. So
//! half a minute passes at once, and each moment is exact.
//!
//! ```sh
//! cargo run --example timers
//! ```

use std::time::{Duration, Instant};

use greenroom::testkit::Stepper;
use greenroom::{Actor, AskError, Context, Handler, Interval, MissedTicks, Timer};

/// Prints what comes, and when.
struct Diary {
    begun: Instant,
    /// What `Cancel` takes back.
    timer: Option<Timer>,
}

impl Actor for Diary {}

/// Something to be written down.
struct Line(&'static str);

impl Handler<Line> for Diary {
    type Reply = ();

    fn handle(&mut self, Line(text): Line, ctx: &mut Context<Self>) {
        let passed = ctx.now() - self.begun;
        println!("  {:>4} s  {text}", passed.as_secs_f64());
    }
}

/// Something to be written down slowly.
struct Slow(&'static str, Duration);

impl Handler<Slow> for Diary {
    type Reply = ();

    fn handle(&mut self, Slow(text, time): Slow, ctx: &mut Context<Self>) {
        self.handle(Line(text), ctx);
        // Parks this handler's stack; by this system's clock it takes exactly its time.
        let _ = ctx.sleep(time);
    }
}

/// Begins a scene; what it sets may be cancelled later.
struct Begin(fn(&mut Context<Diary>) -> Option<Timer>);

impl Handler<Begin> for Diary {
    type Reply = ();

    fn handle(&mut self, Begin(scene): Begin, ctx: &mut Context<Self>) {
        self.begun = ctx.now();
        self.timer = scene(ctx);
    }
}

struct Cancel;

impl Handler<Cancel> for Diary {
    type Reply = bool;

    fn handle(&mut self, _: Cancel, ctx: &mut Context<Self>) -> bool {
        let cleared = ctx.clear_idle_timeout();
        let timer = self.timer.take();
        timer.is_some_and(|timer| timer.cancel()) || cleared
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Ticks each second; the first one takes three and a half.
fn tick(interval: Interval, ctx: &mut Context<Diary>) -> Option<Timer> {
    let mut times = [3500, 0, 0, 0, 0, 0].map(Duration::from_millis).into_iter();
    Some(ctx.interval(interval, move || {
        Slow("tick", times.next().unwrap_or_default())
    }))
}

fn main() -> Result<(), AskError> {
    let stepper = Stepper::new(1);
    let diary = stepper.system().spawn(Diary {
        begun: stepper.clock().now(),
        timer: None,
    });
    let play = |title: &str, seconds: u32, scene| -> Result<(), AskError> {
        println!("{title}:");
        diary.ask(Begin(scene)).wait()?;
        stepper.advance(seconds * SECOND);
        let cancelled = diary.ask(Cancel).wait()?;
        println!("  {}", if cancelled { "cancelled" } else { "over" });
        Ok(())
    };

    play("one message after a while, one at a moment", 4, |ctx| {
        ctx.send_at(ctx.now() + 3 * SECOND, Line("at three"));
        Some(ctx.send_after(2 * SECOND, Line("after two")))
    })?;

    play("one that is cancelled in time", 4, |ctx| {
        Some(ctx.send_after(5 * SECOND, Line("never")))
    })?;

    // Each second from the first on. While the first is handled one more waits; what is due
    // meanwhile is missed.
    play("at a fixed rate, skipping what is missed", 7, |ctx| {
        tick(SECOND.into(), ctx)
    })?;
    play("at a fixed rate, making up for it", 7, |ctx| {
        let interval = Interval::fixed_rate(SECOND).missed_ticks(MissedTicks::Burst);
        tick(interval, ctx)
    })?;
    play("at a fixed rate, put off by what is missed", 7, |ctx| {
        let interval = Interval::fixed_rate(SECOND).missed_ticks(MissedTicks::Delay);
        tick(interval, ctx)
    })?;
    play("with a fixed delay, begun at once", 7, |ctx| {
        let interval = Interval::fixed_delay(SECOND).first_after(Duration::ZERO);
        tick(interval, ctx)
    })?;

    play("idle for two seconds", 7, |ctx| {
        ctx.set_idle_timeout(2 * SECOND, || Line("nobody came for two seconds"));
        ctx.send_after(SECOND, Slow("somebody came, for a second", SECOND));
        None
    })?;
    Ok(())
}
