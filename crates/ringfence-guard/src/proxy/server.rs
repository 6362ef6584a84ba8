//! One connection to Postgres, logged in as the application's role.

mod fuzzed;

use std::{sync::Arc, time::Duration};

use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{
        backend::{AuthenticationSaslBody, DataRowBody, ErrorResponseBody, Message},
        frontend,
    },
};
use ringfence_context::{DatabaseContext, Secret, TenantId, database::Backend, limits};

pub use self::fuzzed::log_in;
use super::{
    endpoint::Endpoint,
    frame,
    peer::{Duplex, Gone, Peer},
    placement::Placement,
    prologue,
    reply::sqlstate,
    startup::Settings,
    statements::Planned,
};
use crate::role::RoleName;

/// How long logging in may take.
const LOGIN_WITHIN: Duration = Duration::from_secs(10);

/// Given at start-up: these outrank what is stored for the role (ALTER ROLE ... SET, which any role may do to itself).
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("row_security", "on"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("local_preload_libraries", ""),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("application_name", "ringfence"),
];

/// What a role may store for itself that ends its connections, or makes it another role, before it is removed.
const RESETTING: &[(&str, &str)] = &[
    ("role", "none"),
    ("transaction_read_only", "off"),
    ("exit_on_error", "off"),
    ("tcp_user_timeout", "0"),
    ("tcp_keepalives_idle", "0"),
    ("tcp_keepalives_interval", "0"),
    ("tcp_keepalives_count", "0"),
    ("client_connection_check_interval", "0"),
];

/// The same, of Postgres 17 and later.
const RESETTING_SINCE_17: &[(&str, &str)] = &[("transaction_timeout", "0")];

/// How often what is stored is removed before a connection is given up.
const RESETS: usize = 16;

/// Which database, and as whom.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where Postgres is.
    pub endpoint: Endpoint,
    /// The database.
    pub database: RoleName,
    /// The application's role.
    pub role: RoleName,
    /// Its password, where Postgres asks for one (SCRAM-SHA-256 only).
    pub password: Option<Secret<String>>,
    /// `search_path` of every session.
    pub search_path: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("Postgres is not reachable: {0}")]
    Io(#[from] std::io::Error),
    #[error("Postgres closed the connection")]
    Gone,
    #[error("Postgres does not let {role} in: SQLSTATE {sqlstate}", role = .0, sqlstate = .1)]
    Refused(RoleName, String),
    #[error("Postgres asks for an authentication that is not supported: use peer, trust or scram-sha-256")]
    Authentication,
    #[error(
        "Postgres lets {0} in without asking for the password that is set, and so has not proved that it knows it: let \
         pg_hba.conf ask for it (scram-sha-256), or set none"
    )]
    Unproved(RoleName),
    #[error("Postgres said something unexpected while logging in")]
    Unexpected,
    #[error("Postgres took too long")]
    Timeout,
}

impl From<Gone> for ConnectError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Names and values, as `ParameterStatus` gives them.
pub(super) type Parameters = Arc<Vec<(String, String)>>;

/// A logged-in connection.
pub(super) struct ServerConnection {
    pub(super) peer: Peer,
    /// Where it leads.
    pub(super) placement: Arc<Placement>,
    /// How values look on it, by what it was opened with.
    pub(super) settings: Settings,
    /// What contexts for it are bound to.
    pub(super) backend: Backend,
    /// Process id and secret for cancel requests.
    pub(super) cancel_key: (i32, i32),
    /// What Postgres reports at start-up, for the client.
    pub(super) parameters: Parameters,
    /// The function that gives the session to a tenant (an oid of `pg_proc`).
    pub(super) context_set: u32,
    /// Whether any client has had it since it was new or cleaned.
    pub(super) used: bool,
    /// What may be left behind on it.
    pub(super) leaves: Leaves,
    /// What the client that had it last has left.
    pub(super) session: ServerSession,
}

/// What functions of the database may leave behind in a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaves {
    /// Something unseen.
    keeps: bool,
    /// Something that cleaning does not reach.
    pub(super) outlasts: bool,
    /// Locks by number.
    pub(super) locks: bool,
}

/// What a client's session leaves on a connection.
#[derive(Debug, Default)]
pub(super) struct ServerSession {
    /// Whose rows it can reach.
    pub(super) tenant: Option<TenantId>,
    /// The context Postgres has accepted last.
    pub(super) context: Option<DatabaseContext>,
    pub(super) planned: Planned,
    /// What it has set, and the guard sets again for it on other connections.
    pub(super) set: Settings,
    /// Whether there may be more that no one knows of.
    pub(super) may_keep: bool,
}

impl ServerConnection {
    /// Whether a client of `tenant` may have it as it is: it was the same tenant's, and nothing is left but statements
    /// and a context that is asked for anew.
    pub(super) fn suits(&self, tenant: Option<&TenantId>) -> bool {
        let session = &self.session;
        let dirty = session.may_keep || self.leaves.keeps || self.leaves.outlasts;
        tenant.is_some() && session.tenant.as_ref() == tenant && !dirty
    }
}

impl Placement {
    /// Logs in and learns the backend's name.
    ///
    /// A tenant may have stored settings for the role all tenants share (ALTER ROLE on oneself can't be forbidden): the
    /// database then refuses the connection a name, or it ends by what was stored. They are removed, and it is tried again;
    /// more than once, for they may be stored again meanwhile.
    pub(super) async fn connect(
        self: &Arc<Self>,
        settings: &Settings,
    ) -> Result<ServerConnection, ConnectError> {
        let attempts = async {
            for _ in 0..RESETS {
                match self.log_in(settings).await {
                    Err(Ended { error, may_be_stored: true }) => {
                        let role = &self.server.role;
                        tracing::warn!(%role, %error, "removing what was stored for the application's role");
                        match self.reset_role().await {
                            // Somebody else is at it: Postgres lets one at a time.
                            Ok(()) | Err(ConnectError::Refused(..)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Err(Ended { error: ConnectError::Refused(role, code), .. })
                        if code == sqlstate::INVALID_PASSWORD =>
                    {
                        tracing::warn!(%role, "Postgres does not take the role's password; putting it back");
                        let put = match &self.passwords {
                            Some(passwords) => passwords.put_password().await,
                            None => false,
                        };
                        if !put {
                            return Err(ConnectError::Refused(role, code));
                        }
                    }
                    other => return other.map_err(|ended| ended.error),
                }
            }
            self.log_in(settings).await.map_err(|ended| ended.error)
        };
        tokio::time::timeout(LOGIN_WITHIN, attempts).await.map_err(|_| ConnectError::Timeout)?
    }

    async fn log_in(self: &Arc<Self>, settings: &Settings) -> Result<ServerConnection, Ended> {
        let mut login = Login::begin(&self.server, SETTINGS, settings).await?;
        let (cancel_key, parameters) = login.until_ready().await.map_err(Ended::after_settings)?;
        let (backend, leaves, context_set) = login.register().await.map_err(Ended::after_settings)?;
        Ok(ServerConnection {
            peer: login.peer,
            placement: Arc::clone(self),
            settings: settings.clone(),
            backend,
            cancel_key,
            parameters: Arc::new(parameters),
            context_set,
            used: false,
            leaves,
            session: ServerSession::default(),
        })
    }

    /// Removes what is stored for the role, on a connection that nothing stored can end.
    async fn reset_role(&self) -> Result<(), ConnectError> {
        let begin = async |settings: &[(&str, &str)]| {
            let mut login = Login::begin(&self.server, settings, &Settings::default()).await?;
            login.until_ready().await?;
            Ok(login)
        };
        let all = [SETTINGS, RESETTING, RESETTING_SINCE_17].concat();
        let mut login = match begin(&all).await {
            Err(ConnectError::Refused(_, code)) if code == sqlstate::UNDEFINED_OBJECT => {
                begin(&[SETTINGS, RESETTING].concat()).await?
            }
            other => other?,
        };
        login.reset_role().await
    }
}

/// Why logging in came to its end.
struct Ended {
    error: ConnectError,
    /// Whether a setting may have done it that is stored for the role.
    may_be_stored: bool,
}

impl From<ConnectError> for Ended {
    fn from(error: ConnectError) -> Self {
        Self { error, may_be_stored: false }
    }
}

impl Ended {
    /// Since Postgres has read what is stored.
    fn after_settings(error: ConnectError) -> Self {
        let may_be_stored = match &error {
            ConnectError::Gone | ConnectError::Io(_) => true,
            ConnectError::Refused(_, code) => code != sqlstate::INVALID_PARAMETER,
            _ => false,
        };
        Self { error, may_be_stored }
    }
}

struct Login<'a> {
    settings: &'a ServerSettings,
    peer: Peer,
    /// How many bytes Postgres may still say.
    left: usize,
}

type CancelKeyAndParameters = ((i32, i32), Vec<(String, String)>);

impl<'a> Login<'a> {
    /// Connects and authenticates.
    async fn begin(
        server: &'a ServerSettings,
        settings: &[(&str, &str)],
        clients: &Settings,
    ) -> Result<Self, ConnectError> {
        Self::over(server.endpoint.connect().await?, server, settings, clients).await
    }

    /// Authenticates to whoever is at the other end.
    async fn over(
        io: impl Duplex + 'static,
        server: &'a ServerSettings,
        settings: &[(&str, &str)],
        clients: &Settings,
    ) -> Result<Self, ConnectError> {
        let mut login = Self { settings: server, peer: Peer::new(io), left: limits::PG_LOGIN_BYTES };
        let ServerSettings { database, role, search_path, .. } = server;
        let own = [("user", role.as_str()), ("database", database.as_str()), ("search_path", search_path)];
        // Of a name that comes twice the last counts: the client's.
        let all = own.into_iter().chain(settings.iter().copied()).chain(clients.iter());
        frontend::startup_message(all, &mut login.peer.outbound)?;
        login.peer.flush().await?;
        login.authenticate().await?;
        Ok(login)
    }

    /// The next message; errors of Postgres by their SQLSTATE. What is announced as more than may be is not waited for.
    async fn message(&mut self) -> Result<Message, ConnectError> {
        loop {
            let head = frame::head(&self.peer.inbound, self.left.saturating_sub(1));
            match head.map_err(|_| ConnectError::Unexpected)? {
                Some(head) if head.len <= self.peer.inbound.len() => {
                    self.left = self.left.saturating_sub(head.len);
                }
                _ => {
                    self.peer.fill().await?;
                    continue;
                }
            }
            match Message::parse(&mut self.peer.inbound)? {
                Some(Message::ErrorResponse(body)) => {
                    return Err(ConnectError::Refused(self.settings.role.clone(), code(&body)));
                }
                Some(Message::NoticeResponse(_) | Message::NotificationResponse(_)) => {}
                Some(message) => return Ok(message),
                None => return Err(ConnectError::Unexpected),
            }
        }
    }

    /// With a password, both sides prove that they know it. A server that does not ask for it is believed only where the way to it
    /// shows who it is; and without one, where that is private.
    async fn authenticate(&mut self) -> Result<(), ConnectError> {
        let password = match (self.message().await?, &self.settings.password) {
            (Message::AuthenticationOk, Some(_)) if !self.settings.endpoint.proves_itself() => {
                return Err(ConnectError::Unproved(self.settings.role.clone()));
            }
            (Message::AuthenticationOk, _) => return Ok(()),
            (Message::AuthenticationSasl(body), Some(password)) if offers(&body, SCRAM_SHA_256) => password,
            _ => return Err(ConnectError::Authentication),
        };
        let mut scram = ScramSha256::new(password.reveal().as_bytes(), ChannelBinding::unsupported());
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.peer.outbound)?;
        self.peer.flush().await?;
        let Message::AuthenticationSaslContinue(body) = self.message().await? else {
            return Err(ConnectError::Unexpected);
        };
        scram.update(body.data())?;
        frontend::sasl_response(scram.message(), &mut self.peer.outbound)?;
        self.peer.flush().await?;
        let Message::AuthenticationSaslFinal(body) = self.message().await? else {
            return Err(ConnectError::Unexpected);
        };
        // Here the server proves that it knows the password too.
        scram.finish(body.data())?;
        match self.message().await? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(ConnectError::Unexpected),
        }
    }

    async fn until_ready(&mut self) -> Result<CancelKeyAndParameters, ConnectError> {
        let (mut cancel_key, mut parameters) = ((0, 0), Vec::new());
        loop {
            match self.message().await? {
                Message::ParameterStatus(body) => {
                    parameters.push((body.name()?.to_owned(), body.value()?.to_owned()));
                }
                Message::BackendKeyData(body) => cancel_key = (body.process_id(), body.secret_key()),
                Message::ReadyForQuery(_) => return Ok((cancel_key, parameters)),
                _ => return Err(ConnectError::Unexpected),
            }
        }
    }

    /// Asks the database for the backend's name.
    async fn register(&mut self) -> Result<Registered, ConnectError> {
        prologue::query(
            &mut self.peer.outbound,
            "SELECT pid, started, keeps, outlasts, locks, context_set FROM ringfence.backend_register()",
        );
        self.peer.flush().await?;
        let (mut named, mut refused) = (None, None);
        loop {
            match self.message().await {
                Ok(Message::DataRow(row)) => named = backend(&row),
                Ok(Message::ReadyForQuery(_)) => break,
                Ok(Message::RowDescription(_) | Message::CommandComplete(_)) => {}
                Err(error @ ConnectError::Refused(..)) => refused = Some(error),
                Ok(_) => return Err(ConnectError::Unexpected),
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => named.ok_or(ConnectError::Unexpected),
        }
    }

    async fn reset_role(&mut self) -> Result<(), ConnectError> {
        prologue::query(&mut self.peer.outbound, "SELECT ringfence.stored_forget()");
        self.peer.flush().await?;
        while !matches!(self.message().await?, Message::ReadyForQuery(_)) {}
        Ok(())
    }
}

/// The SQLSTATE of an error.
fn code(body: &ErrorResponseBody) -> String {
    let code = body.fields().find(|field| Ok(field.type_() == b'C')).ok().flatten();
    code.map(|field| String::from_utf8_lossy(field.value_bytes()).into_owned()).unwrap_or_default()
}

fn offers(body: &AuthenticationSaslBody, mechanism: &str) -> bool {
    body.mechanisms().any(|offered| Ok(offered == mechanism)).unwrap_or(false)
}

type Registered = (Backend, Leaves, u32);

/// The columns of `backend_register`, in text form.
fn backend(row: &DataRowBody) -> Option<Registered> {
    let mut ranges = row.ranges();
    let mut column = || {
        let range = ranges.next().ok()???;
        std::str::from_utf8(row.buffer().get(range)?).ok()
    };
    let backend = Backend { pid: column()?.parse().ok()?, started: column()?.parse().ok()? };
    let leaves = Leaves { keeps: column()? != "f", outlasts: column()? != "f", locks: column()? != "f" };
    Some((backend, leaves, column()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What becomes of logging in to a server that says this.
    async fn told(endpoint: Endpoint, password: Option<&str>, said: &[Vec<u8>]) -> Result<(), String> {
        let settings = ServerSettings {
            endpoint,
            database: RoleName::new("ledger").unwrap(),
            role: RoleName::new("app").unwrap(),
            password: password.map(|password| Secret::new(password.to_owned())),
            search_path: String::new(),
        };
        let (mut theirs, ours) = tokio::io::duplex(2 * limits::PG_LOGIN_BYTES);
        theirs.write_all(&said.concat()).await.unwrap();
        let mut login = Login::over(ours, &settings, SETTINGS, &Settings::default())
            .await
            .map_err(|error| error.to_string())?;
        login.until_ready().await.map(drop).map_err(|error| error.to_string())
    }

    fn socket() -> Endpoint {
        Endpoint::Unix(PathBuf::new())
    }

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag], &i32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat()
    }

    #[tokio::test]
    async fn reject_pg_login_bytes() {
        let (ok, ready) = (frame(b'R', &[0; 4]), frame(b'Z', b"I"));
        let report = |bytes: usize| frame(b'S', &[b"a\0", &vec![b'x'; bytes - 8][..], b"\0"].concat());
        let rest = limits::PG_LOGIN_BYTES - ok.len() - ready.len();
        for (reports, accepted) in [
            (vec![report(rest)], true),
            (vec![report(rest + 1)], false),
            (vec![report(rest / 2); 2], true),
            (vec![report(rest / 2 + 1); 2], false),
        ] {
            let said = [vec![ok.clone()], reports, vec![ready.clone()]].concat();
            assert_eq!(told(socket(), None, &said).await.is_ok(), accepted);
        }
        // What is announced is not waited for, and nothing is reserved for it.
        let announced = [&[b'S'][..], &i32::MAX.to_be_bytes()].concat();
        assert!(told(socket(), None, &[ok, announced]).await.unwrap_err().contains("unexpected"));
    }

    #[tokio::test]
    async fn a_server_that_does_not_ask_for_the_password_is_not_believed() {
        let said = [frame(b'R', &[0; 4]), frame(b'Z', b"I")];
        let clear = || Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 1, tls: None };
        assert_eq!(told(clear(), None, &said).await, Ok(()));
        assert_eq!(told(socket(), Some("pencil"), &said).await, Ok(()), "the socket's folder is whose it is");
        let refused = told(clear(), Some("pencil"), &said).await.unwrap_err();
        assert!(refused.contains("has not proved that it knows it"), "{refused}");
    }
}
