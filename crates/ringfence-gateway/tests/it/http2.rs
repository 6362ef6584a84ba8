//! HTTP/2 to clients: the same chain, on connections that carry many requests at once.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body_util::Full;

use crate::{
    application::{Application, echo},
    world::{World, get, read},
};

async fn world() -> World {
    World::start(Application::start(echo).await.address).await
}

/// The values of a header among those that reached the application.
fn values<'a>(arrived: &'a str, name: &str) -> Vec<&'a str> {
    arrived.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[tokio::test]
async fn a_good_request_is_served_and_arrives_as_http_1() {
    let world = world().await;
    let mut http2 = world.http2().await;
    let token = world.token("acme", "u-1");
    let answer = http2.send_request(get("acme", "/notes/7?full=1", &token)).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    assert!(answer.headers().contains_key("ringfence-reference"));
    let (status, arrived) = read(answer).await;
    assert_eq!(status, StatusCode::OK, "{arrived}");
    assert!(arrived.starts_with("get /notes/7?full=1 http/1.1\r\n"), "{arrived}");
    assert_eq!(values(&arrived, "host"), ["acme.gw"]);
    assert_eq!(values(&arrived, "x-tenant-id"), ["acme"]);
}

#[tokio::test]
async fn forged_identity_headers_are_removed() {
    let world = world().await;
    let mut http2 = world.http2().await;
    let mut request = get("acme", "/notes", &world.token("acme", "u-1"));
    let forged =
        ["x-tenant-id", "x_tenant_id", "x.tenant.id", "txn-token", "txn-binding", "x-forwarded-host"];
    for name in forged {
        request.headers_mut().append(name, HeaderValue::from_static("globex"));
        request.headers_mut().append(name, HeaderValue::from_static("globex"));
    }
    let (status, arrived) = read(http2.send_request(request).await.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{arrived}");
    assert!(!arrived.contains("globex"), "{arrived}");
    for (name, times) in [("x-tenant-id", 1), ("txn-token", 1), ("txn-binding", 1), ("x_tenant_id", 0)] {
        assert_eq!(values(&arrived, name).len(), times, "{name}: {arrived}");
    }
}

#[tokio::test]
async fn an_authority_and_a_host_that_differ_are_refused() {
    let world = world().await;
    let token = world.token("acme", "u-1");
    let mut http2 = world.http2().await;
    let check = async |http2: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
                       hosts: &[&'static str],
                       expected: StatusCode| {
        let mut request = get("acme", "/notes", &token);
        for host in hosts {
            request.headers_mut().append("host", HeaderValue::from_static(host));
        }
        let (status, body) = read(http2.send_request(request).await.unwrap()).await;
        assert_eq!(status, expected, "{hosts:?} {body}");
    };
    check(&mut http2, &["acme.gw"], StatusCode::OK).await;
    for hosts in
        [&["globex.gw"][..], &["gw"], &["acme.gw:80"], &["acme.gw", "acme.gw"], &["acme.gw", "globex.gw"]]
    {
        check(&mut http2, hosts, StatusCode::BAD_REQUEST).await;
    }
    // The connection is not spoilt for who asks rightly.
    check(&mut http2, &[], StatusCode::OK).await;
}

#[tokio::test]
async fn two_tenants_on_one_connection_are_kept_apart() {
    let world = world().await;
    let http2 = world.http2().await;
    let tokens = ["acme", "globex"].map(|tenant| (tenant, world.token(tenant, "u-1")));
    let mut asking = tokio::task::JoinSet::new();
    for round in 0..50 {
        for (at, own) in [("acme", true), ("globex", true), ("acme", false), ("globex", false)] {
            let (of, token) = tokens.iter().find(|(tenant, _)| (*tenant == at) == own).unwrap().clone();
            let mut http2 = http2.clone();
            asking.spawn(async move {
                let request = get(at, &format!("/notes/{round}"), &token);
                (at, of, round, read(http2.send_request(request).await.unwrap()).await)
            });
        }
    }
    for (at, of, round, (status, body)) in asking.join_all().await {
        if at == of {
            assert_eq!(status, StatusCode::OK, "{body}");
            assert_eq!(values(&body, "x-tenant-id"), [at]);
            assert!(body.starts_with(&format!("get /notes/{round} ")), "{body}");
        } else {
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{of}'s token at {at}: {body}");
        }
    }
}
