//! Accounts payments are made from.

use axum::{Extension, Json, extract::State, http::StatusCode};
use ringfence_sdk::TenantSession;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Ledger, failure::Failure};

/// An account.
#[derive(Debug, Serialize)]
pub struct Account {
    id: Uuid,
    tenant_id: String,
    name: String,
    currency: String,
    created_by: String,
}

/// A new account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    name: String,
    currency: String,
}

const LIST: &str =
    "SELECT id, tenant_id, name, currency, created_by FROM accounts WHERE {tenant} ORDER BY id LIMIT 500";
const CREATE: &str =
    "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES ($1, $2, $3, $4, $5)
    RETURNING id, tenant_id, name, currency, created_by";

/// `GET /accounts`.
pub async fn list(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
) -> Result<Json<Vec<Account>>, Failure> {
    let permit = session.permit_whole("Book", Map::new()).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let query = ledger.filter.apply(LIST);
    let rows = database.client().query(&query, &[&session.tenant().as_str()]).await;
    Ok(Json(rows.map_err(Failure::statement(&session))?.iter().map(read).collect()))
}

/// `POST /accounts`.
pub async fn create(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
    Json(new): Json<NewAccount>,
) -> Result<(StatusCode, Json<Account>), Failure> {
    let permit = session.permit_whole("Book", Map::new()).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let (tenant, author) = (session.tenant().as_str(), session.context().subject().as_str());
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&tenant, &Uuid::new_v4(), &new.name, &new.currency, &author];
    let row = database.client().query_one(CREATE, values).await.map_err(Failure::statement(&session))?;
    Ok((StatusCode::CREATED, Json(read(&row))))
}

fn read(row: &Row) -> Account {
    Account {
        id: row.get("id"),
        tenant_id: row.get("tenant_id"),
        name: row.get("name"),
        currency: row.get("currency"),
        created_by: row.get("created_by"),
    }
}
