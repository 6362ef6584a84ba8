//! What a client says before it has a session: start-up packets, requests of other kinds, and a password, which is two tokens.
//!
//! The guard that hears it has the admission that serves, for two tenants with keys of their own. What is held against every
//! opening: nobody is admitted but with the very token of the tenant it says it is, and nothing is answered but what may be
//! without a session.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use ringfence_context::{
    AccessClaims, AccessVerifier, Clock, DatabaseToken, IssuerKeys, Issuers, Layer, Permit, RawToken, Reason,
    Record, Reference, Refusal, Seal, StoreAnswer, TenantContext, TenantId, TokenId, UnixTime, Verdict,
    VerifyAccess, access,
    id::{ClientId, StoreId, Subject},
    key::{MacKey, SigningKey},
    txn::{Purpose, TxnSigner, TxnVerifier},
};
use ringfence_guard::{
    Admission, Guard, MintContexts, RoleName,
    admission::Admit,
    proxy::{Endpoint, GuardSettings, Placement, ServerSettings, Together},
};
use tokio::runtime::{Builder, Runtime};

use crate::World;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const TENANTS: [&str; 2] = ["acme", "globex"];

static DOOR: LazyLock<Door> = LazyLock::new(Door::new);

/// A guard, the tokens that open it, and who was admitted.
struct Door {
    runtime: Runtime,
    guard: Guard,
    tokens: [String; 2],
    admitted: Arc<Mutex<Vec<(String, String)>>>,
}

/// Feeds one.
///
/// # Panics
/// Where somebody is admitted who must not be, or is told something else than why it is turned away.
pub fn run(_: &World, input: &[u8]) {
    admitted(input);
}

/// Who was admitted. The input is in pieces: a byte for what it is and how long, then that much. It is said as it stands; or it is
/// a password with a good token of the one or the other tenant, and says where that is bent: at which byte, and how.
///
/// # Panics
/// As [`run`].
pub fn admitted(mut input: &[u8]) -> Vec<String> {
    let door = &*DOOR;
    let mut said = Vec::new();
    while let Some((&head, rest)) = input.split_first() {
        let (piece, later) = rest.split_at(usize::from(head >> 2).min(rest.len()));
        input = later;
        said.push(match head & 3 {
            0 | 1 => piece.to_vec(),
            of => password(&door.tokens[usize::from(of - 2)], piece),
        });
    }
    let told = door.runtime.block_on(ringfence_guard::proxy::open(&door.guard, &said));
    may_be_told(&told);
    let admitted = std::mem::take(&mut *door.admitted.lock().unwrap_or_else(PoisonError::into_inner));
    for (tenant, token) in &admitted {
        let own = TENANTS.iter().position(|known| known == tenant).map(|at| &door.tokens[at]);
        assert_eq!(own, Some(token), "{tenant} was admitted with another token than its own");
    }
    admitted.into_iter().map(|(tenant, _)| tenant).collect()
}

/// A password message, bent.
fn password(token: &str, bends: &[u8]) -> Vec<u8> {
    let mut text = token.as_bytes().to_vec();
    for bend in bends.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([bend[0], bend[1]])) % text.len();
        text[at] ^= bend[2];
    }
    let length = i32::try_from(text.len() + 5).expect("a short one").to_be_bytes();
    [b"p", &length[..], &text, b"\0"].concat()
}

/// Answers to requests for encryption; then questions for a password, other versions, and why there is no session.
fn may_be_told(told: &[u8]) {
    let mut rest = told;
    while let [b'N', after @ ..] = rest {
        rest = after;
    }
    while let [tag, a, b, c, d, body @ ..] = rest {
        let length = usize::try_from(i32::from_be_bytes([*a, *b, *c, *d])).expect("a length") - 4;
        let allowed = match tag {
            // For a password, in the clear; and not that it was right.
            b'R' => body.starts_with(&3_i32.to_be_bytes()),
            b'v' | b'E' => true,
            _ => false,
        };
        assert!(allowed, "{told:?}");
        rest = &body[length..];
    }
    assert!(rest.is_empty(), "{told:?}");
}

/// The admission that serves, and a note of whom it lets in.
struct Noted(Admission, Arc<Mutex<Vec<(String, String)>>>);

impl Admit for Noted {
    fn admit(
        &self,
        user: &TenantId,
        token: &DatabaseToken,
        now: UnixTime,
    ) -> Result<Option<Permit>, Refusal> {
        let permit = self.0.admit(user, token, now)?;
        let of = permit.as_ref().map(|permit| permit.context().tenant());
        assert_eq!(of, Some(user));
        let mut admitted = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        admitted.push((user.to_string(), token.reveal()));
        drop(admitted);
        Ok(permit)
    }

    fn still(&self, permit: &Permit, now: UnixTime) -> Result<(), Refusal> {
        self.0.still(permit, now)
    }
}

struct Standing;

impl Clock for Standing {
    fn now(&self) -> UnixTime {
        NOW
    }
}

struct Unrecorded;

impl Record for Unrecorded {
    fn record(&self, _: Verdict) {}
}

struct Registry(Vec<Arc<IssuerKeys>>);

impl Issuers for Registry {
    fn issuer(&self, url: &str) -> Result<Arc<IssuerKeys>, Refusal> {
        let found = self.0.iter().find(|issuer| issuer.issuer == url).cloned();
        found.ok_or(Refusal::new(Layer::Token, Reason::TokenInvalid, "no such issuer"))
    }

    fn check_live(&self, _: &TenantContext) -> Result<(), Refusal> {
        Ok(())
    }

    fn revision(&self, _: &TenantId) -> u64 {
        1
    }
}

impl Door {
    fn new() -> Self {
        let signer = TxnSigner::new(key(), "https://gw".to_owned(), "plane".to_owned());
        let made = TENANTS.map(|tenant| tokens(tenant, &signer));
        let admission = Admission {
            issuers: Arc::new(Registry(made.iter().map(|(issuer, _)| Arc::clone(issuer)).collect())),
            access: Arc::new(AccessVerifier),
            txn: Arc::new(TxnVerifier {
                keys: vec![signer.public().clone()],
                issuer: "https://gw".to_owned(),
                audience: "plane".to_owned(),
            }),
        };
        let admitted = Arc::default();
        // Whoever is admitted finds no Postgres.
        let server = ServerSettings {
            endpoint: Endpoint::Unix(PathBuf::from("/nowhere")),
            database: name("ledger"),
            role: name("app"),
            password: None,
            search_path: "public".to_owned(),
        };
        let guard = Guard::new(
            GuardSettings::new(name("ledger")),
            Arc::new(Together(Placement::new(server))),
            Arc::new(Noted(admission, Arc::clone(&admitted))),
            Arc::new(MintContexts::new(MacKey::generate().expect("a key"))),
            Arc::new(Standing),
            Arc::new(Unrecorded),
        );
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, guard, tokens: made.map(|(_, token)| token), admitted }
    }
}

fn name(name: &str) -> RoleName {
    RoleName::new(name).expect("a name")
}

fn key() -> SigningKey {
    SigningKey::generate().expect("a key").0
}

/// A tenant's issuer, and a database token of a user of its.
fn tokens(tenant: &str, signer: &TxnSigner) -> (Arc<IssuerKeys>, String) {
    let (key, tenant) = (key(), TenantId::new(tenant).expect("an id"));
    let issuer = IssuerKeys {
        tenant: tenant.clone(),
        issuer: format!("https://gw/t/{tenant}"),
        audience: "https://gw".to_owned(),
        keys: vec![key.public().clone()],
    };
    let (jti, exp) = (TokenId::new("t-1").expect("an id"), NOW.seconds() + 300);
    let claims = AccessClaims {
        iss: issuer.issuer.clone(),
        sub: Subject::new("u-1").expect("an id"),
        aud: issuer.audience.clone(),
        exp,
        iat: NOW.seconds(),
        client_id: ClientId::new("web").expect("an id"),
        tenant_id: tenant.clone(),
        roles: Arc::from([]),
        seal: Seal::issue(&MacKey::generate().expect("a key"), &tenant, &jti, exp),
        jti,
        job: None,
    };
    let text = key.sign(access::TYP, &claims).expect("a token");
    let raw = RawToken::new(&text).expect("a token");
    let verified = AccessVerifier.verify(&raw, &issuer, NOW).expect("a good one");
    let context = AccessVerifier.bind(verified, &tenant).expect("its own");
    let answer = StoreAnswer {
        store: StoreId::new("s-1").expect("an id"),
        store_tenant: tenant,
        allow: true,
        determining: vec![],
        errors: vec![],
        revision: 1,
    };
    let permit = Permit::decide(&context, "database", &answer).expect("a permit");
    let txn = signer.mint(&permit, Purpose::Database, "-", Reference::new("r-1").expect("an id"), NOW);
    (Arc::new(issuer), format!("{text}~{}", txn.expect("a token")))
}
