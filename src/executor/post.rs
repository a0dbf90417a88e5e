//! What each thread is at, as a sampler reads it; and the word that keeps the sampler awake.
//!
//! A thread that runs actors has a post, where it notes whom it runs: an address, which says
//! nothing to this module. That costs two plain stores at the beginning of a turn and one at its
//! end, and nothing per message: a sampler that finds the same turn twice looks for the actor, and
//! asks it how many messages it has taken.
//!
//! # The sampler sleeps when all do
//!
//! A [`Watch`] is *on* while the sampler looks from time to time. When it finds nobody at work it
//! turns the watch off, and looks once more after that. A thread that begins to work after it had
//! nothing to do notes its work, and then turns the watch on if it finds it off. These four steps
//! are SeqCst: either the note is before the sampler's last look, or the thread finds the watch
//! off.
#![expect(
    unsafe_code,
    reason = "finds the post of this thread through a thread-local"
)]

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::{Arc, OnceLock, Weak};

use super::stacks::Hub;
use crate::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Fault, Mutex,
    Ordering::{Relaxed, SeqCst},
    between_sequential, planted,
};

/// The note of a thread; see the [module](self). Written by its thread only.
pub(crate) struct Post {
    /// The address of whom the thread runs, or 0.
    at: AtomicUsize,
    /// How many turns the thread has begun.
    turns: AtomicU64,
    /// The number of the watch to which the post was shown last.
    shown_to: AtomicUsize,
    /// Whether the thread had nothing to do before.
    rested: AtomicBool,
    thread: String,
    /// Where the parked stacks of the thread are made ready, if it is a worker.
    hub: OnceLock<Arc<Hub>>,
}

/// Owns the post of a thread that has not ended.
struct Owner {
    post: Arc<Post>,
    /// The watch to which the post was shown last.
    watch: Option<Arc<Watch>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        HERE.set(ptr::null());
    }
}

thread_local! {
    /// The post that [`MINE`] owns.
    static HERE: Cell<*const Post> = const { Cell::new(ptr::null()) };
    static MINE: RefCell<Option<Owner>> = const { RefCell::new(None) };
}

/// This thread's post, if it has one. The reference is for one call of this module.
#[inline]
fn here() -> Option<&'static Post> {
    let post = HERE.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: set while the thread owns the post, and cleared before it lets go of it.
    unsafe { post.as_ref() }
}

#[cold]
fn make_here() -> Option<&'static Post> {
    let made = MINE.try_with(|mine| {
        let mut mine = mine.borrow_mut();
        let owner = mine.get_or_insert_with(|| Owner {
            post: Arc::new(Post::new()),
            watch: None,
        });
        HERE.set(Arc::as_ptr(&owner.post));
    });
    // A thread that ends has no post any more.
    made.ok().and_then(|()| here())
}

/// Notes whom this thread runs from now on, for the watch of his system.
#[inline]
pub(crate) fn begin(at: usize, watch: &Arc<Watch>) {
    if let Some(post) = here().or_else(make_here) {
        post.run(at);
        // ORDERING: Relaxed: used by this thread only.
        if post.rested.load(Relaxed) {
            post.begin_work(watch);
        }
    }
}

/// Notes that this thread runs nobody.
#[inline]
pub(crate) fn end() {
    if let Some(post) = here() {
        // ORDERING: Relaxed, as in `run`.
        post.at.store(0, Relaxed);
    }
}

/// Whom this thread runs.
#[inline]
pub(crate) fn at() -> usize {
    // ORDERING: Relaxed, as in `run`.
    here().map_or(0, |post| post.at.load(Relaxed))
}

/// Notes that this thread goes on with whom it ran before.
#[inline]
pub(crate) fn resume(at: usize) {
    if let Some(post) = here() {
        post.run(at);
        // ORDERING: Relaxed: used by this thread only.
        if at != 0 && post.rested.load(Relaxed) {
            post.resume_work();
        }
    }
}

/// This thread is the worker with this hub.
pub(crate) fn belongs_to(hub: &Arc<Hub>) {
    if let Some(post) = here().or_else(make_here) {
        post.hub.get_or_init(|| hub.clone());
    }
}

/// This thread had nothing to do; the next turn is the first.
pub(crate) fn rested() {
    if let Some(post) = here() {
        // ORDERING: Relaxed: used by this thread only.
        post.rested.store(true, Relaxed);
    }
}

impl Post {
    fn new() -> Self {
        let thread = std::thread::current();
        Self {
            at: AtomicUsize::new(0),
            turns: AtomicU64::new(0),
            shown_to: AtomicUsize::new(0),
            rested: AtomicBool::new(true),
            thread: thread.name().unwrap_or("(without a name)").to_owned(),
            hub: OnceLock::new(),
        }
    }

    #[inline]
    fn run(&self, at: usize) {
        // ORDERING: Relaxed: a sampler acts on what it has found twice. Where a note must not be
        // missed, `announce` orders it.
        self.at.store(at, Relaxed);
        self.turns.store(self.turns.load(Relaxed) + 1, Relaxed);
    }

    #[cold]
    fn begin_work(&self, watch: &Arc<Watch>) {
        // ORDERING: Relaxed: used by this thread only.
        self.rested.store(false, Relaxed);
        if self.shown_to.swap(watch.number, Relaxed) != watch.number {
            let shown = MINE.try_with(|mine| {
                if let Some(owner) = &mut *mine.borrow_mut() {
                    watch.show(&owner.post);
                    owner.watch.replace(watch.clone())
                } else {
                    None
                }
            });
            drop(shown);
        }
        self.announce(watch);
    }

    /// As [`begin_work`](Self::begin_work), for the watch to which the post was shown last.
    #[cold]
    fn resume_work(&self) {
        // ORDERING: Relaxed: used by this thread only.
        self.rested.store(false, Relaxed);
        let watch = MINE.try_with(|mine| mine.borrow().as_ref()?.watch.clone());
        if let Ok(Some(watch)) = watch {
            self.announce(&watch);
        }
    }

    fn announce(&self, watch: &Watch) {
        // ORDERING: SeqCst: the note and the watch must agree; see the module.
        self.turns.fetch_add(1, SeqCst);
        if !planted(Fault::WorkUnordered) {
            between_sequential();
        }
        watch.turn_on();
    }

    /// How many turns the thread has begun, and whom it runs.
    fn read(&self) -> (u64, usize) {
        // ORDERING: SeqCst: the notes and the watch must agree; see the module.
        let turns = self.turns.load(SeqCst);
        (turns, self.at.load(Relaxed))
    }
}

/// A thread at work, as a sampler finds it.
pub(crate) struct AtWork {
    /// Tells the thread apart from others.
    pub(crate) post: Arc<Post>,
    /// The address of whom it runs, who may be of another system.
    pub(crate) at: usize,
    /// How many turns the thread had begun.
    pub(crate) turns: u64,
}

impl AtWork {
    pub(crate) fn thread(&self) -> &str {
        &self.post.thread
    }

    /// Whether handlers whose waits are over wait for this thread.
    pub(crate) fn holds_up_others(&self) -> bool {
        self.post.hub.get().is_some_and(|hub| hub.has_ready())
    }
}

/// Who watches the threads of one system; see the [module](self).
pub(crate) struct Watch {
    /// Tells watches apart, also of systems that have ended; not 0.
    number: usize,
    is_on: AtomicBool,
    posts: Mutex<Vec<Weak<Post>>>,
    /// Has the sampler begin. None if nobody is to watch.
    begin: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        Arc::new(Self {
            // ORDERING: Relaxed: only uniqueness counts.
            number: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            is_on: AtomicBool::new(false),
            posts: Mutex::new(Vec::new()),
            begin: OnceLock::new(),
        })
    }

    /// Has `begin` called whenever the watch is turned on. Called once, before any thread works.
    pub(crate) fn set_sampler(&self, begin: impl Fn() + Send + Sync + 'static) {
        let _ = self.begin.set(Box::new(begin));
    }

    /// Adds the post of a thread.
    fn show(&self, post: &Arc<Post>) {
        if self.begin.get().is_none() {
            return;
        }
        let post = Arc::downgrade(post);
        let mut posts = self.posts.lock();
        posts.retain(|post| post.strong_count() > 0);
        if !posts.iter().any(|known| known.ptr_eq(&post)) {
            posts.push(post);
        }
    }

    fn turn_on(&self) {
        // ORDERING: SeqCst: the note and the watch must agree; see the module.
        if !self.is_on.load(SeqCst)
            && let Some(begin) = self.begin.get()
            && !self.is_on.swap(true, SeqCst)
        {
            begin();
        }
    }

    /// The sampler goes to sleep. It looks once more after this, and may have to
    /// [stay](Self::stay_on).
    pub(crate) fn turn_off(&self) {
        // ORDERING: SeqCst: the notes and the watch must agree; see the module.
        self.is_on.swap(false, SeqCst);
        between_sequential();
    }

    /// The sampler does not go to sleep after all; `false` if somebody has called it already.
    pub(crate) fn stay_on(&self) -> bool {
        // ORDERING: SeqCst, as above.
        !self.is_on.swap(true, SeqCst)
    }

    /// The threads that are at work, for this system or for another one.
    pub(crate) fn at_work(&self) -> Vec<AtWork> {
        let mut posts = self.posts.lock();
        posts.retain(|post| post.strong_count() > 0);
        let at_work = posts.iter().filter_map(Weak::upgrade).filter_map(|post| {
            let (turns, at) = post.read();
            (at != 0).then_some(AtWork { post, at, turns })
        });
        at_work.collect()
    }
}

#[cfg(all(test, loom))]
#[path = "post_models.rs"]
mod loom_models;
