//! The decision log: every verdict of every part, as JSON lines, found again by reference.
//!
//! Recording never blocks a request: verdicts go through a bounded queue to a thread that writes them. What could not be
//! queued is counted and said in the log itself, so that a gap is known as one.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use ringfence_context::{Record, Reference, Verdict};

/// Verdicts that may wait to be written.
const QUEUE: usize = 65_536;

/// Size at which a new file is begun, in bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How many files are kept beside the one being written.
const FILES: u32 = 8;

const WRITE_WITHIN: Duration = Duration::from_millis(50);

/// The log of one plane. Clones share it.
#[derive(Debug, Clone)]
pub struct DecisionLog {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
    folder: PathBuf,
}

enum Entry {
    Verdict(Box<Verdict>),
    Written(SyncSender<()>),
}

impl DecisionLog {
    /// Opens the log below a state folder, and starts its writer.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        let folder = dir.join("decisions");
        std::fs::create_dir_all(&folder)?;
        let (queue, entries) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { file: append(&folder)?, folder: folder.clone(), lost: Arc::clone(&lost) };
        std::thread::Builder::new().name("decisions".to_owned()).spawn(move || writer.run(&entries))?;
        Ok(Self { queue, lost, folder })
    }

    /// Every verdict of one request, in order of time. Reads files: not for the request path.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn find(&self, reference: &Reference) -> std::io::Result<Vec<Verdict>> {
        let (written, wait) = sync_channel(1);
        if self.queue.send(Entry::Written(written)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(5));
        }
        let mut found = Vec::new();
        for number in (0..=FILES).rev() {
            let Ok(file) = File::open(path(&self.folder, number)) else { continue };
            for line in BufReader::new(file).lines() {
                let line = line?;
                if line.contains(reference.as_str())
                    && let Ok(verdict) = serde_json::from_str::<Verdict>(&line)
                    && verdict.reference == *reference
                {
                    found.push(verdict);
                }
            }
        }
        found.sort_by_key(|verdict| verdict.at);
        Ok(found)
    }
}

impl Record for DecisionLog {
    fn record(&self, verdict: Verdict) {
        if self.queue.try_send(Entry::Verdict(Box::new(verdict))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    file: BufWriter<File>,
    folder: PathBuf,
    lost: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) {
        loop {
            let outcome = match entries.recv_timeout(WRITE_WITHIN) {
                Ok(Entry::Verdict(verdict)) => self.write(&verdict),
                Ok(Entry::Written(done)) => {
                    let flushed = self.file.flush();
                    let _ = done.try_send(());
                    flushed
                }
                Err(RecvTimeoutError::Timeout) => self.file.flush().and_then(|()| self.rotate()),
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.file.flush();
                    return;
                }
            };
            if let Err(error) = outcome {
                // Full disk or the like: the verdict is in the process's own log, and counted.
                self.lost.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the decision log can't be written");
                std::thread::sleep(WRITE_WITHIN);
            }
        }
    }

    fn write(&mut self, verdict: &Verdict) -> std::io::Result<()> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            writeln!(self.file, "{{\"lost\":{lost}}}")?;
        }
        serde_json::to_writer(&mut self.file, verdict)?;
        self.file.write_all(b"\n")
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        if self.file.get_ref().metadata()?.len() < FILE_BYTES {
            return Ok(());
        }
        for number in (0..FILES).rev() {
            let from = path(&self.folder, number);
            if from.exists() {
                std::fs::rename(from, path(&self.folder, number.saturating_add(1)))?;
            }
        }
        self.file = append(&self.folder)?;
        Ok(())
    }
}

fn append(folder: &Path) -> std::io::Result<BufWriter<File>> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path(folder, 0))?;
    Ok(BufWriter::with_capacity(256 * 1024, file))
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(if number == 0 { "decisions.jsonl".to_owned() } else { format!("decisions.{number}.jsonl") })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use ringfence_context::{Layer, Part, UnixTime};

    use super::*;

    #[test]
    fn cv32_a_verdict_is_found_by_its_reference_alone() {
        let dir = tempfile::tempdir().unwrap();
        let log = DecisionLog::open(dir.path()).unwrap();
        let now = UnixTime::from_seconds(1_800_000_000);
        let verdict = |random| {
            let reference = Reference::make(now, random);
            let mut verdict =
                Verdict::passed(reference, now, Part::Gateway, &[Layer::Token, Layer::Authorization]);
            verdict.policies = vec!["everyone-reads".to_owned()];
            verdict.detail = Cow::Borrowed("found");
            verdict
        };
        for random in 0..1000 {
            log.record(verdict(random));
        }
        assert_eq!(log.find(&Reference::make(now, 7)).unwrap(), [verdict(7)]);
        assert_eq!(log.find(&Reference::make(now, 5000)).unwrap(), []);
    }
}
