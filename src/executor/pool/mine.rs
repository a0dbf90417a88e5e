//! What this thread has offered to a pool: the owner's side of an [`Offer`].
#![expect(unsafe_code, reason = "this thread is the owner of its offer")]

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::{Arc, Weak};

use super::Shared;
use crate::executor::Task;
use crate::executor::offers::Offer;

/// The offer of this thread to one pool.
struct Mine {
    shared: Weak<Shared>,
    offer: Arc<Offer>,
    /// The task that was put into it last.
    last: Cell<*const ()>,
}

thread_local! {
    static MINE: RefCell<Option<Mine>> = const { RefCell::new(None) };
}

/// Offers the task to this pool; tells whether it stands in this thread's offer, and returns a task
/// that has to be queued instead: an older one, or this.
pub(super) fn fill(shared: &Arc<Shared>, task: Task) -> (bool, Option<Task>) {
    let mut task = Some(task);
    let filled = MINE.try_with(|mine| {
        let mut mine = mine.borrow_mut();
        if !mine.as_ref().is_some_and(|mine| mine.is_of(shared)) {
            *mine = Some(Mine::new(shared));
        }
        let mine = mine.as_ref().expect("it was made if there was none");
        mine.fill(&mut task)
    });
    (filled == Ok(true), task)
}

/// Takes the task of this [`Runnable`](crate::executor::Runnable) back, if this thread has offered
/// it and no worker has taken it.
pub(crate) fn take_back(runnable: *const ()) -> Option<Task> {
    MINE.try_with(|mine| {
        let mine = mine.borrow();
        let mine = mine.as_ref().filter(|mine| mine.last.get() == runnable)?;
        mine.take_back()
    })
    .ok()
    .flatten()
}

/// Leaves the task that this thread has offered to the pool, since the thread goes to sleep.
pub(crate) fn pass_on() {
    let left = MINE.try_with(|mine| mine.borrow().as_ref().and_then(Mine::leave));
    if let Ok(Some((task, shared))) = left {
        shared.inject(task);
    }
}

impl Mine {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            offer: shared.offers.join(),
            last: Cell::new(ptr::null()),
        }
    }

    fn is_of(&self, shared: &Arc<Shared>) -> bool {
        ptr::eq(self.shared.as_ptr(), &**shared)
    }

    /// Puts the task in; leaves one that has to be queued instead: an older one, or this.
    fn fill(&self, task: &mut Option<Task>) -> bool {
        let Some(new) = task.take() else {
            return false;
        };
        *task = self.take_back();
        let runnable = Arc::as_ptr(&new).cast();
        // SAFETY: the offer is this thread's.
        match unsafe { self.offer.fill(new) } {
            Ok(()) => {
                self.last.set(runnable);
                true
            }
            Err(new) => {
                // A worker is taking the older one, so there is no other to be queued.
                *task = Some(new);
                false
            }
        }
    }

    /// Takes the task out, with the pool to which it has to go.
    fn leave(&self) -> Option<(Task, Arc<Shared>)> {
        Some((self.take_back()?, self.shared.upgrade()?))
    }

    fn take_back(&self) -> Option<Task> {
        // SAFETY: the offer is this thread's.
        unsafe { self.offer.take_back() }
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        if let Some((task, shared)) = self.leave() {
            shared.inject(task);
        }
    }
}
