//! The decision log: every verdict of every part, as JSON lines, found again by reference.
//!
//! Recording never waits for the disk: lines are put down in memory, and a thread of the log's own takes them away
//! together and writes them, so that no request pays for waking it. What there was no room for is counted and said in
//! the log itself, so that a gap is known as one.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    time::Duration,
};

use ringfence_context::{Layer, Reason, Record, Reference, TenantId, Verdict, limits};

/// How much may wait to be written, in bytes.
const WAITING: usize = 32 * 1024 * 1024;

/// A line is rarely longer, in bytes.
const LINE: usize = 512;

/// Size at which a new file is begun, in bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How many files are kept beside the one being written.
const FILES: u32 = 8;

const WRITE_WITHIN: Duration = Duration::from_millis(50);

/// The log of one plane. Clones share it.
#[derive(Debug, Clone)]
pub struct DecisionLog {
    waiting: Arc<Waiting>,
    /// Asks the writer to write now, and to say when it has. It ends when nobody can ask any more.
    writer: Sender<SyncSender<()>>,
    folder: PathBuf,
}

/// Verdicts put down to be written.
#[derive(Debug, Default)]
struct Waiting {
    lines: Mutex<Lines>,
    lost: AtomicU64,
}

/// Verdicts as they are written. They are made to lines where they are found: who records has all of it at hand, and
/// what it is made of need not travel to another thread to be given back there.
#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

impl DecisionLog {
    /// Opens the log below a state folder, and starts its writer.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        let folder = dir.join("decisions");
        std::fs::create_dir_all(&folder)?;
        let (writer, asked) = channel();
        let waiting = Arc::new(Waiting::default());
        let (file, written) = append(&folder)?;
        let thread = Writer { file, written, folder: folder.clone(), waiting: Arc::clone(&waiting) };
        std::thread::Builder::new().name("decisions".to_owned()).spawn(move || thread.run(&asked))?;
        Ok(Self { waiting, writer, folder })
    }

    /// Every verdict of one request, in order of time. Reads files: not for the request path.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn find(&self, reference: &Reference) -> std::io::Result<Vec<Verdict>> {
        let (written, wait) = sync_channel(1);
        if self.writer.send(written).is_ok() {
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

impl DecisionLog {
    /// The latest decisions about a tenant that were made by its policies, the latest first, at most
    /// [`limits::POLICY_REPLAYED`]. Reads files: not for the request path.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn decisions(&self, tenant: &TenantId) -> std::io::Result<Vec<Verdict>> {
        let (written, wait) = sync_channel(1);
        if self.writer.send(written).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(5));
        }
        let mut latest: Vec<Verdict> = Vec::new();
        for number in 0..=FILES {
            let Ok(file) = File::open(path(&self.folder, number)) else { continue };
            let room = limits::POLICY_REPLAYED.saturating_sub(latest.len());
            let mut found = VecDeque::new();
            for line in BufReader::new(file).lines() {
                let line = line?;
                // A cheap look first: the line is read when it may be one.
                if line.contains(tenant.as_str())
                    && let Ok(verdict) = serde_json::from_str::<Verdict>(&line)
                    && verdict.tenant.as_ref() == Some(tenant)
                    && decided(&verdict)
                {
                    found.push_back(verdict);
                    if found.len() > room {
                        found.pop_front();
                    }
                }
            }
            latest.extend(found.into_iter().rev());
            if latest.len() >= limits::POLICY_REPLAYED {
                break;
            }
        }
        Ok(latest)
    }
}

/// Whether the tenant's policies were asked, and gave a whole answer.
fn decided(verdict: &Verdict) -> bool {
    let by_policies = match verdict.refused {
        None => verdict.passed.contains(&Layer::Authorization),
        Some((layer, reason)) => layer == Layer::Authorization && reason == Reason::Denied,
    };
    by_policies && verdict.action.is_some() && verdict.resource.is_some()
}

impl Record for DecisionLog {
    fn record(&self, verdict: Verdict) {
        self.waiting.put(&verdict);
    }
}

impl Waiting {
    fn put(&self, verdict: &Verdict) {
        let mut line = Vec::with_capacity(LINE);
        let made = serde_json::to_writer(&mut line, verdict).is_ok();
        line.push(b'\n');
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if made && lines.text.len().saturating_add(line.len()) <= WAITING {
            lines.text.extend_from_slice(&line);
            lines.count = lines.count.saturating_add(1);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes all away and leaves `empty` for the next, with the room it has.
    fn take(&self, empty: &mut Lines) {
        std::mem::swap(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner), empty);
    }
}

struct Writer {
    file: File,
    /// Bytes in the file.
    written: u64,
    folder: PathBuf,
    waiting: Arc<Waiting>,
}

impl Writer {
    fn run(mut self, asked: &Receiver<SyncSender<()>>) {
        let mut batch = Lines::default();
        loop {
            let asked = asked.recv_timeout(WRITE_WITHIN);
            self.waiting.take(&mut batch);
            if let Err(error) = self.write(&batch.text).and_then(|()| self.rotate()) {
                // Full disk or the like: which of them are whole in the file is not known, so all are counted.
                self.waiting.lost.fetch_add(batch.count, Ordering::Relaxed);
                tracing::error!(%error, "the decision log can't be written");
            }
            batch.text.clear();
            batch.count = 0;
            match asked {
                Ok(done) => drop(done.try_send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let lost = self.waiting.lost.load(Ordering::Relaxed);
        if lost > 0 {
            self.put(format!("{{\"lost\":{lost}}}\n").as_bytes())?;
        }
        self.put(lines)?;
        // Said: what was lost since is for the next line.
        self.waiting.lost.fetch_sub(lost, Ordering::Relaxed);
        Ok(())
    }

    fn put(&mut self, text: &[u8]) -> std::io::Result<()> {
        self.written = self.written.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.file.write_all(text)
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        if self.written < FILE_BYTES {
            return Ok(());
        }
        for number in (0..FILES).rev() {
            let from = path(&self.folder, number);
            if from.exists() {
                std::fs::rename(from, path(&self.folder, number.saturating_add(1)))?;
            }
        }
        (self.file, self.written) = append(&self.folder)?;
        Ok(())
    }
}

/// The file being written, with the bytes it has already.
fn append(folder: &Path) -> std::io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path(folder, 0))?;
    let written = file.metadata()?.len();
    Ok((file, written))
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(if number == 0 { "decisions.jsonl".to_owned() } else { format!("decisions.{number}.jsonl") })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use ringfence_context::{Part, UnixTime};

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    fn verdict(random: u64) -> Verdict {
        let reference = Reference::make(NOW, random);
        let mut verdict =
            Verdict::passed(reference, NOW, Part::Gateway, &[Layer::Token, Layer::Authorization]);
        verdict.policies = Arc::from(["everyone-reads".to_owned()]);
        verdict.detail = Cow::Borrowed("found");
        verdict
    }

    #[test]
    fn cv32_a_verdict_is_found_by_its_reference_alone() {
        let dir = tempfile::tempdir().unwrap();
        let log = DecisionLog::open(dir.path()).unwrap();
        for random in 0..1000 {
            log.record(verdict(random));
        }
        assert_eq!(log.find(&Reference::make(NOW, 7)).unwrap(), [verdict(7)]);
        assert_eq!(log.find(&Reference::make(NOW, 5000)).unwrap(), []);
    }

    #[test]
    fn reject_policy_replayed() {
        let dir = tempfile::tempdir().unwrap();
        let log = DecisionLog::open(dir.path()).unwrap();
        let acme = TenantId::new("acme").unwrap();
        let most = u64::try_from(limits::POLICY_REPLAYED).unwrap();
        let decide = |random| {
            let (action, resource) = (Some("ListNotes".into()), Some("Note::\"n\"".to_owned()));
            log.record(Verdict { tenant: Some(acme.clone()), action, resource, ..verdict(random) });
        };
        let references = || -> Vec<Reference> {
            log.decisions(&acme).unwrap().into_iter().map(|verdict| verdict.reference).collect()
        };
        (0..most).for_each(decide);
        assert_eq!(references(), (0..most).rev().map(|n| Reference::make(NOW, n)).collect::<Vec<_>>());
        decide(most);
        assert_eq!(references(), (1..=most).rev().map(|n| Reference::make(NOW, n)).collect::<Vec<_>>());
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_said() {
        let waiting = Waiting::default();
        let one = serde_json::to_vec(&verdict(0)).unwrap().len() + 1;
        let room = WAITING / one;
        for random in 0..room + 3 {
            waiting.put(&verdict(u64::try_from(random).unwrap()));
        }
        assert_eq!(waiting.lost.load(Ordering::Relaxed), 3);
        let mut taken = Lines::default();
        waiting.take(&mut taken);
        assert_eq!((taken.text.len(), taken.count), (room * one, u64::try_from(room).unwrap()));

        let dir = tempfile::tempdir().unwrap();
        let log = DecisionLog::open(dir.path()).unwrap();
        log.waiting.lost.store(3, Ordering::Relaxed);
        log.record(verdict(1));
        assert_eq!(log.find(&Reference::make(NOW, 1)).unwrap(), [verdict(1)]);
        let written = std::fs::read_to_string(path(&log.folder, 0)).unwrap();
        assert_eq!(written.matches("{\"lost\":3}\n").count(), 1, "{written}");
        assert_eq!(log.waiting.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_new_file_is_begun_also_where_the_log_is_never_idle() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_owned();
        let (file, _) = append(&folder).unwrap();
        let mut writer =
            Writer { file, written: FILE_BYTES, folder: folder.clone(), waiting: <_>::default() };
        writer.write(b"{}\n").and_then(|()| writer.rotate()).unwrap();
        writer.write(b"{}\n").and_then(|()| writer.rotate()).unwrap();
        let lines = |number| std::fs::read_to_string(path(&folder, number)).unwrap().lines().count();
        assert_eq!((lines(0), lines(1)), (1, 1));
    }
}
