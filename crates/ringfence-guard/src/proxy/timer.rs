//! How long something may take that is done again and again.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep};

/// Bounds how long each of many things takes, one after the other. It is put off, and not entered into the runtime's timers
/// and taken out of them, with each.
pub(super) struct Timer {
    limit: Duration,
    deadline: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, deadline: Instant::now() + limit, sleep: Box::pin(tokio::time::sleep(limit)) }
    }

    pub(super) fn restart(&mut self) {
        self.deadline = Instant::now() + self.limit;
    }

    /// Completes when the limit has passed from where it is waited for on: who need not wait asks for no time.
    pub(super) async fn passed(&mut self) {
        self.restart();
        self.expired().await;
    }

    /// Completes at the deadline.
    pub(super) async fn expired(&mut self) {
        loop {
            self.sleep.as_mut().await;
            if Instant::now() >= self.deadline {
                return;
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }
}
