//! The second decision: the tenant's policy store, asked by the backend over AuthZEN's evaluation API.

use std::{future::Future, pin::Pin, sync::Arc};

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use ringfence_context::{Layer, Permit, Reason, Refusal, StoreAnswer, TenantId, id::StoreId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    client::Client,
    session::{Proof, Subject},
};

/// A permit, in a while.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Permit, Refusal>> + Send + 'a>>;

/// The seam at which the backend's decision stands in the chain.
pub trait AskStore: Send + Sync {
    /// Asks the tenant's policy store about what the gateway permitted, with what the backend knows.
    fn permit<'a>(&'a self, proof: &'a Proof, subject: Subject<'a>, facts: Map<String, Value>) -> Asking<'a>;
}

/// Asks the decision API.
#[derive(Debug, Clone)]
pub struct Ask {
    client: Client,
    api: Arc<str>,
}

/// AuthZEN 1.0 section 6.2, with what our API puts into `context`.
#[derive(Deserialize)]
struct Evaluation {
    decision: bool,
    context: Determined,
}

#[derive(Deserialize)]
struct Determined {
    store: StoreId,
    store_tenant: TenantId,
    determining: Vec<String>,
    errors: Vec<String>,
}

impl Ask {
    /// Asks the API at `authority` (`host:port`).
    pub fn new(client: Client, authority: &str) -> Self {
        Self { client, api: format!("http://{authority}").into() }
    }

    async fn ask(
        &self,
        proof: &Proof,
        subject: Subject<'_>,
        facts: Map<String, Value>,
    ) -> Result<Permit, Refusal> {
        let unavailable = |detail| Refusal::new(Layer::Backend, Reason::DependencyUnavailable, detail);
        let context = &proof.context;
        let action = proof.edge.action();
        let mut properties = subject.attributes;
        properties.insert("tenant".to_owned(), subject.tenant.into());
        let question = json!({
            "subject": { "type": if context.is_machine() { "client" } else { "user" }, "id": context.subject() },
            "action": { "name": action },
            "resource": { "type": subject.kind, "id": subject.id, "properties": properties },
            "context": facts,
        });
        let uri: Uri = format!("{}/t/{}/access/v1/evaluation", self.api, context.tenant())
            .parse()
            .map_err(|_| unavailable("the API's address"))?;
        let headers = headers(proof).ok_or(unavailable("a header"))?;
        let (status, body) = self
            .client
            .post(uri, headers, question.to_string().into_bytes())
            .await
            .map_err(|_| unavailable("the decision API does not answer"))?;
        if status != StatusCode::OK {
            return Err(refused(&body).unwrap_or(unavailable("the decision API refuses")));
        }
        let evaluation: Evaluation =
            serde_json::from_slice(&body).map_err(|_| unavailable("the decision API's answer"))?;
        let Determined { store, store_tenant, determining, errors } = evaluation.context;
        let allow = evaluation.decision;
        // Nothing is remembered here, so it is of no revision.
        let answer = StoreAnswer { store, store_tenant, allow, determining, errors, revision: 0 };
        Permit::decide(context, action, &answer)
    }
}

impl AskStore for Ask {
    fn permit<'a>(&'a self, proof: &'a Proof, subject: Subject<'a>, facts: Map<String, Value>) -> Asking<'a> {
        Box::pin(self.ask(proof, subject, facts))
    }
}

fn headers(proof: &Proof) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut authorization =
        HeaderValue::from_str(&format!("Bearer {}", proof.tokens.access.reveal())).ok()?;
    authorization.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, authorization);
    headers.insert("txn-token", HeaderValue::from_str(proof.tokens.txn.reveal()).ok()?);
    headers.insert("ringfence-reference", HeaderValue::from_str(proof.reference.as_str()).ok()?);
    Some(headers)
}

/// A problem document of the API, as the refusal it says.
fn refused(body: &[u8]) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "type")]
        reason: Reason,
        layer: Layer,
    }
    let told: Told = serde_json::from_slice(body).ok()?;
    Some(Refusal::new(told.layer, told.reason, "refused by the decision API"))
}
