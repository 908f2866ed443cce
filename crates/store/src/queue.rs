//! The bounded queue in front of the writer thread: many senders, one taker, first in first out.
//!
//! A full queue refuses at once; only those who may not be turned away wait for room.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};

/// Why something was not queued. It is given back.
pub(crate) enum Refused<T> {
    Full(T),
    Closed(T),
}

pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    ready: Condvar,
    room: Semaphore,
}

struct Inner<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(max: usize) -> Self {
        let inner = Mutex::new(Inner { items: VecDeque::new(), closed: false });
        Self { inner, ready: Condvar::new(), room: Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    /// Queues, or refuses at once.
    pub(crate) fn try_push(&self, item: T) -> Result<(), Refused<T>> {
        match self.room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Err(Refused::Full(item)),
            Err(TryAcquireError::Closed) => return Err(Refused::Closed(item)),
        }
        self.put(item)
    }

    /// Queues as soon as there is room.
    pub(crate) async fn push(&self, item: T) -> Result<(), Refused<T>> {
        match self.room.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(Refused::Closed(item)),
        }
        self.put(item)
    }

    fn put(&self, item: T) -> Result<(), Refused<T>> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed(item));
        }
        inner.items.push_back(item);
        if inner.items.len() == 1 {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Takes up to `max` items as soon as there is one; none after `timeout`, `None` once closed and empty.
    pub(crate) fn take(&self, max: usize, timeout: Option<Duration>) -> Option<Vec<T>> {
        let mut inner = self.lock();
        while inner.items.is_empty() {
            if inner.closed {
                return None;
            }
            match timeout {
                None => inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    let waited =
                        self.ready.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner);
                    inner = waited.0;
                    if waited.1.timed_out() && inner.items.is_empty() && !inner.closed {
                        return Some(Vec::new());
                    }
                }
            }
        }
        let count = inner.items.len().min(max);
        let taken: Vec<T> = inner.items.drain(..count).collect();
        drop(inner);
        self.room.add_permits(taken.len());
        Some(taken)
    }

    /// Items waiting.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Refuses everything from now on; what is queued is still taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Every update leaves the queue whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: FLT-03
    #[test]
    fn a_full_queue_refuses_at_its_bound_and_keeps_the_order() {
        let queue = Queue::new(2);
        assert!(queue.try_push(1).is_ok() && queue.try_push(2).is_ok());
        assert!(matches!(queue.try_push(3), Err(Refused::Full(3))));
        assert_eq!(queue.take(1, None), Some(vec![1]));
        assert!(queue.try_push(4).is_ok());
        queue.close();
        assert!(matches!(queue.try_push(5), Err(Refused::Closed(5))));
        assert_eq!(queue.take(9, None), Some(vec![2, 4]));
        assert_eq!(queue.take(9, None), None);
    }

    #[test]
    fn an_empty_queue_is_waited_for_no_longer_than_asked() {
        let queue = Queue::<u8>::new(1);
        assert_eq!(queue.take(1, Some(Duration::from_millis(1))), Some(Vec::new()));
    }
}
