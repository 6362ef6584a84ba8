//! What a backend refused by itself, told to the plane for its decision log (SYSTEMS CV-22).
//!
//! It guarantees that reporting never delays a request: verdicts wait in a bounded queue, and what does not fit is
//! counted, and the count told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use ringfence_context::{Layer, Reason, Record, Reference, Verdict, limits};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{client::Client, trust::Trust};

/// Refusals that may wait to be told.
const QUEUE: usize = 4096;

/// How long it waits for a plane that does not answer.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Tells the plane. Dropped, it tells what is left.
#[derive(Debug)]
pub struct Report {
    queue: mpsc::Sender<Told>,
    lost: Arc<AtomicU64>,
}

/// What is told of one refusal: no tenant and no subject, for none is proved.
#[derive(Debug, Serialize)]
struct Told {
    reference: Reference,
    layer: Layer,
    reason: Reason,
    detail: String,
}

#[derive(Serialize)]
struct Batch<'a> {
    lost: u64,
    refusals: &'a [Told],
}

impl Report {
    /// Starts telling the plane that `trust` names. To be called within a tokio runtime.
    pub fn start(client: Client, trust: &Trust) -> Arc<Self> {
        let (queue, told) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let uri = format!("http://{}/v1/refusals", trust.api).parse::<Uri>();
        let reporter = trust.binding().ok().and_then(|binding| {
            HeaderValue::from_str(&format!("Bearer {}", binding.reporter().reveal())).ok()
        });
        if let (Ok(uri), Some(mut reporter)) = (uri, reporter) {
            reporter.set_sensitive(true);
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, reporter)]);
            tokio::spawn(tell(client, uri, headers, told, Arc::clone(&lost)));
        }
        Arc::new(Self { queue, lost })
    }
}

impl Record for Report {
    fn record(&self, verdict: Verdict) {
        let Some((layer, reason)) = verdict.refused else { return };
        let told = Told { reference: verdict.reference, layer, reason, detail: verdict.detail.into_owned() };
        if self.queue.try_send(told).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn tell(
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    mut told: mpsc::Receiver<Told>,
    lost: Arc<AtomicU64>,
) {
    let mut refusals = Vec::new();
    while told.recv_many(&mut refusals, limits::REFUSALS_TOLD).await > 0 {
        let missing = lost.swap(0, Ordering::Relaxed);
        let Ok(batch) = serde_json::to_vec(&Batch { lost: missing, refusals: &refusals }) else { return };
        loop {
            match client.post(uri.clone(), headers.clone(), batch.clone()).await {
                // Whatever the plane does not take it will not take again either.
                Ok((status, _)) if status != StatusCode::SERVICE_UNAVAILABLE => break,
                _ => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
        refusals.clear();
    }
}
