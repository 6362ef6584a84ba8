//! TLS between clients and the guard: who is let in, in what, and what an attacker in between can do.

use std::{fs, process::Command, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use ringfence_guard::{
    connect,
    proxy::Plaintext,
    tls::{Authorities, Identity},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::fixture::{Running, World, ask, scratch};

/// A guard that is `localhost`, and who vouches for it.
async fn secured(world: &World, plaintext: Plaintext) -> (Running, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = cert.pem();
    let identity = Identity::new(pem.as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
    let guard = world.guard_with(|settings| {
        settings.identity = Some(identity);
        settings.plaintext = plaintext;
    });
    (guard.await, pem)
}

fn psql(world: &World, running: &Running, options: &str) -> Result<String, String> {
    let dsn = format!("host=localhost port={} user=acme dbname={} {options}", running.port, world.database);
    let sql = "SELECT count(*), sum(balance) FROM accounts";
    let done = Command::new("psql")
        .env("PGPASSWORD", world.token(&world.acme))
        .args(["-XAtq", "-d", &dsn, "-c", sql])
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_verifies_the_guard_and_reads_own_rows_in_tls() {
    let world = World::new().await;
    let (running, pem) = secured(&world, Plaintext::Never).await;
    let folder = scratch("tls");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let right = file("right.pem", &pem);
    let wrong = generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let wrong = file("wrong.pem", &wrong);
    assert_eq!(
        psql(&world, &running, &format!("sslmode=verify-full sslrootcert={right}")).unwrap(),
        "3|600\n"
    );
    let refused = psql(&world, &running, &format!("sslmode=verify-full sslrootcert={wrong}")).unwrap_err();
    assert!(refused.contains("certificate verify failed"), "{refused}");
    // Before a token is said: psql was never asked for one.
    let refused = psql(&world, &running, "sslmode=disable").unwrap_err();
    assert!(refused.contains("The guard takes tokens over TLS only."), "{refused}");
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn who_may_speak_in_the_clear_is_as_it_was_set() {
    let world = World::new().await;
    for (plaintext, may) in
        [(Plaintext::Never, false), (Plaintext::Loopback, true), (Plaintext::Always, true)]
    {
        let (running, pem) = secured(&world, plaintext).await;
        let clear = connect(&world.through(&running, &world.acme), None).await;
        assert_eq!(clear.is_ok(), may, "{plaintext:?}");
        // In TLS in any case, and what is said there is long enough to be held back on its way.
        let authorities = Authorities::new(Some(pem.as_bytes())).unwrap();
        let mut config = world.through(&running, &world.acme);
        config.host("localhost").hostaddr("127.0.0.1".parse().unwrap());
        let mut named = tokio_postgres::Config::new();
        named.host("localhost").port(running.port).user("acme").dbname(world.database.as_str());
        named.password(world.token(&world.acme));
        let client = connect(&named, Some(&authorities)).await.unwrap();
        let long = ask(&client, "SELECT length(repeat('x', 3000000)), repeat('y', 3000000)").await.unwrap();
        assert_eq!(long.len(), "3000000|".len() + 3_000_000);
        let sent = "z".repeat(3_000_000);
        assert_eq!(ask(&client, &format!("SELECT length('{sent}')")).await.unwrap(), "3000000");
    }
}

#[tokio::test]
async fn a_guard_without_a_certificate_declines_tls() {
    let world = World::new().await;
    let running = world.guard().await;
    let authorities = Authorities::new(None).unwrap();
    assert!(connect(&world.through(&running, &world.acme), Some(&authorities)).await.is_err());
}

/// A request for TLS.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

#[tokio::test]
async fn what_is_said_before_tls_is_not_taken_for_what_is_said_in_it() {
    let world = World::new().await;
    let (running, _) = secured(&world, Plaintext::Never).await;
    let mut stream = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    // In one piece with the request: somebody in between would put it there.
    let mut said = REQUEST.to_vec();
    said.extend_from_slice(&[0, 0, 0, 19, 0, 3, 0, 0]);
    said.extend_from_slice(b"user\0acme\0\0");
    stream.write_all(&said).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&b'E'), "{:?}", String::from_utf8_lossy(&answer));
}

/// Begins with TLS at once.
async fn at_once(running: &Running, pem: &str, alpn: Option<&[u8]>) -> std::io::Result<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    let stream = TcpStream::connect(("127.0.0.1", running.port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let mut startup = vec![0, 0, 0, 19, 0, 3, 0, 0];
    startup.extend_from_slice(b"user\0acme\0\0");
    stream.write_all(&startup).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn tls_at_once_is_for_who_says_that_it_is_postgres() {
    let world = World::new().await;
    let (running, pem) = secured(&world, Plaintext::Never).await;
    // It is asked for its password.
    assert_eq!(at_once(&running, &pem, Some(b"postgresql")).await.unwrap(), b'R');
    // Another protocol's words could be passed off as a client's (ALPACA).
    assert!(at_once(&running, &pem, None).await.is_err());
    assert!(at_once(&running, &pem, Some(b"http/1.1")).await.is_err());
}
