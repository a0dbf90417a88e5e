//! An actor that does what it is told, so that a test reads in one place.

use std::time::Instant;

use greenroom::{Actor, Context, Handler, StopReason};

type Scene<R> = Box<dyn FnOnce(&mut Player, &mut Context<Player>) -> R + Send>;
type Beginning = Box<dyn FnOnce(&mut Context<Player>) + Send>;
type Ending = Box<dyn FnOnce(&StopReason, &mut Context<Player>) + Send>;

/// Runs the scenes that it is sent, and keeps the notes.
#[derive(Default)]
pub(crate) struct Player {
    /// The notes that came, and when.
    pub(crate) notes: Vec<(Instant, u64)>,
    beginning: Option<Beginning>,
    ending: Option<Ending>,
}

impl Player {
    /// A player who does this in `started`.
    pub(crate) fn beginning_with(scene: impl FnOnce(&mut Context<Self>) + Send + 'static) -> Self {
        Self {
            beginning: Some(Box::new(scene)),
            ..Self::default()
        }
    }

    /// A player who does this in `stopped`.
    pub(crate) fn ending_with(
        scene: impl FnOnce(&StopReason, &mut Context<Self>) + Send + 'static,
    ) -> Self {
        Self {
            ending: Some(Box::new(scene)),
            ..Self::default()
        }
    }
}

impl Actor for Player {
    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(scene) = self.beginning.take() {
            scene(ctx);
        }
    }

    fn stopped(&mut self, reason: &StopReason, ctx: &mut Context<Self>) {
        if let Some(scene) = self.ending.take() {
            scene(reason, ctx);
        }
    }
}

/// What a player does when it comes to this message.
pub(crate) struct Act<R>(Scene<R>);

/// A message that has a player do this in its handler; what it returns is the answer.
pub(crate) fn act<R>(
    scene: impl FnOnce(&mut Player, &mut Context<Player>) -> R + Send + 'static,
) -> Act<R> {
    Act(Box::new(scene))
}

impl<R: Send + 'static> Handler<Act<R>> for Player {
    type Reply = R;

    fn handle(&mut self, Act(scene): Act<R>, ctx: &mut Context<Self>) -> R {
        scene(self, ctx)
    }
}

/// Something that a player keeps.
pub(crate) struct Note(pub(crate) u64);

impl Handler<Note> for Player {
    type Reply = ();

    fn handle(&mut self, Note(number): Note, ctx: &mut Context<Self>) {
        self.notes.push((ctx.now(), number));
    }
}
