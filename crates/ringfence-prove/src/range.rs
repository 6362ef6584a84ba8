//! The range as a child process: started with parts broken, ended by closing its standard input.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{error::ProveError, knockout::Knockout, scene::Scene};

/// How long a range may take to become ready: long, so that a busy machine is not taken for a broken range.
const READY: Duration = Duration::from_secs(180);

/// How long it may take to end before it is killed.
const ENDING: Duration = Duration::from_secs(10);

/// Most of what a failed range said that is shown, in bytes.
const TOLD: u64 = 4096;

/// How a range's folder begins.
const PREFIX: &str = "ringfence-range-";

/// A folder that is in memory, and what must be free there, in bytes: each range has some 50 MB, and few are there at once.
const IN_MEMORY: (&str, u64) = ("/dev/shm", 1 << 30);

/// A running range. Its state is in a folder of its own, gone with it.
pub(crate) struct Range {
    child: Child,
    /// What it said of itself.
    pub(crate) scene: Scene,
    dir: TempDir,
}

/// A range as it is before anything has happened in it: making one is slow, copying it is not.
pub(crate) struct Seedling {
    program: PathBuf,
    dir: TempDir,
}

impl Seedling {
    /// Lets a range make its state and ends it.
    ///
    /// # Errors
    /// As [`Seedling::start`].
    pub(crate) async fn grow(program: &Path) -> Result<Self, ProveError> {
        let range = Range::start(program, folder()?, &[]).await?;
        Ok(Self { program: program.to_owned(), dir: range.end().await })
    }

    /// Starts a range on a copy of the state, with `broken` broken, and waits until it is ready.
    ///
    /// # Errors
    /// [`ProveError::Start`], [`ProveError::NotReady`].
    pub(crate) async fn start(&self, broken: &[Knockout]) -> Result<Range, ProveError> {
        let dir = folder()?;
        // Owners are kept: Postgres' files are its own user's.
        let copied =
            Command::new("cp").arg("-a").arg(self.dir.path().join(".")).arg(dir.path()).output().await?;
        if !copied.status.success() {
            let told = String::from_utf8_lossy(&copied.stderr).into_owned();
            return Err(std::io::Error::other(format!("can't copy the range's state: {told}")).into());
        }
        Range::start(&self.program, dir, broken).await
    }
}

/// An empty folder for a range: in memory where there is room, for a range is made to be thrown away.
fn folder() -> std::io::Result<TempDir> {
    let (memory, wanted) = IN_MEMORY;
    let room = rustix::fs::statvfs(memory).map(|at| at.f_bavail.saturating_mul(at.f_frsize));
    let made = match room {
        Ok(free) if free >= wanted => TempDir::with_prefix_in(PREFIX, memory),
        _ => return TempDir::with_prefix(PREFIX),
    };
    made.or_else(|_| TempDir::with_prefix(PREFIX))
}

impl Range {
    /// Starts one in `dir` with `broken` broken and waits until it is ready.
    async fn start(program: &Path, dir: TempDir, broken: &[Knockout]) -> Result<Self, ProveError> {
        let names = broken.iter().map(|one| one.name()).collect::<Vec<_>>().join(",");
        let mut command = Command::new(program);
        command.arg("--dir").arg(dir.path());
        if !names.is_empty() {
            command.arg("--broken").arg(&names);
        }
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = piped.kill_on_drop(true).spawn();
        let mut child = started.map_err(|error| ProveError::Start { path: program.to_owned(), error })?;
        let read = timeout(READY, first_line(&mut child)).await;
        let not_ready = |what: String| ProveError::NotReady { broken: names.clone(), what };
        let line = match read {
            Err(_) => return Err(not_ready(format!("it said nothing for {} s", READY.as_secs()))),
            Ok(Ok(line)) if !line.trim().is_empty() => line,
            Ok(_) => return Err(not_ready(last_words(&mut child).await)),
        };
        let scene = Scene::read(&line).map_err(|error| not_ready(format!("its first line: {error}")))?;
        if scene.broken.join(",") != names {
            return Err(not_ready(format!("it has broken [{}]", scene.broken.join(","))));
        }
        Ok(Self { child, scene, dir })
    }

    /// Ends it and waits until it is gone; its folder stays as long as it is held.
    pub(crate) async fn end(mut self) -> TempDir {
        drop(self.child.stdin.take());
        if timeout(ENDING, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        self.dir
    }
}

async fn first_line(child: &mut Child) -> std::io::Result<String> {
    let Some(stdout) = child.stdout.take() else { return Ok(String::new()) };
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    // Read on, so that the range never waits for a reader.
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
    });
    if !line.is_empty()
        && let Some(mut stderr) = child.stderr.take()
    {
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        });
    }
    Ok(line)
}

async fn last_words(child: &mut Child) -> String {
    let Some(stderr) = child.stderr.take() else { return "it ended".to_owned() };
    let mut told = String::new();
    let _ = timeout(ENDING, stderr.take(TOLD).read_to_string(&mut told)).await;
    format!("it ended: {}", told.trim())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::scene::tests::LINE;

    async fn start(script: &str) -> Result<Range, ProveError> {
        let dir = TempDir::new().unwrap();
        let program = dir.path().join("range");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Range::start(&program, TempDir::new().unwrap(), &[Knockout::Hook, Knockout::Rls]).await
    }

    #[tokio::test]
    async fn a_range_is_ready_when_it_has_said_its_line_and_ends_with_its_input() {
        let line = LINE.replace('\n', " ").replace("\"broken\":[]", "\"broken\":[\"hook\",\"rls\"]");
        let range = start(&format!("test \"$4\" = hook,rls && echo '{line}'; cat >/dev/null")).await.unwrap();
        assert_eq!(range.scene.tenants.len(), 1);
        range.end().await;
    }

    #[tokio::test]
    async fn a_copy_begins_where_the_first_range_ended() {
        let dir = TempDir::new().unwrap();
        let program = dir.path().join("range");
        let line = LINE.replace('\n', " ");
        let script = format!(
            "#!/bin/sh\necho made >> $2/state\ntest $(wc -l < $2/state) -lt 3 && echo '{line}'\ncat \
             >/dev/null\n"
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let seedling = Seedling::grow(&program).await.unwrap();
        for _ in 0..3 {
            seedling.start(&[]).await.unwrap().end().await;
        }
    }

    #[tokio::test]
    async fn a_range_that_ends_is_told_with_its_last_words() {
        let error = start("echo no postgres found >&2; exit 1").await.err().unwrap().to_string();
        assert!(error.contains("hook,rls") && error.contains("no postgres found"), "{error}");
        let whole = LINE.replace('\n', " ");
        let error = start(&format!("echo '{whole}'; cat >/dev/null")).await.err().unwrap().to_string();
        assert!(error.contains("it has broken []"), "{error}");
        let error = start("echo nonsense; cat >/dev/null").await.err().unwrap().to_string();
        assert!(error.contains("first line"), "{error}");
    }
}
