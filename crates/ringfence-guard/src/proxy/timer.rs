//! How long something may take that is done again and again.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep};

/// Bounds how long each of many things takes, one after the other. It is put off, and not entered into the runtime's timers
/// and taken out of them, with each; but for one that is due sooner.
pub(super) struct Timer {
    deadline: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    /// A timer for things that may take so long, most of them.
    pub(super) fn new(limit: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(limit));
        Self { deadline: sleep.deadline(), sleep }
    }

    /// The next thing begins, and may take so long.
    pub(super) fn restart(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
        if self.deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    /// Completes when the limit has passed from where it is waited for on: who need not wait asks for no time.
    pub(super) async fn passed(&mut self, limit: Duration) {
        self.restart(limit);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_has_its_own_time_a_longer_one_and_a_shorter() {
        let mut timer = Timer::new(Duration::from_mins(10));
        for limit in [30, 100, 20, 50, 10].map(Duration::from_millis) {
            // One that was over before its time would have been.
            timer.restart(Duration::from_mins(10));
            timer.restart(limit);
            let began = Instant::now();
            tokio::time::timeout(Duration::from_mins(1), timer.expired()).await.unwrap();
            assert!(began.elapsed() >= limit);
        }
    }
}
