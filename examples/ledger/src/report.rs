//! The report: volume per currency.

use axum::{Extension, Json, extract::State};
use ringfence_sdk::TenantSession;
use serde::Serialize;
use serde_json::Map;

use crate::{Ledger, failure::Failure};

/// Volume in one currency.
#[derive(Debug, Serialize)]
pub struct Volume {
    currency: String,
    payments: i64,
    /// Minor units.
    amount: i64,
}

const VOLUME: &str = "SELECT currency, count(*) AS payments, coalesce(sum(amount), 0)::bigint AS amount
    FROM payments WHERE {tenant} AND status = 'booked' GROUP BY currency ORDER BY currency";

/// `GET /reports/volume`.
pub async fn volume(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
) -> Result<Json<Vec<Volume>>, Failure> {
    let permit = session.permit_whole("Book", Map::new()).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let query = ledger.filter.apply(VOLUME);
    let rows = database.client().query(&query, &[&session.tenant().as_str()]).await;
    let rows = rows.map_err(Failure::statement(&session))?;
    let read = |row: &tokio_postgres::Row| Volume {
        currency: row.get("currency"),
        payments: row.get("payments"),
        amount: row.get("amount"),
    };
    Ok(Json(rows.iter().map(read).collect()))
}
