//! Threads that serve, each with a runtime of its own: a connection stays on the thread it was given to, and so do the
//! connections to the application that its requests use. A request crosses no thread, and wakes none.
//!
//! Each runtime is one of tokio's for many threads, with one: what has to wait on its thread (a policy store that is not in
//! memory) can let the others go on meanwhile, which a runtime of a single thread can't.
//!
//! Each stays on a core of its own while there is work of the lowest priority (see `ringfence_authorization::cores`).

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ringfence_authorization::cores::{anywhere, cores, settle};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};

/// The threads. They end with this value, and with them what still runs there.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    /// How many connections it has.
    connections: Arc<AtomicUsize>,
}

/// One connection less, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Workers {
    /// As many threads, at least one, wherever the system puts them.
    ///
    /// # Errors
    /// Where the system gives no more threads or file descriptors.
    pub fn start(count: NonZeroUsize) -> std::io::Result<Self> {
        (0..count.get()).map(|number| Worker::start(number, None)).collect::<Result<_, _>>().map(Self)
    }

    /// One for each core this process may use, which stays there when it must. Where it is given less time than cores (a quota of its
    /// cgroup), as many as it is given time for.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub fn per_core() -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let cores = cores();
        if cores.len() == count.get() { Self::bound(cores) } else { Self::start(count) }
    }

    fn bound(cores: Vec<usize>) -> std::io::Result<Self> {
        let worker = |(number, core)| Worker::start(number, Some(core));
        cores.into_iter().enumerate().map(worker).collect::<Result<_, _>>().map(Self)
    }

    /// Gives a connection to the thread that has fewest.
    pub(crate) fn give<F>(&self, stream: TcpStream, serve: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let fewest = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        let Some((worker, runtime)) = fewest.and_then(|worker| Some((worker, worker.runtime.as_ref()?)))
        else {
            return;
        };
        // From the thread that accepts to the one that serves: each waits for its own connections.
        let Ok(stream) = stream.into_std() else { return };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&worker.connections));
        runtime.spawn(async move {
            let _counted = counted;
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(stream).await;
            }
        });
    }
}

impl Worker {
    fn start(number: usize, core: Option<usize>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("gateway-{number}"))
            .on_thread_start(anywhere)
            .on_thread_park(move || core.into_iter().for_each(settle))
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), connections: Arc::default() })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be dropped by a task, which must not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use ringfence_authorization::cores::LastWork;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn each_thread_that_serves_stays_on_a_core_of_its_own_when_it_must_and_what_blocks_on_none() {
        let before = cores();
        let serving = |workers: &Workers, number: usize| {
            let runtime = workers.0[number].runtime.as_ref().unwrap();
            // Once it has waited for something to do.
            let found = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                (cores(), tokio::task::spawn_blocking(cores).await.unwrap())
            };
            runtime.block_on(async { tokio::spawn(found).await.unwrap() })
        };
        let workers = Workers::bound(before.clone()).unwrap();
        let last = LastWork::begin();
        for (number, core) in before.iter().enumerate() {
            assert_eq!(serving(&workers, number), (vec![*core], before.clone()));
        }
        assert_eq!(cores(), before, "no other thread");
        // One whose thread waits for something long goes on with another thread, on the same core.
        let runtime = workers.0[0].runtime.as_ref().unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let long = runtime.spawn(async move { tokio::task::block_in_place(|| wait.recv().unwrap()) });
        assert_eq!(serving(&workers, 0).0, [before[0]]);
        go.send(()).unwrap();
        runtime.block_on(long).unwrap();
        let unbound = Workers::start(NonZeroUsize::MIN).unwrap();
        assert_eq!(serving(&unbound, 0), (before.clone(), before.clone()));
        drop(last);
        while serving(&workers, 0).0 != before {}
    }

    #[tokio::test]
    async fn connections_are_shared_out_and_what_ends_makes_room() {
        let workers = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Each connection is answered with the name of its thread, twice, and ends with the client's.
        let connect = async || {
            let client = TcpStream::connect(address);
            let (client, accepted) = tokio::join!(client, listener.accept());
            workers.give(accepted.unwrap().0, |mut stream: TcpStream| async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    let name = std::thread::current().name().unwrap_or_default().to_owned();
                    stream.write_all(name.as_bytes()).await.unwrap();
                }
            });
            client.unwrap()
        };
        let ask = async |client: &mut TcpStream| {
            client.write_all(b"?").await.unwrap();
            let mut name = [0; 9];
            client.read_exact(&mut name).await.unwrap();
            String::from_utf8(name.to_vec()).unwrap()
        };
        let mut clients = Vec::new();
        let mut on: HashMap<String, usize> = HashMap::new();
        for _ in 0..9 {
            let mut client = connect().await;
            let name = ask(&mut client).await;
            assert_eq!(ask(&mut client).await, name, "a connection stays where it is");
            *on.entry(name.clone()).or_default() += 1;
            clients.push((name, client));
        }
        assert_eq!(on, ["gateway-0", "gateway-1", "gateway-2"].map(|name| (name.to_owned(), 3)).into());
        // Two of one thread's end; the next two are for it.
        let (gone, _) =
            clients.iter().position(|(name, _)| name == "gateway-1").map(|at| clients.remove(at)).unwrap();
        let (again, _) =
            clients.iter().position(|(name, _)| *name == gone).map(|at| clients.remove(at)).unwrap();
        assert_eq!(gone, again);
        while workers.0[1].connections.load(Ordering::Relaxed) > 1 {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            assert_eq!(ask(&mut connect().await).await, "gateway-1");
        }
    }
}
