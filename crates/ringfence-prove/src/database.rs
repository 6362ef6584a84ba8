//! Database sessions through the guard, by an ordinary Postgres client whose received bytes are kept.

use tokio::{net::TcpStream, time::timeout};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::{
    attacker::Attacker,
    http::PATIENCE,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
    tap::Tap,
};

/// An open session.
pub(crate) struct Session {
    client: Client,
}

impl Session {
    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs one string of statements.
    pub(crate) async fn one(&self, statement: &str) -> Outcome {
        match timeout(PATIENCE, self.client.simple_query(statement)).await {
            Ok(Ok(_)) => Outcome::answered("ok"),
            Ok(Err(error)) => Outcome::of_database(&error),
            Err(_) => Outcome::stopped(ringfence_context::Layer::Guard, "silent"),
        }
    }

    /// Says whose the next transactions are.
    pub(crate) async fn token_use(&self, tenant: &str, token: &str) -> Outcome {
        let asked =
            async { self.client.query("SELECT ringfence.token_use($1, $2)", &[&tenant, &token]).await };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(_)) => Outcome::answered("ok"),
            Ok(Err(error)) => Outcome::of_database(&error),
            Err(_) => Outcome::stopped(ringfence_context::Layer::Guard, "silent"),
        }
    }

    /// The first column of the first row a statement gives, as text; what refused it otherwise.
    pub(crate) async fn value(&self, statement: &str) -> Result<Option<String>, Outcome> {
        let messages = match timeout(PATIENCE, self.client.simple_query(statement)).await {
            Ok(answered) => answered.map_err(|error| Outcome::of_database(&error))?,
            Err(_) => return Err(Outcome::stopped(ringfence_context::Layer::Guard, "silent")),
        };
        Ok(messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        }))
    }

    /// How a statement ends, in a word that two runs of it can be compared by: its first value or its whole error.
    pub(crate) async fn told(&self, statement: &str) -> String {
        match timeout(PATIENCE, self.client.simple_query(statement)).await {
            Err(_) => "silent".to_owned(),
            Ok(Err(error)) => error.as_db_error().map_or_else(
                || "closed".to_owned(),
                |told| {
                    let detail = told.detail().unwrap_or_default();
                    let parts = [told.message(), detail, told.constraint().unwrap_or_default()];
                    format!("{} {}", told.code().code(), parts.join(" "))
                },
            ),
            Ok(Ok(messages)) => messages
                .iter()
                .map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0).unwrap_or("NULL").to_owned(),
                    SimpleQueryMessage::CommandComplete(count) => format!("{count} rows"),
                    _ => String::new(),
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

impl Attacker {
    /// Opens a session as `user` with `password`.
    ///
    /// # Errors
    /// What refused it.
    pub(crate) async fn open(&self, user: &str, password: &str) -> Result<Session, Outcome> {
        let mut config = Config::new();
        config.user(user).password(password).dbname(&self.scene().database);
        self.open_with(&config).await
    }

    /// Opens a session as `config` says.
    ///
    /// # Errors
    /// What refused it.
    pub(crate) async fn open_with(&self, config: &Config) -> Result<Session, Outcome> {
        let closed = |_| Outcome::stopped(ringfence_context::Layer::Guard, "closed");
        let stream = TcpStream::connect(self.scene().guard).await.map_err(closed)?;
        let tap = Tap::new(stream, &self.transcript);
        let opened = timeout(PATIENCE, config.connect_raw(tap, NoTls)).await;
        let opened = opened.map_err(|_| Outcome::stopped(ringfence_context::Layer::Guard, "silent"))?;
        let (client, connection) = opened.map_err(|error| Outcome::of_database(&error))?;
        tokio::spawn(async move {
            // Ends with the session; what went wrong shows in its statements.
            let _ = connection.await;
        });
        Ok(Session { client })
    }

    /// Opens a session of his own tenant, as he legitimately may.
    ///
    /// # Errors
    /// What refused it.
    pub(crate) async fn session(&self) -> Result<Session, Outcome> {
        let token = self.loot().database.as_ref().ok_or_else(|| self.loot().exchange.clone())?;
        self.open(ATTACKER, token).await
    }

    /// Opens a session of the victim's, in the victim's hands.
    ///
    /// # Errors
    /// What refused it.
    pub(crate) async fn victims_session(&self) -> Result<Session, Outcome> {
        let token = self.loot().victims_database.clone().unwrap_or_default();
        self.victim().open(VICTIM, &token).await
    }

    /// Runs strings of statements in a session of his own, giving up the transaction that any of them begins; the
    /// attack ends as the one that came furthest.
    pub(crate) async fn sql_any(&self, tries: &[&str]) -> Outcome {
        let session = match self.session().await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let mut outcomes = Vec::new();
        for statements in tries {
            outcomes.push(session.one(statements).await);
            if statements.starts_with("BEGIN") {
                let _ = session.one("ROLLBACK").await;
            }
        }
        Outcome::furthest(outcomes)
    }

    /// Runs a statement twice in sessions of his own, about an id of the victim's and one that nobody has: `{}` stands
    /// for it. Different words are an oracle.
    pub(crate) async fn sql_compare(&self, exists: &str, statement: &str) -> Outcome {
        let session = match self.session().await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let absent = self.nobody().to_string();
        let outcome = session.one("SELECT 1").await;
        let mut told = Vec::new();
        for id in [exists, &absent] {
            let _ = session.one("BEGIN").await;
            told.push(session.told(&statement.replace("{}", id)).await.replace(id, "*"));
            let _ = session.one("ROLLBACK").await;
        }
        let leak = match told.as_slice() {
            [found, missing] => Self::texts_differ(found, missing),
            _ => None,
        };
        outcome.leaking(leak)
    }

    /// Opens a session as anyone and runs one statement.
    pub(crate) async fn query_as(&self, user: &str, password: &str, statement: &str) -> Outcome {
        match self.open(user, password).await {
            Ok(session) => session.one(statement).await,
            Err(outcome) => outcome,
        }
    }
}
