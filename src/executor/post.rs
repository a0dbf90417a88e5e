//! What each thread is at, as a sampler reads it; and the word that keeps the sampler awake.
//!
//! A thread that runs actors has a post, where it notes whose turn or resumed handler it runs.
//! That costs a few plain stores per turn, and nothing per message: a sampler that finds the same
//! turn twice asks that actor how many messages it has taken.
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

use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Fault, Mutex,
    Ordering::{Relaxed, SeqCst},
    between_sequential, planted,
};

/// Whose turn a thread runs. The numbers mean something to whoever reads them only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Label {
    /// The system, by the address of its [`Watch`]; 0 if nothing is run.
    system: usize,
    pub(crate) id: u64,
    pub(crate) residence: u32,
}

impl Label {
    /// Whether it is of this system.
    pub(crate) fn is_of(self, watch: &Arc<Watch>) -> bool {
        self.system == Arc::as_ptr(watch).addr()
    }

    fn is_blank(self) -> bool {
        self.system == 0
    }
}

/// A label that one thread writes and others read.
pub(crate) struct Note {
    system: AtomicUsize,
    id: AtomicU64,
    residence: AtomicU32,
}

impl Note {
    pub(crate) fn new() -> Self {
        Self {
            system: AtomicUsize::new(0),
            id: AtomicU64::new(0),
            residence: AtomicU32::new(0),
        }
    }

    // ORDERING: Relaxed throughout. The sampler may read a mixture of two labels; what it makes of
    // it is checked against the actor. Where a note must not be missed, `begin_work` orders it.

    #[inline]
    pub(crate) fn label(&self) -> Label {
        Label {
            system: self.system.load(Relaxed),
            id: self.id.load(Relaxed),
            residence: self.residence.load(Relaxed),
        }
    }

    #[inline]
    pub(crate) fn write(&self, label: Label) {
        self.system.store(label.system, Relaxed);
        self.id.store(label.id, Relaxed);
        self.residence.store(label.residence, Relaxed);
    }
}

/// The note of a thread; see the [module](self). Written by its thread only.
pub(crate) struct Post {
    note: Note,
    /// How often the note has changed.
    changes: AtomicU64,
    /// The system to whose watch the post was shown last.
    shown_to: AtomicUsize,
    /// Whether the thread had nothing to do before.
    rested: AtomicBool,
    /// Whether the thread says itself when it had nothing to do, as workers do, who run one turn
    /// after another. For others every turn is the first.
    is_worker: AtomicBool,
    thread: String,
}

/// Owns the post of a thread that has not ended.
struct Owner(Arc<Post>);

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
        let Owner(post) = mine.get_or_insert_with(|| Owner(Arc::new(Post::new())));
        HERE.set(Arc::as_ptr(post));
    });
    // A thread that ends has no post any more.
    made.ok().and_then(|()| here())
}

/// Notes whom this thread runs from now on; returns what the note said before, which is to be
/// [put back](set) in the end.
#[inline]
pub(crate) fn begin(watch: &Arc<Watch>, id: u64, residence: u32) -> Label {
    let Some(post) = here().or_else(make_here) else {
        return Label::default();
    };
    let system = Arc::as_ptr(watch).addr();
    let before = post.note.label();
    post.write(Label {
        system,
        id,
        residence,
    });
    // ORDERING: Relaxed: used by this thread only.
    if post.rested.load(Relaxed) || post.shown_to.load(Relaxed) != system {
        post.begin_work(watch);
    }
    before
}

/// What this thread's note says.
#[inline]
pub(crate) fn label() -> Label {
    here().map(|post| post.note.label()).unwrap_or_default()
}

/// Puts back what this thread's note said before.
#[inline]
pub(crate) fn set(label: Label) {
    let Some(post) = here() else {
        return;
    };
    post.write(label);
    // ORDERING: Relaxed: used by this thread only.
    if label.is_blank() && !post.is_worker.load(Relaxed) {
        post.rested.store(true, Relaxed);
    }
}

/// A worker had nothing to do, and looks for work now.
pub(crate) fn rested() {
    if let Some(post) = here().or_else(make_here) {
        // ORDERING: Relaxed: used by this thread only.
        post.is_worker.store(true, Relaxed);
        post.rested.store(true, Relaxed);
    }
}

impl Post {
    fn new() -> Self {
        let thread = std::thread::current();
        Self {
            note: Note::new(),
            changes: AtomicU64::new(0),
            shown_to: AtomicUsize::new(0),
            rested: AtomicBool::new(true),
            is_worker: AtomicBool::new(false),
            thread: thread.name().unwrap_or("(without a name)").to_owned(),
        }
    }

    #[inline]
    fn write(&self, label: Label) {
        self.note.write(label);
        // ORDERING: Relaxed, as for the note.
        self.changes.store(self.changes.load(Relaxed) + 1, Relaxed);
    }

    fn begin_work(&self, watch: &Arc<Watch>) {
        let system = Arc::as_ptr(watch).addr();
        // ORDERING: Relaxed: used by this thread only.
        self.rested.store(false, Relaxed);
        if self.shown_to.swap(system, Relaxed) != system {
            watch.show();
        }
        self.announce(watch);
    }

    fn announce(&self, watch: &Watch) {
        // ORDERING: SeqCst: the note and the watch must agree; see the module.
        self.changes.fetch_add(1, SeqCst);
        if !planted(Fault::WorkUnordered) {
            between_sequential();
        }
        watch.turn_on();
    }

    /// The note as the sampler reads it, and how often it has changed.
    fn read(&self) -> (u64, Label) {
        // ORDERING: SeqCst: the notes and the watch must agree; see the module.
        let changes = self.changes.load(SeqCst);
        (changes, self.note.label())
    }
}

/// A thread at work, as a sampler finds it.
pub(crate) struct AtWork {
    /// Tells the thread apart from others.
    pub(crate) post: Arc<Post>,
    pub(crate) label: Label,
    /// How often the thread's note had changed.
    pub(crate) changes: u64,
}

impl AtWork {
    pub(crate) fn thread(&self) -> &str {
        &self.post.thread
    }
}

/// Who watches the threads of one system; see the [module](self).
pub(crate) struct Watch {
    is_on: AtomicBool,
    posts: Mutex<Vec<Weak<Post>>>,
    /// Has the sampler begin. None if nobody is to watch.
    begin: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            is_on: AtomicBool::new(false),
            posts: Mutex::new(Vec::new()),
            begin: OnceLock::new(),
        })
    }

    /// Has `begin` called whenever the watch is turned on. Called once, before any thread works.
    pub(crate) fn set_sampler(&self, begin: impl Fn() + Send + Sync + 'static) {
        let _ = self.begin.set(Box::new(begin));
    }

    /// Adds the post of this thread.
    fn show(&self) {
        if self.begin.get().is_none() {
            return;
        }
        let post = MINE.try_with(|mine| {
            let mine = mine.borrow();
            mine.as_ref().map(|Owner(post)| Arc::downgrade(post))
        });
        let Ok(Some(post)) = post else {
            return;
        };
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

    /// The threads that are at work for this system.
    pub(crate) fn at_work(self: &Arc<Self>) -> Vec<AtWork> {
        let system = Arc::as_ptr(self).addr();
        let mut posts = self.posts.lock();
        posts.retain(|post| post.strong_count() > 0);
        let at_work = posts.iter().filter_map(Weak::upgrade).filter_map(|post| {
            let (changes, label) = post.read();
            (label.system == system).then_some(AtWork {
                post,
                label,
                changes,
            })
        });
        at_work.collect()
    }
}

#[cfg(all(test, loom))]
#[path = "post_models.rs"]
mod loom_models;
