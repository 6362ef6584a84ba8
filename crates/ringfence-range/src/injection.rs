//! The sample app, compromised: whoever may list payments says the statement. `GET /payments?sql=` sends it to the guard in the
//! session of the request's own tenant; with `as=` as another tenant, with the tokens there are; with `past=` to Postgres
//! itself, as the role that the guard logs in as.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use http::Uri;
use ledger::{Ledger, failure::Failure};
use ringfence_control::Plane;
use ringfence_sdk::{TenantLayer, TenantSession};
use serde_json::{Map, Value, json};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use tower::ServiceExt;

/// What the app knows beside what it is.
#[derive(Clone)]
struct Compromised {
    ledger: Ledger,
    guard: SocketAddr,
    socket: PathBuf,
    port: u16,
    database: String,
    role: String,
}

/// What a request asks for.
#[derive(Debug, Default)]
struct Asked {
    sql: String,
    whose: Option<String>,
    past: bool,
}

impl Asked {
    /// Reads a request's query; none where it has no SQL in it.
    fn read(uri: &Uri) -> Option<Self> {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(uri.query()?.as_bytes()) {
            match &*name {
                "sql" => asked.sql = value.into_owned(),
                "as" => asked.whose = Some(value.into_owned()),
                "past" => asked.past = true,
                _ => {}
            }
        }
        (!asked.sql.is_empty()).then_some(asked)
    }
}

/// The app, as it was to everybody who asks for no SQL.
pub(crate) fn router(ledger: Ledger, plane: &Plane) -> Result<Router, String> {
    let (socket, port) = plane.workflow.data.socket().ok_or("the cluster is not managed")?;
    let compromised = Compromised {
        guard: plane.listeners.guard.local_addr().map_err(|error| error.to_string())?,
        socket: socket.to_owned(),
        port,
        database: plane.workflow.data.database().as_str().to_owned(),
        role: plane.settings.postgres.app_role.clone(),
        ledger: ledger.clone(),
    };
    let Ledger { recheck, ask, record, clock, .. } = &ledger;
    let layer = TenantLayer::new(Arc::clone(recheck), Arc::clone(ask), Arc::clone(record), Arc::clone(clock));
    let told = Router::new().route("/payments", get(run)).layer(layer).with_state(compromised);
    let whole = ledger.router();
    Ok(Router::new().fallback(move |request: Request| {
        let chosen = if Asked::read(request.uri()).is_some() { told.clone() } else { whole.clone() };
        async move { chosen.oneshot(request).await.into_response() }
    }))
}

async fn run(
    State(app): State<Compromised>,
    Extension(session): Extension<TenantSession>,
    uri: Uri,
) -> Result<Response, Failure> {
    let asked = Asked::read(&uri).unwrap_or_default();
    if !asked.past && asked.whose.is_none() {
        let permit = session.permit_whole("Book", Map::new()).await.map_err(Failure::refused(&session))?;
        let mut own =
            app.ledger.database.open(&session, &permit).await.map_err(Failure::database(&session))?;
        return Ok(answer(said(own.client(), &asked.sql).await));
    }
    let mut config = Config::new();
    config.dbname(&app.database);
    match &asked.whose {
        Some(whose) if !asked.past => config
            .hostaddr(app.guard.ip())
            .port(app.guard.port())
            .user(whose)
            .password(session.tokens().reveal()),
        _ => config.host_path(&app.socket).port(app.port).user(&app.role),
    };
    Ok(answer(async { said(&opened(&config).await?, &asked.sql).await }.await))
}

async fn opened(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // Ends with the request; what went wrong shows in its statement.
        let _ = connection.await;
    });
    Ok(client)
}

/// Every row, as text.
async fn said(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// The rows, or who refused them with what.
fn answer(said: Result<Vec<Vec<Option<String>>>, Error>) -> Response {
    let refused = |layer: &str, code: &str, told: &str| {
        let body: Value = json!({ "layer": layer, "sqlstate": code, "title": told });
        (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
    };
    match said {
        Ok(rows) => Json(rows).into_response(),
        Err(error) => match error.as_db_error() {
            Some(told) if told.severity() == "FATAL" => refused("guard", told.code().code(), told.message()),
            Some(told) => refused("database", told.code().code(), told.message()),
            None => refused("guard", "08006", "closed"),
        },
    }
}
