//! Whose turn it is: for each key one at a time, a bounded number waiting, and nobody waits for another key's.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowded;

/// The turns of all keys; one that nobody uses takes no memory.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    queues: Mutex<HashMap<K, Weak<Queue>>>,
    /// How many may wait or be at it, for one key.
    most: usize,
    crowded: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    room: Arc<Semaphore>,
    one: Arc<Semaphore>,
}

/// A place in the queue of a key.
#[derive(Debug)]
pub(crate) struct Place {
    _room: OwnedSemaphorePermit,
    queue: Arc<Queue>,
}

/// It is the holder's turn, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _one: Option<OwnedSemaphorePermit>,
    _place: Place,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self { queues: Mutex::default(), most, crowded: AtomicU64::new(0) }
    }

    /// Takes a place in the queue of a key.
    pub(crate) fn place(&self, key: &K) -> Result<Place, Crowded> {
        let queue = self.queue(key);
        let room = Arc::clone(&queue.room).try_acquire_owned().map_err(|_| {
            self.crowded.fetch_add(1, Ordering::Relaxed);
            Crowded
        })?;
        Ok(Place { _room: room, queue })
    }

    /// Waits for a turn of a key.
    pub(crate) async fn take(&self, key: &K) -> Result<Turn, Crowded> {
        Ok(self.place(key)?.turn().await)
    }

    /// How often there was no place, since these turns were made.
    pub(crate) fn crowded(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }

    /// How many keys are in use.
    pub(crate) fn len(&self) -> usize {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.values().filter(|queue| queue.strong_count() > 0).count()
    }

    fn queue(&self, key: &K) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(key).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue =
            Arc::new(Queue { room: Arc::new(Semaphore::new(self.most)), one: Arc::new(Semaphore::new(1)) });
        queues.insert(key.clone(), Arc::downgrade(&queue));
        queue
    }
}

impl Place {
    /// Waits until it is this place's turn, in the order in which they wait.
    pub(crate) async fn turn(self) -> Turn {
        // The semaphore is never closed.
        let one = Arc::clone(&self.queue.one).acquire_owned().await.ok();
        Turn { _one: one, _place: self }
    }
}
