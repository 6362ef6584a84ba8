//! Payments: entered, viewed, listed, refunded, one by one or in a batch.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_sdk::{TenantDatabase, TenantSession, session::Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Ledger, failure::Failure};

/// Most payments in one batch.
const BATCH: usize = 100;

/// A payment.
#[derive(Debug, Serialize)]
pub struct Payment {
    id: Uuid,
    tenant_id: String,
    account_id: Uuid,
    beneficiary_id: Uuid,
    /// Minor units of the currency.
    amount: i64,
    currency: String,
    memo: String,
    status: String,
    created_by: String,
}

/// A new payment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPayment {
    account_id: Uuid,
    beneficiary_id: Uuid,
    amount: i64,
    currency: String,
    #[serde(default)]
    memo: String,
}

/// A batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBatch {
    payments: Vec<NewPayment>,
}

const COLUMNS: &str = "id, tenant_id, account_id, beneficiary_id, amount, currency, memo, status, created_by";
const LIST: &str = "SELECT {columns} FROM payments WHERE {tenant} ORDER BY created_at DESC, id LIMIT 500";
const VIEW: &str = "SELECT {columns} FROM payments WHERE {tenant} AND id = $2";
const CREATE: &str = "INSERT INTO payments
    (tenant_id, id, account_id, beneficiary_id, amount, currency, memo, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {columns}";
const REFUND: &str = "UPDATE payments SET status = 'refunded' WHERE {tenant} AND id = $2 AND status = 'booked' RETURNING {columns}";

/// `GET /payments`.
pub async fn list(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
) -> Result<Json<Vec<Payment>>, Failure> {
    let permit = session.permit_whole("Book", Map::new()).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let rows = database.client().query(&sql(&ledger, LIST), &[&session.tenant().as_str()]).await;
    Ok(Json(rows.map_err(Failure::statement(&session))?.iter().map(read).collect()))
}

/// `GET /payments/{id}`.
pub async fn view(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
    Path(id): Path<Uuid>,
) -> Result<Json<Payment>, Failure> {
    let mut database = open(&ledger, &session, id, Map::new()).await?;
    let payment = load(&ledger, &session, &mut database, id).await?;
    judge(&session, &payment).await?;
    Ok(Json(payment))
}

/// `POST /payments`.
pub async fn create(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
    Json(new): Json<NewPayment>,
) -> Result<(StatusCode, Json<Payment>), Failure> {
    let facts = Map::from_iter([("amount".to_owned(), new.amount.into())]);
    let permit = session.permit_whole("Book", facts).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let query = sql(&ledger, CREATE);
    let client = database.client();
    let row = insert(client, &query, &session, &new).await.map_err(Failure::statement(&session))?;
    Ok((StatusCode::CREATED, Json(read(&row))))
}

/// `POST /payments/batch`: all or none; the largest amount decides who may.
pub async fn create_batch(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
    Json(batch): Json<NewBatch>,
) -> Result<(StatusCode, Json<Vec<Payment>>), Failure> {
    if batch.payments.len() > BATCH {
        return Err(Failure::Invalid("a batch has at most 100 payments: send several"));
    }
    let largest = batch.payments.iter().map(|payment| payment.amount).max().unwrap_or(0);
    let facts = Map::from_iter([("amount".to_owned(), largest.into())]);
    let permit = session.permit_whole("Book", facts).await.map_err(Failure::refused(&session))?;
    let mut database = ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
    let query = sql(&ledger, CREATE);
    let statement = Failure::statement(&session);
    let transaction = database.client().transaction().await.map_err(&statement)?;
    let mut booked = Vec::with_capacity(batch.payments.len());
    for new in &batch.payments {
        booked.push(read(&insert(&transaction, &query, &session, new).await.map_err(&statement)?));
    }
    transaction.commit().await.map_err(&statement)?;
    Ok((StatusCode::CREATED, Json(booked)))
}

/// `POST /payments/{id}/refund`.
pub async fn refund(
    State(ledger): State<Ledger>,
    Extension(session): Extension<TenantSession>,
    Path(id): Path<Uuid>,
) -> Result<Json<Payment>, Failure> {
    let mut database = open(&ledger, &session, id, Map::new()).await?;
    let payment = load(&ledger, &session, &mut database, id).await?;
    judge(&session, &payment).await?;
    let query = sql(&ledger, REFUND);
    let refunded = database.client().query_opt(&query, &[&session.tenant().as_str(), &id]).await;
    match refunded.map_err(Failure::statement(&session))? {
        Some(row) => Ok(Json(read(&row))),
        None => Err(Failure::Invalid("the payment is already refunded")),
    }
}

/// A database session for one payment, with what is known before its row is.
async fn open(
    ledger: &Ledger,
    session: &TenantSession,
    id: Uuid,
    attributes: Map<String, Value>,
) -> Result<TenantDatabase, Failure> {
    let (id, tenant) = (id.to_string(), session.tenant().as_str());
    let about = Subject { kind: "Payment", id: &id, tenant, attributes };
    let permit = session.permit(about, Map::new()).await.map_err(Failure::refused(session))?;
    ledger.database.open(session, &permit).await.map_err(Failure::database(session))
}

async fn load(
    ledger: &Ledger,
    session: &TenantSession,
    database: &mut TenantDatabase,
    id: Uuid,
) -> Result<Payment, Failure> {
    let found = database.client().query_opt(&sql(ledger, VIEW), &[&session.tenant().as_str(), &id]).await;
    found.map_err(Failure::statement(session))?.as_ref().map(read).ok_or(Failure::NotFound)
}

/// Asks again with the row in hand: whose it is, who entered it, how much it is.
async fn judge(session: &TenantSession, payment: &Payment) -> Result<(), Failure> {
    let attributes = json!({
        "created_by": payment.created_by,
        "amount": payment.amount,
        "status": payment.status,
    });
    let id = payment.id.to_string();
    let about = Subject {
        kind: "Payment",
        id: &id,
        tenant: &payment.tenant_id,
        attributes: attributes.as_object().cloned().unwrap_or_default(),
    };
    session.permit(about, Map::new()).await.map(drop).map_err(Failure::refused(session))
}

async fn insert(
    client: &impl tokio_postgres::GenericClient,
    query: &str,
    session: &TenantSession,
    new: &NewPayment,
) -> Result<Row, tokio_postgres::Error> {
    let (tenant, author) = (session.tenant().as_str(), session.context().subject().as_str());
    let NewPayment { account_id, beneficiary_id, amount, currency, memo } = new;
    let id = Uuid::new_v4();
    client
        .query_one(query, &[&tenant, &id, account_id, beneficiary_id, amount, currency, memo, &author])
        .await
}

fn sql(ledger: &Ledger, query: &str) -> String {
    ledger.filter.apply(query).replace("{columns}", COLUMNS)
}

fn read(row: &Row) -> Payment {
    Payment {
        id: row.get("id"),
        tenant_id: row.get("tenant_id"),
        account_id: row.get("account_id"),
        beneficiary_id: row.get("beneficiary_id"),
        amount: row.get("amount"),
        currency: row.get("currency"),
        memo: row.get("memo"),
        status: row.get("status"),
        created_by: row.get("created_by"),
    }
}
