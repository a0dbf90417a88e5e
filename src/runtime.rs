//! What the actors of one system share: where they run, the clock, the timers, the register
//! of who is there, names and groups, and the feed of dead letters.
//!
//! The register is split into shards, about as many as workers; a thread spawns into its own.
//! Nothing here is touched when a message is sent or handled.

mod groups;
mod names;
mod watchdog;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::error::SpawnError;
use crate::executor::post::Watch;
use crate::executor::{Executor, blocking};
use crate::id::ActorId;
use crate::observe::{ActorSnapshot, Counts, Letters, Snapshot};
use crate::random::{STEP, mix};
use crate::sync::{AtomicBool, Mutex, Ordering::Acquire, Ordering::Release};
use crate::time::{Clock, Timers, thread_number};
use crate::unwind::wake_quietly;
use crate::waits::{Identity, Wait};
use groups::Groups;
use names::Names;
pub(crate) use names::{Erased, Key, Registration};
use watchdog::Watchdog;
pub(crate) use watchdog::{InHand, Limits};

/// What the system can ask of anybody who lives in it.
pub(crate) trait Resident: Send + Sync {
    fn id(&self) -> ActorId;
    fn snapshot(&self) -> ActorSnapshot;
    /// Its wait, and the number that tells it apart from the others.
    fn wait(&self) -> Option<(u64, Wait)>;
    fn in_hand(&self) -> InHand;
    /// Where it is, as the posts of threads name it.
    fn address(&self) -> usize;
    fn order(self: Arc<Self>, order: Order);
    /// Whether somebody else is to end it.
    fn has_parent(&self) -> bool;
    /// Its parent and that one's parents, the uppermost first.
    fn ancestors(&self) -> Vec<Identity>;
}

/// What the system orders when it shuts down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Close the mailbox, handle what is queued, end.
    Drain,
    /// End after the message in hand.
    Stop,
    /// End, and end the waits of the handler that runs.
    Kill,
}

#[derive(Default)]
struct Shutdown {
    order: Option<Order>,
    deadline: Option<Instant>,
}

/// A place in the shard of the register that the resident's id tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residence(u32);

impl Residence {
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// Places that are allocated together, so that a register has no room to spare for as many
/// residents again.
type Chunk = [Option<Arc<dyn Resident>>; CHUNK];

const CHUNK: usize = 64;

#[derive(Default)]
struct Shard {
    #[expect(clippy::vec_box, reason = "growing moves pointers, not places")]
    chunks: Vec<Box<Chunk>>,
    /// Places that were given out at some time.
    used: u32,
    /// Those of them that are empty.
    gaps: Vec<u32>,
    /// How many ids this shard has given out.
    ids: u64,
    /// What became of the messages of those who have left.
    departed: Counts,
}

impl Shard {
    fn len(&self) -> usize {
        self.used as usize - self.gaps.len()
    }

    fn residents(&self) -> impl Iterator<Item = &Arc<dyn Resident>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).flatten()
    }

    fn place(&mut self, index: u32) -> &mut Option<Arc<dyn Resident>> {
        let index = index as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    fn free_index(&mut self) -> u32 {
        self.gaps.pop().unwrap_or_else(|| {
            let index = self.used;
            self.used = index
                .checked_add(1)
                .expect("fewer than 2^32 actors in a shard");
            if index as usize == self.chunks.len() * CHUNK {
                self.chunks.push(Box::new([const { None }; CHUNK]));
            }
            index
        })
    }
}

/// See the [module](self).
pub(crate) struct Runtime {
    pub(crate) executor: Executor,
    /// For closures that block.
    pub(crate) blocking: blocking::Threads,
    pub(crate) clock: Clock,
    pub(crate) timers: Arc<Timers>,
    pub(crate) letters: Letters,
    pub(crate) watch: Arc<Watch>,
    pub(crate) names: Names,
    pub(crate) groups: Groups,
    watchdog: Watchdog,
    seed: u64,
    shards: Box<[Mutex<Shard>]>,
    closing: AtomicBool,
    /// How those who have children stop them at a shutdown.
    shutdown: Mutex<Shutdown>,
    /// Who waits for the last resident to leave.
    closers: Mutex<Vec<Waker>>,
}

impl Runtime {
    pub(crate) fn new(
        executor: Executor,
        blocking: blocking::Threads,
        clock: Clock,
        timers: Arc<Timers>,
        shards: usize,
        limits: Limits,
        seed: u64,
    ) -> Arc<Self> {
        let runtime = Arc::new(Self {
            executor,
            blocking,
            clock,
            timers,
            letters: Letters::new(),
            watch: Watch::new(),
            names: Names::new(),
            groups: Groups::new(),
            watchdog: Watchdog::new(limits),
            seed,
            shards: (0..shards.next_power_of_two())
                .map(|_| Mutex::default())
                .collect(),
            closing: AtomicBool::new(false),
            shutdown: Mutex::default(),
            closers: Mutex::new(Vec::new()),
        });
        Watchdog::start(&runtime);
        runtime
    }

    /// A number that looks random, for the `event`th event of this actor. It is the same in each run
    /// of a system with the same seed.
    pub(crate) fn random(&self, actor: ActorId, event: u64) -> u64 {
        let of_actor = mix(self.seed.wrapping_add(mix(actor.as_u64())));
        mix(of_actor.wrapping_add(event.wrapping_mul(STEP)))
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Registers what `make` makes of its id and place; refuses once the system closes.
    pub(crate) fn admit<R: Resident + 'static>(
        &self,
        make: impl FnOnce(ActorId, Residence) -> Arc<R>,
    ) -> Result<Arc<R>, SpawnError> {
        let number = thread_number() & (self.shards.len() - 1);
        let mut guard = self.shards[number].lock();
        // ORDERING: Acquire pairs with the Release in `close`. Checked under the shard's lock:
        // either `close` finds this resident in the shard, or we see that it has begun.
        if self.closing.load(Acquire) {
            return Err(SpawnError::ShuttingDown);
        }
        let shard = &mut *guard;
        let id = self.next_id(number, shard);
        let index = shard.free_index();
        let residence = Residence(index);
        let resident = make(id, residence);
        *shard.place(index) = Some(resident.clone());
        Ok(resident)
    }

    /// The resident with this id at this place.
    fn resident(&self, id: u64, residence: u32) -> Option<Arc<dyn Resident>> {
        let id = ActorId::new(NonZeroU64::new(id)?);
        let mut shard = self.shard_of(id).lock();
        if residence >= shard.used {
            return None;
        }
        let resident = shard.place(residence).as_ref()?;
        (resident.id() == id).then(|| resident.clone())
    }

    /// The resident at this address. Looks at all of them.
    fn resident_at(&self, address: usize) -> Option<Arc<dyn Resident>> {
        self.shards.iter().find_map(|shard| {
            let shard = shard.lock();
            let mut residents = shard.residents();
            residents
                .find(|resident| resident.address() == address)
                .cloned()
        })
    }

    /// An id for somebody who is not admitted, and a place that nobody has.
    pub(crate) fn nowhere(&self) -> (ActorId, Residence) {
        let number = thread_number() & (self.shards.len() - 1);
        let id = self.next_id(number, &mut self.shards[number].lock());
        (id, Residence(u32::MAX))
    }

    /// Ids are dealt out to the shards in turn.
    fn shard_of(&self, id: ActorId) -> &Mutex<Shard> {
        &self.shards[(id.as_u64() - 1) as usize & (self.shards.len() - 1)]
    }

    fn next_id(&self, number: usize, shard: &mut Shard) -> ActorId {
        let id = shard.ids * self.shards.len() as u64 + number as u64 + 1;
        shard.ids += 1;
        ActorId::new(NonZeroU64::new(id).expect("ids begin at 1"))
    }

    /// Removes a resident that has ended, and keeps its counts in the totals.
    pub(crate) fn dismiss(&self, id: ActorId, residence: Residence, counts: Counts) {
        let gone = {
            let mut shard = self.shard_of(id).lock();
            // One that never began may have been ended at the same time.
            let resident = shard.place(residence.0).as_ref();
            if resident.is_none_or(|resident| resident.id() != id) {
                return;
            }
            shard.departed += counts;
            shard.gaps.push(residence.0);
            shard.place(residence.0).take()
        };
        drop(gone);
        // ORDERING: Acquire pairs with the Release in `close`.
        if self.closing.load(Acquire) && self.is_empty() {
            self.end_threads();
            let closers = std::mem::take(&mut *self.closers.lock());
            closers.into_iter().for_each(wake_quietly);
        }
    }

    /// Counts what came to a resident that has left.
    pub(crate) fn add_departed(&self, id: ActorId, counts: Counts) {
        self.shard_of(id).lock().departed += counts;
    }

    /// Refuses newcomers from now on; returns who is there, the latest first.
    pub(crate) fn close(&self) -> Vec<Arc<dyn Resident>> {
        // ORDERING: Release pairs with the Acquire in `admit` and `dismiss`.
        self.closing.store(true, Release);
        self.names.call_all();
        let mut residents = self.residents();
        residents.reverse();
        if residents.is_empty() {
            self.end_threads();
        }
        residents
    }

    fn end_threads(&self) {
        self.executor.end();
        self.blocking.end();
    }

    /// How the shutdown that is under way goes; the first one counts.
    pub(crate) fn begin_shutdown(&self, order: Order, deadline: Option<Instant>) {
        let mut shutdown = self.shutdown.lock();
        if shutdown.order.is_none() {
            shutdown.order = Some(order);
            shutdown.deadline = deadline;
        }
    }

    /// When the shutdown that is under way is to be over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.shutdown.lock().deadline
    }

    /// Whether the shutdown that is under way drains.
    pub(crate) fn drains(&self) -> bool {
        self.shutdown.lock().order == Some(Order::Drain)
    }

    pub(crate) fn is_closing(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `close`.
        self.closing.load(Acquire)
    }

    /// Ready once everybody has left.
    pub(crate) fn poll_empty(&self, waker: &Waker) -> Poll<()> {
        let mut closers = self.closers.lock();
        // Checked under the lock: the last one to leave looks at `closers` after it has left.
        if self.is_empty() {
            return Poll::Ready(());
        }
        if !closers.iter().any(|known| known.will_wake(waker)) {
            closers.push(waker.clone());
        }
        Poll::Pending
    }

    fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().len() == 0)
    }

    /// Who is there, in order of the ids.
    pub(crate) fn residents(&self) -> Vec<Arc<dyn Resident>> {
        let mut residents = Vec::new();
        for shard in &self.shards {
            residents.extend(shard.lock().residents().cloned());
        }
        residents.sort_by_key(|resident| resident.id());
        residents
    }

    /// The waits of all residents, in order of their ids.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let mut waits = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let residents = shard.residents();
            waits.extend(residents.filter_map(|resident| Some(resident.wait()?.1)));
        }
        waits.sort_by_key(|wait| wait.actor.id);
        waits
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut totals = Counts::default();
        let mut residents = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            totals += shard.departed;
            residents.extend(shard.residents().cloned());
        }
        let mut actors: Vec<_> = residents
            .iter()
            .map(|resident| resident.snapshot())
            .collect();
        actors.sort_by_key(|actor| actor.id);
        actors.iter().for_each(|actor| totals += actor.counts);
        Snapshot {
            actors,
            totals,
            workers: match &self.executor {
                Executor::Pool(pool) => pool.workers(),
                Executor::Stepped(_) => Vec::new(),
            },
            blocking: self.blocking.snapshot(),
            timers: self.timers.len(),
            names: self.names.len(),
            groups: self.groups.len(),
        }
    }
}
