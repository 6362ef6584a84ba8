//! Beneficiaries payments are made to.

use axum::{Extension, Json, extract::State, http::StatusCode};
use ringfence_sdk::TenantSession;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Ledger, failure::Failure};

/// A beneficiary.
#[derive(Debug, Serialize)]
pub struct Beneficiary {
    id: Uuid,
    tenant_id: String,
    name: String,
    country: String,
    iban: String,
    created_by: String,
}

/// A new beneficiary.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBeneficiary {
    name: String,
    country: String,
    iban: String,
}

const LIST: &str = "SELECT id, tenant_id, name, country, iban, created_by FROM beneficiaries WHERE {tenant} ORDER BY id LIMIT 500";
const CREATE: &str = "INSERT INTO beneficiaries (tenant_id, id, name, country, iban, created_by) VALUES ($1, $2, $3, $4, $5, $6)
    RETURNING id, tenant_id, name, country, iban, created_by";

/// `GET /beneficiaries`.
pub async fn list(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
) -> Result<Json<Vec<Beneficiary>>, Failure> {
    let permit = session.permit_whole("Book", Map::new()).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let query = ledger.filter.apply(LIST);
    let rows = database.client().query(&query, &[&session.tenant().as_str()]).await;
    Ok(Json(rows.map_err(Failure::statement(&session))?.iter().map(read).collect()))
}

/// `POST /beneficiaries`.
pub async fn create(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
    Json(new): Json<NewBeneficiary>,
) -> Result<(StatusCode, Json<Beneficiary>), Failure> {
    let permit = session.permit_whole("Book", Map::new()).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let (tenant, author) = (session.tenant().as_str(), session.context().subject().as_str());
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&tenant, &Uuid::new_v4(), &new.name, &new.country, &new.iban, &author];
    let row = database.client().query_one(CREATE, values).await.map_err(Failure::statement(&session))?;
    Ok((StatusCode::CREATED, Json(read(&row))))
}

fn read(row: &Row) -> Beneficiary {
    Beneficiary {
        id: row.get("id"),
        tenant_id: row.get("tenant_id"),
        name: row.get("name"),
        country: row.get("country"),
        iban: row.get("iban"),
        created_by: row.get("created_by"),
    }
}
