//! A thread of its own for one thing to run.

use std::sync::Arc;

use super::sleep::Bell;
use super::{Task, Turn, post, thread_name};
use crate::sync::{AtomicBool, Ordering::Acquire, Ordering::Release};

/// Calls the thread when its task is ready, and lets it end.
pub(crate) struct OwnThread {
    bell: Bell,
    ended: AtomicBool,
}

impl OwnThread {
    /// Starts the thread, which gives `task` a turn whenever it is scheduled.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the thread.
    pub(crate) fn start(self: &Arc<Self>, name: &str, task: Task) -> std::io::Result<()> {
        let this = self.clone();
        let thread = std::thread::Builder::new().name(thread_name(name));
        thread.spawn(move || {
            this.bell.belongs_here();
            loop {
                post::rested();
                this.bell.silence();
                while task.clone().run(&Turn::on(None)).is_some() {}
                // ORDERING: Acquire pairs with the Release in `end`.
                if this.ended.load(Acquire) {
                    return;
                }
                this.bell.sleep(None);
            }
        })?;
        Ok(())
    }

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            bell: Bell::new(),
            ended: AtomicBool::new(false),
        })
    }

    /// Lets the task have a turn.
    pub(crate) fn schedule(&self) {
        self.bell.ring();
    }

    /// Lets the thread end after the turn that it runs.
    pub(crate) fn end(&self) {
        // ORDERING: Release pairs with the Acquire in the thread's loop.
        self.ended.store(true, Release);
        self.bell.ring();
    }
}
