//! Publishes proposals whose time has come. Every node does; whichever is first has done it for all.
//!
//! A tenant whose proofs take long holds up no other: one proposal of a tenant is published at a time, and several tenants'
//! side by side.

use std::{collections::HashSet, time::Duration};

use ringfence_authorization::govern::{Author, Due, GovernError};
use ringfence_context::{Duty, TenantId};
use ringfence_store::StoreError;
use tokio::task::JoinSet;

use crate::{operator::Operators, tenant::TenantError, workflow::Workflow};

/// How often it looks.
const BEAT: Duration = Duration::from_secs(1);

/// How many due proposals it looks at.
const PAGE: u32 = 500;

/// How many tenants' are published at once.
const AT_ONCE: usize = 8;

/// Publishes what is due until the plane ends.
pub async fn run(workflow: Workflow) {
    let (mut beat, mut publishing) = (tokio::time::interval(BEAT), JoinSet::new());
    let mut busy: HashSet<TenantId> = HashSet::new();
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            Some(done) = publishing.join_next() => {
                match done {
                    Ok(tenant) => drop(busy.remove(&tenant)),
                    // Nobody knows whose it was: begin afresh, which at worst tries one twice.
                    Err(_) => busy.clear(),
                }
            }
        }
        let due = match workflow.governance.due(PAGE).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "what is due can't be read");
                continue;
            }
        };
        for due in due {
            if publishing.len() >= AT_ONCE {
                break;
            }
            if busy.insert(due.tenant.clone()) {
                let workflow = workflow.clone();
                publishing.spawn(async move {
                    if let Err(error) = workflow.publish_due(&due).await {
                        tracing::warn!(tenant = %due.tenant, proposal = due.proposal, %error, "not published yet");
                    }
                    due.tenant
                });
            }
        }
    }
}

impl Workflow {
    /// Publishes a proposal whose time has come, for the operator who set the time; or ends its schedule with the reason.
    ///
    /// # Errors
    /// Where it is to be tried again.
    pub async fn publish_due(&self, due: &Due) -> Result<(), TenantError> {
        let Some(by) = self.governance.due_by(due).await? else { return Ok(()) };
        let end = async |why: &str| -> Result<(), GovernError> {
            let Due { tenant, proposal, .. } = due;
            self.governance.unschedule(tenant, *proposal, Author::Plane, why).await.map(drop)
        };
        if !self.may_publish(&by).await? {
            return Ok(end("not published: who set the time may no longer publish").await?);
        }
        let terms = match self.terms(&due.tenant).await {
            Ok(terms) => terms,
            Err(error @ TenantError::Tier(_)) => return Ok(end(&format!("not published: {error}")).await?),
            Err(error) => return Err(error),
        };
        if let Some(published) = self.governance.publish_due(due, terms, by).await? {
            let Due { tenant, proposal, .. } = due;
            tracing::info!(%tenant, proposal, version = published.version, "published at its time");
        }
        Ok(())
    }

    async fn may_publish(&self, by: &Author) -> Result<bool, StoreError> {
        let Author::Operator(name) = by else { return Ok(false) };
        let records = Operators::new(self.records.clone()).operator_records().await?;
        let live = records.iter().find(|record| record.operator == *name);
        Ok(live.is_some_and(|record| record.roles.iter().any(|role| role.may(Duty::Publish))))
    }
}
