//! What is said to the guard, and what of its answers is believed.

use std::{sync::Arc, time::SystemTime};

use ringfence_context::{
    AccessClaims, AccessVerifier, DatabaseToken, IssuerKeys, RawToken, Reference, Seal, StoreAnswer,
    TenantId, TokenId, UnixTime, VerifyAccess, access,
    id::{ClientId, StoreId, Subject},
    key::{MacKey, SigningKey},
};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    ask::{AskStore, Asking},
    session::{self, Proof},
};

/// Nobody asks it here.
struct Silent;

impl AskStore for Silent {
    fn permit<'a>(&'a self, _: &'a Proof, _: session::Subject<'a>, _: Map<String, Value>) -> Asking<'a> {
        let silent = Refusal::new(Layer::Backend, Reason::DependencyUnavailable, "nobody is asked");
        Box::pin(async move { Err(silent) })
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is a program: here time comes in")]
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap())
}

/// A session of a tenant, and its permit.
fn session(tenant: &str) -> (TenantSession, Permit) {
    let (signing, _) = SigningKey::generate().unwrap();
    let tenant = TenantId::new(tenant).unwrap();
    let (iss, aud) = (format!("https://gw/t/{tenant}"), "https://gw".to_owned());
    let keys = vec![signing.public().clone()];
    let issuer = IssuerKeys { tenant: tenant.clone(), issuer: iss.clone(), audience: aud.clone(), keys };
    let (jti, iat) = (TokenId::new("t-1").unwrap(), now().seconds());
    let claims = AccessClaims {
        iss,
        sub: Subject::new("u-1").unwrap(),
        aud,
        exp: iat + 300,
        iat,
        client_id: ClientId::new("web").unwrap(),
        tenant_id: tenant.clone(),
        roles: [].into(),
        seal: Seal::issue(&MacKey::generate().unwrap(), &tenant, &jti, iat + 300),
        jti,
        job: None,
    };
    let token = signing.sign(access::TYP, &claims).unwrap();
    let verified = AccessVerifier.verify(&RawToken::new(&token).unwrap(), &issuer, now()).unwrap();
    let context = AccessVerifier.bind(verified, &tenant).unwrap();
    let answer = StoreAnswer {
        store: StoreId::new("s-1").unwrap(),
        store_tenant: tenant,
        allow: true,
        determining: vec![],
        errors: vec![],
        revision: 1,
    };
    let edge = Permit::decide(&context, "list", &answer).unwrap();
    let tokens = Arc::new(DatabaseToken::new(&format!("{token}~{token}")).unwrap());
    let reference = Reference::new("req-1").unwrap();
    let proof = Proof { context, edge: edge.clone(), tokens, reference };
    (TenantSession::new(proof, Arc::new(Silent)), edge)
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &i32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

/// Everything up to a Sync.
async fn batch(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = vec![];
    loop {
        let tag = stream.read_u8().await.unwrap();
        let mut body = vec![0; usize::try_from(stream.read_i32().await.unwrap()).unwrap() - 4];
        stream.read_exact(&mut body).await.unwrap();
        said.extend(frame(tag, &body));
        if tag == b'S' {
            return said;
        }
    }
}

/// A client of one that takes every token, and says that it serves `served`; and what it was told.
async fn guard(served: &'static str) -> (Client, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut opening = vec![0; usize::try_from(stream.read_i32().await.unwrap()).unwrap() - 4];
        stream.read_exact(&mut opening).await.unwrap();
        stream.write_all(&[frame(b'R', &[0; 4]), frame(b'Z', b"I")].concat()).await.unwrap();
        let said = batch(&mut stream).await;
        let column = [&b"\0\x01token_use\0"[..], &[0; 6], &[0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0]];
        let parameters = [&[0, 3][..], &[0, 0, 0, 25].repeat(3)].concat();
        let len = i32::try_from(served.len()).unwrap().to_be_bytes();
        let row = [&[0, 1][..], &len, served.as_bytes()].concat();
        let answers = [
            frame(b'1', b""),
            frame(b'2', b""),
            frame(b't', &parameters),
            frame(b'T', &column.concat()),
            frame(b'D', &row),
            frame(b'C', b"SELECT 1\0"),
            frame(b'Z', b"I"),
        ];
        stream.write_all(&answers.concat()).await.unwrap();
        said
    });
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("acme").ssl_mode(SslMode::Disable);
    (connect(&config, NoTls).await.unwrap(), told)
}

fn reason_of(result: Result<(), DatabaseError>) -> Option<Reason> {
    match result {
        Ok(()) => None,
        Err(DatabaseError::Refused(refusal)) => Some(refusal.reason),
        Err(DatabaseError::Statement(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_pooled_connection_is_given_to_a_request_by_bound_tokens() {
    let (session, permit) = session("acme");
    let (client, told) = guard("acme").await;
    token_use(&client, &session, &permit).await.unwrap();
    let said = told.await.unwrap();
    let has = |part: &[u8]| said.windows(part.len()).any(|found| found == part);
    assert!(has(b"\0SELECT ringfence.token_use($1, $2, $3)\0"));
    for value in ["acme", &session.tokens().reveal(), "req-1"] {
        let len = i32::try_from(value.len()).unwrap().to_be_bytes();
        assert!(has(&[&len, value.as_bytes()].concat()), "{value}");
    }
}

#[tokio::test]
async fn whoever_is_said_to_be_served_instead_is_not_believed() {
    let (session, permit) = session("acme");
    let (client, _told) = guard("globex").await;
    assert_eq!(reason_of(token_use(&client, &session, &permit).await), Some(Reason::SourcesDisagree));
    // And another tenant's permit is none, before anything is said.
    let (_, foreign) = self::session("globex");
    let (client, told) = guard("acme").await;
    assert_eq!(reason_of(token_use(&client, &session, &foreign).await), Some(Reason::SourcesDisagree));
    assert!(!told.is_finished());
}
