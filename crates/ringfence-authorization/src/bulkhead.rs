//! Work that a tenant's own text can make long: parsing, validating, proving, deciding by thousands of policies.
//!
//! It is done on threads of its own, whose priority is lower than that of the threads that serve (a bulkhead: Nygard,
//! "Release It!", 2007). It guarantees that a tenant has one such thread at a time, however much it asks for: so what one
//! tenant's text costs is paid by that tenant's next request, and the system shares the processor out between tenants. Of
//! who has had more than a share ([`Credit`]) it is done when nobody else wants the processor.

use std::{sync::Arc, time::Duration};

use ringfence_context::{TenantId, limits};
use rustix::time::ClockId;
use thread_priority::{
    NormalThreadSchedulePolicy::Idle, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use crate::{
    cores::{LastWork, anywhere},
    credit::{Credit, TIME_AT_ONCE},
    turns::{Crowded, Turns},
};

/// What takes more steps, of 0.1 µs each, is not worked out on the threads that serve.
pub(crate) const LONG: u64 = 2_500;

/// How much lower the priority of these threads is: a tenth of a serving thread's weight (`setpriority(2)`, `sched(7)`).
const NICE: i32 = 10;

/// How deep these threads may go, in bytes: what is deep takes memory only as deep as it has gone.
const STACK: usize = 256 * 1024 * 1024;

/// How long a thread stays that has nothing to do.
const KEPT: Duration = Duration::from_secs(10);

/// Lets whoever serves go first, every [`LONG`] steps of long work. A kernel that preempts nothing lets what runs finish its
/// turn of some milliseconds before who has woken up is served, whatever the priorities are; who gives up its turn is not
/// waited for (`sched_yield(2)`, EEVDF).
#[derive(Debug, Default)]
pub(crate) struct Breath {
    steps: u64,
}

impl Breath {
    /// So many steps more are done.
    pub(crate) fn after(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > LONG {
            self.steps = 0;
            std::thread::yield_now();
        }
    }
}

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// As much of the same tenant is waiting as may.
    #[error("more is waiting to be checked for this tenant than may: try again when it is done")]
    Busy,
    /// It ended early.
    #[error("it ended early")]
    EndedEarly,
}

/// The threads, and whose turn it is: a tenant's, or the operators'.
pub struct Bulkhead {
    threads: Option<Runtime>,
    /// Those that work when nobody else wants the processor.
    patient: Option<Runtime>,
    turns: Turns<Option<TenantId>>,
    credit: Arc<Credit<TenantId>>,
}

impl From<Crowded> for NotDone {
    fn from(_: Crowded) -> Self {
        Self::Busy
    }
}

impl Bulkhead {
    /// No thread yet; at most `threads` at once, so for as many tenants, and as many for those who owe.
    pub fn new(threads: usize) -> Self {
        Self::with(threads, TIME_AT_ONCE)
    }

    /// As [`Bulkhead::new`], for work that may take so much of the processor at once.
    pub(crate) fn with(threads: usize, at_once: Duration) -> Self {
        Self {
            threads: begin(threads, "policies", lower),
            patient: begin(threads, "policies-idle", || {
                // Its priority is 0 then, and may be lowered, not raised.
                last();
                lower();
            }),
            turns: Turns::new(limits::BULKHEAD_WAITING),
            credit: Arc::new(Credit::new(at_once)),
        }
    }

    /// How often there was no place to wait in.
    pub(crate) fn crowded(&self) -> u64 {
        self.turns.crowded()
    }

    /// Does `work` for a tenant, or for the operators, when it is its turn.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn run<T: Send + 'static>(
        &self,
        whose: Option<&TenantId>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let turn = self.turns.take(&whose.cloned()).await?;
        let at_once = whose.is_none_or(|tenant| self.credit.left(tenant, Instant::now()));
        let threads = if at_once { &self.threads } else { &self.patient };
        // The turn is over when the work is, also where nobody waits for it any more.
        let (credit, whose) = (Arc::clone(&self.credit), whose.cloned());
        let work = move || {
            let _last = (!at_once).then(LastWork::begin);
            let _paid = whose.map(|tenant| credit.meter(tenant, ClockId::ThreadCPUTime));
            (work(), turn)
        };
        let done = threads.as_ref().ok_or(NotDone::EndedEarly)?.spawn_blocking(work);
        done.await.map(|(made, _turn)| made).map_err(|_| NotDone::EndedEarly)
    }
}

fn begin(threads: usize, name: &str, start: impl Fn() + Send + Sync + 'static) -> Option<Runtime> {
    // Only its threads that may block are used; each is begun when it is needed.
    let threads = Builder::new_current_thread()
        .max_blocking_threads(threads)
        .thread_keep_alive(KEPT)
        .thread_stack_size(STACK)
        .thread_name(name)
        .on_thread_start(move || {
            anywhere();
            start();
        })
        .build();
    threads.inspect_err(|error| tracing::error!(%error, "no threads for long work: it is refused")).ok()
}

/// Lowers this thread's priority, and no other's. Where the system refuses it, work is as important as serving, and still one
/// at a time.
fn lower() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "threads for long work keep the priority of those that serve");
    }
}

/// Puts this thread behind every other (`SCHED_IDLE`).
fn last() {
    let idle = ThreadSchedulePolicy::Normal(Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        tracing::warn!(?error, "work of those who have had their share is done at a low priority");
    }
}

impl Drop for Bulkhead {
    fn drop(&mut self) {
        // What is being worked on is nobody's any more; it is not waited for.
        for threads in [self.threads.take(), self.patient.take()].into_iter().flatten() {
            threads.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bulkhead({} tenants)", self.turns.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::cores::{cores, settle};

    fn tenants() -> [TenantId; 2] {
        ["acme", "globex"].map(|id| TenantId::new(id).unwrap())
    }

    #[tokio::test]
    async fn one_tenants_work_waits_for_its_own_and_for_nobody_elses() {
        let bulkhead = Arc::new(Bulkhead::new(4));
        let [acme, globex] = tenants();
        let (go, wait) = mpsc::channel::<()>();
        let (begun, began) = tokio::sync::oneshot::channel();
        let long = tokio::spawn({
            let (bulkhead, acme) = (Arc::clone(&bulkhead), acme.clone());
            async move {
                let work = move || {
                    begun.send(()).unwrap();
                    wait.recv().unwrap();
                };
                bulkhead.run(Some(&acme), work).await
            }
        });
        began.await.unwrap();
        let mut second = Box::pin(bulkhead.run(Some(&acme), || 2));
        assert!(now(&mut second).await.is_none(), "its own is not done yet");
        assert_eq!(bulkhead.run(Some(&globex), || 3).await, Ok(3), "another tenant's turn is its own");
        assert_eq!(bulkhead.run(None, || 4).await, Ok(4));
        go.send(()).unwrap();
        assert_eq!(second.await, Ok(2));
        assert_eq!(long.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn reject_bulkhead_waiting() {
        let bulkhead = Bulkhead::new(2);
        let [acme, globex] = tenants();
        let (go, wait) = mpsc::channel::<()>();
        let mut waiting = vec![
            bulkhead.run(Some(&acme), Box::new(move || wait.recv().unwrap()) as Box<dyn FnOnce() + Send>),
        ];
        for _ in 1..limits::BULKHEAD_WAITING {
            waiting.push(bulkhead.run(Some(&acme), Box::new(|| ()) as Box<dyn FnOnce() + Send>));
        }
        let mut waiting: Vec<_> = waiting.into_iter().map(Box::pin).collect();
        for each in &mut waiting {
            assert!(now(each).await.is_none());
        }
        assert_eq!(bulkhead.run(Some(&acme), || ()).await, Err(NotDone::Busy));
        assert_eq!(bulkhead.run(Some(&globex), || ()).await, Ok(()));
        go.send(()).unwrap();
        for each in waiting {
            assert_eq!(each.await, Ok(()));
        }
        assert_eq!(bulkhead.run(Some(&acme), || ()).await, Ok(()));
        assert_eq!(format!("{bulkhead:?}"), "Bulkhead(0 tenants)", "what is done leaves nothing behind");
    }

    #[tokio::test]
    async fn its_threads_have_a_lower_priority_and_those_that_serve_keep_theirs() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let bulkhead = Bulkhead::new(1);
        assert_eq!(bulkhead.run(None, priority).await, Ok(NICE.max(before)));
        assert_eq!(priority(), before);
    }

    #[tokio::test]
    async fn who_has_had_a_share_works_when_nobody_else_wants_the_processor() {
        let bulkhead = Bulkhead::new(1);
        let [acme, globex] = tenants();
        let idle = || {
            let idle = ThreadSchedulePolicy::Normal(Idle);
            let low = rustix::process::getpriority_process(None).unwrap() >= NICE;
            low && thread_priority::thread_schedule_policy().unwrap() == idle
        };
        assert_eq!(bulkhead.run(Some(&acme), idle).await, Ok(false));
        let asleep = || std::thread::sleep(Duration::from_secs(2));
        let busy = || {
            let worked = || crate::credit::shown(ClockId::ThreadCPUTime);
            let began = worked();
            while worked() - began < Duration::from_secs(2) {}
        };
        bulkhead.run(Some(&acme), asleep).await.unwrap();
        assert_eq!(bulkhead.run(Some(&acme), idle).await, Ok(false), "who waits takes nothing");
        bulkhead.run(Some(&acme), busy).await.unwrap();
        assert_eq!(bulkhead.run(Some(&acme), idle).await, Ok(true));
        assert_eq!(bulkhead.run(Some(&globex), idle).await, Ok(false), "another tenant's is its own");
        assert_eq!(bulkhead.run(None, idle).await, Ok(false), "and so is the operators'");
        assert!(!idle(), "threads that serve stay as they are");
        let sooner = Bulkhead::with(1, Duration::from_millis(100));
        sooner.run(Some(&globex), busy).await.unwrap();
        assert_eq!(sooner.run(Some(&globex), idle).await, Ok(true));
    }

    #[tokio::test]
    async fn its_threads_are_bound_to_no_core_though_who_begins_them_is() {
        let all = cores();
        let first = all[0];
        let bound = move || {
            let _last = LastWork::begin();
            settle(first);
            assert_eq!(cores(), [first]);
            let bulkhead = Bulkhead::new(1);
            let runtime = Builder::new_current_thread().build().unwrap();
            runtime.block_on(bulkhead.run(None, cores))
        };
        assert_eq!(std::thread::spawn(bound).join().unwrap(), Ok(all));
    }

    #[tokio::test]
    async fn what_panics_is_not_done_and_ends_no_thread_for_others() {
        let bulkhead = Bulkhead::new(1);
        assert_eq!(bulkhead.run(None, || panic!("a bug")).await, Err::<(), _>(NotDone::EndedEarly));
        assert_eq!(bulkhead.run(None, || 1).await, Ok(1));
    }

    /// Polls once; what is there now.
    async fn now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(made) => Some(made),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
