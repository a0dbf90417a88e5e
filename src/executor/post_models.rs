//! Models of the sampler that goes to sleep while a thread begins to work.

use loom::thread;

use super::*;
use crate::sync::model::{fails, holds};

fn work_against_the_end_of_the_watch() {
    let watch = Watch::new();
    let begun = Arc::new(AtomicBool::new(false));
    // ORDERING: Relaxed: the model reads it after both have ended.
    watch.is_on.store(true, Relaxed);
    watch.set_sampler({
        let begun = begun.clone();
        move || begun.store(true, Relaxed)
    });
    let post = Arc::new(Post::new());
    let worker = thread::spawn({
        let (watch, post) = (watch.clone(), post.clone());
        move || {
            // ORDERING: Relaxed: as in `begin`.
            post.at.store(1, Relaxed);
            post.announce(&watch);
        }
    });
    watch.turn_off();
    let (_, at) = post.read();
    worker.join().unwrap();
    assert!(at != 0 || begun.load(Relaxed), "work is overlooked");
}

#[test]
fn work_is_seen_or_turns_the_watch_on() {
    holds(4, work_against_the_end_of_the_watch);
}

#[test]
fn a_look_at_the_watch_that_is_not_ordered_after_the_note_is_found() {
    fails(
        Fault::WorkUnordered,
        "work is overlooked",
        4,
        work_against_the_end_of_the_watch,
    );
}
