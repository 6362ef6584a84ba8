//! From an accepted connection to an admitted session.

mod fuzzed;

use std::sync::Arc;

use bytes::BytesMut;
use ringfence_context::{
    Layer, Permit, Reason, Reference, Refusal, TenantId,
    key::{KeyError, random},
    limits,
};
use tokio::sync::watch;

use super::{
    AUTHENTICATE_WITHIN, LAST_WORDS_WITHIN, Shared,
    frame::{self, HEAD_BYTES},
    peer::Peer,
    pool::SessionId,
    reply::{self, Failure, Severity, sqlstate},
    session::{self, Session, Whose},
    startup::{self, Opening, OpeningError, Settings, Startup},
    statements::Prepared,
    timer::Timer,
};

pub use self::fuzzed::open;

/// Serves one accepted connection to its end.
/// `private`: nobody is between.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut client: Peer,
    private: bool,
    shutdown: watch::Receiver<bool>,
) {
    let opening = startup::receive(&mut client, shared.settings.identity.as_ref());
    let startup = match tokio::time::timeout(AUTHENTICATE_WITHIN, opening).await {
        Ok(Ok((Opening::Start(startup), secure))) => {
            if !secure && !shared.settings.plaintext.is_allowed(private) {
                // Before it says its password.
                return say(client, &in_the_clear()).await;
            }
            startup
        }
        Ok(Ok((Opening::Cancel { pid, secret }, _))) => {
            return shared.cancels.cancel((pid, secret)).await;
        }
        Ok(Err(OpeningError::Malformed)) => return say(client, &session::protocol_violation()).await,
        Ok(Err(OpeningError::Gone)) | Err(_) => return,
    };
    // Held until the session ends.
    let Ok(_place) = shared.sessions.try_acquire() else {
        let full = Failure::fatal(
            sqlstate::TOO_MANY_CONNECTIONS,
            "Too many clients are connected to the guard.",
            "Close connections you do not use, or raise the guard's clients.",
        );
        return say(client, &full).await;
    };
    let id = shared.session_id();
    let admitted = tokio::time::timeout(AUTHENTICATE_WITHIN, admit(&shared, id, &mut client, startup)).await;
    match admitted {
        Ok(Ok(Admitted { user, permit, settings, reference })) => {
            let Ok(cancel) = shared.cancels.issue() else { return };
            reply::backend_key_data(&mut client.outbound, cancel.key);
            reply::ready_for_query(&mut client.outbound, b'I');
            let shared = Arc::clone(&shared);
            let prepared = Prepared::default();
            let [transaction, wait] =
                [shared.settings.caps.transaction, shared.settings.wait].map(Timer::new);
            let mut shutdown = shutdown;
            let shutdown = Box::pin(async move {
                // An error means that whoever could say so is gone: stop as well.
                let _ = shutdown.wait_for(|down| *down).await;
            });
            Session {
                shared,
                id,
                client,
                whose: Some(Whose { user, permit }),
                uses_tokens: false,
                portal: None,
                settings,
                set: Settings::default(),
                prepared,
                cancel,
                reference,
                shutdown,
                transaction,
                wait,
            }
            .run()
            .await;
        }
        Ok(Err(Turned::Away(failure))) => say(client, &failure).await,
        Ok(Err(Turned::Gone)) | Err(_) => {}
    }
}

fn in_the_clear() -> Failure {
    Failure::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "The guard takes tokens over TLS only.",
        "Connect with sslmode=verify-full.",
    )
}

struct Admitted {
    user: TenantId,
    permit: Option<Permit>,
    settings: Settings,
    reference: Reference,
}

/// Why a client has no session.
enum Turned {
    Away(Failure),
    Gone,
}

impl From<super::peer::Gone> for Turned {
    fn from(_: super::peer::Gone) -> Self {
        Self::Gone
    }
}

async fn admit(
    shared: &Shared,
    id: SessionId,
    client: &mut Peer,
    startup: Startup,
) -> Result<Admitted, Turned> {
    if startup.newer_minor || !startup.unknown_options.is_empty() {
        reply::negotiate_version(&mut client.outbound, &startup.unknown_options);
    }
    reply::ask_password(&mut client.outbound);
    client.flush().await?;
    let password = password(client).await?;
    let reference = match startup.reference {
        Some(reference) => reference,
        None => new_reference().map_err(|_| Turned::Gone)?,
    };
    let user = startup.user;
    let permit = shared.admit(user.as_ref(), &password).map_err(|refusal| {
        shared.record_for(user.as_ref(), &reference, Some(&refusal));
        Turned::Away(Failure::turned_away(Severity::Fatal, &refusal, &reference))
    })?;
    if startup.database != shared.settings.database.as_str() {
        let refusal = Refusal::new(Layer::Guard, Reason::NotServed, "another database");
        shared.record_for(user.as_ref(), &reference, Some(&refusal));
        let failure = Failure::refusal(Severity::Fatal, sqlstate::INVALID_DATABASE, &refusal, &reference);
        return Err(Turned::Away(failure));
    }
    if startup.refused_parameter {
        return Err(Turned::Away(Failure::fatal(
            sqlstate::UNSUPPORTED,
            "A start-up parameter is not supported here.",
            "Leave out settings that change what statements do; SET them after connecting.",
        )));
    }
    // Whoever is admitted is a tenant.
    let Some(user) = user else { return Err(Turned::Gone) };
    let placement = shared.placed(&user).await.map_err(|refusal| {
        shared.record_for(Some(&user), &reference, Some(&refusal));
        Turned::Away(Failure::turned_away(Severity::Fatal, &refusal, &reference))
    })?;
    let claim = shared.claim(&user, permit.as_ref());
    let waited = tokio::time::sleep(shared.settings.wait);
    let parameters = shared.pool.parameters(id, claim, &placement, &startup.settings, waited).await;
    let parameters = parameters
        .map_err(|error| Turned::Away(session::unavailable(Severity::Fatal, &error, &reference)))?;
    shared.record_for(Some(&user), &reference, None);
    greet(client, &parameters);
    Ok(Admitted { user, permit, settings: startup.settings, reference })
}

/// What Postgres reports at start-up.
fn greet(client: &mut Peer, parameters: &[(String, String)]) {
    reply::authentication_ok(&mut client.outbound);
    for (name, value) in parameters {
        reply::parameter_status(&mut client.outbound, name, value);
    }
}

/// The password message, without its zero.
async fn password(client: &mut Peer) -> Result<BytesMut, Turned> {
    let violation = || Turned::Away(session::protocol_violation());
    let head = loop {
        match frame::head(&client.inbound, limits::PG_PASSWORD_BYTES).map_err(|_| violation())? {
            Some(head) => break head,
            None => client.fill().await?,
        }
    };
    if head.tag != b'p' {
        return Err(violation());
    }
    while client.inbound.len() < head.len {
        client.fill().await?;
    }
    let mut message = client.inbound.split_to(head.len);
    let mut password = message.split_off(HEAD_BYTES);
    if password.last() == Some(&0) {
        password.truncate(password.len() - 1);
    }
    Ok(password)
}

pub(super) fn new_reference() -> Result<Reference, KeyError> {
    let number = u64::from_be_bytes(random::<8>()?);
    Reference::new(&format!("db-{number:016x}")).map_err(|_| KeyError::Malformed)
}

/// Says why, and closes.
async fn say(mut client: Peer, failure: &Failure) {
    failure.write(&mut client.outbound);
    // It may not be listening any more.
    let _ = tokio::time::timeout(LAST_WORDS_WITHIN, client.flush()).await;
}
