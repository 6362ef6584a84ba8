//! The application as a child process: started, watched, started again, and never outliving the plane.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::fault::PlaneError;

/// How long it may take to say where it listens.
const LISTENING_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to end once its standard input has closed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Pause before it is started again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A running application.
#[derive(Debug)]
pub struct Application {
    address: String,
    stop: oneshot::Sender<()>,
    watcher: JoinHandle<()>,
}

impl Application {
    /// Starts the program and waits until it says where it listens.
    ///
    /// # Errors
    /// [`PlaneError::Application`].
    pub async fn start(command: &[String], trust: &Path) -> Result<Self, PlaneError> {
        let (child, address) = spawn(command, trust, "127.0.0.1:0").await?;
        let (stop, stopped) = oneshot::channel();
        let watcher =
            tokio::spawn(watch(child, command.to_vec(), trust.to_owned(), address.clone(), stopped));
        Ok(Self { address, stop, watcher })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it, and waits until it is gone.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.watcher.await;
    }
}

async fn watch(
    mut child: Child,
    command: Vec<String>,
    trust: std::path::PathBuf,
    address: String,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        // Held here, because waiting for a child closes the input it still has.
        let input = child.stdin.take();
        tokio::select! {
            _ = &mut stopped => {
                drop(input);
                return end(child).await;
            }
            status = child.wait() => {
                tracing::error!(?status, "the application ended; it is started again");
            }
        }
        child = loop {
            tokio::select! {
                _ = &mut stopped => return,
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
            match spawn(&command, &trust, &address).await {
                Ok((child, _)) => break child,
                Err(error) => tracing::error!(%error, "the application does not start"),
            }
        };
    }
}

async fn end(mut child: Child) {
    if timeout(END_WITHIN, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

async fn spawn(command: &[String], trust: &Path, listen: &str) -> Result<(Child, String), PlaneError> {
    let (program, arguments) = command
        .split_first()
        .ok_or(PlaneError::Application { program: String::new(), what: "no program".to_owned() })?;
    let failed = |what: String| PlaneError::Application { program: program.clone(), what };
    let trust = trust.display().to_string();
    let arguments = arguments.iter().map(|text| text.replace("{trust}", &trust).replace("{listen}", listen));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C reaches the plane, which then ends its children in order.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("can't be started: {error}")))?;
    let output = child.stdout.take().ok_or_else(|| failed("has no output".to_owned()))?;
    let mut lines = BufReader::new(output).lines();
    let said = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(address) = line.strip_prefix("listening on ") {
                return Some(address.to_owned());
            }
        }
        None
    };
    match timeout(LISTENING_WITHIN, said).await {
        Ok(Some(address)) => {
            // What it says later is read and dropped, so that it never waits for a reader.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            Ok((child, address))
        }
        Ok(None) => Err(failed("ended before it listened".to_owned())),
        Err(_) => Err(failed("did not say \"listening on ADDR\" within 10 seconds".to_owned())),
    }
}
