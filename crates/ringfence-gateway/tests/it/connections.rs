//! Connections to the application: kept, driven by requests, and never used after an answer that is not whole.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use ringfence_gateway::forward::Upstream;

use crate::{
    application::{Answer, Application, echo, ok},
    world::read,
};

fn request(method: &str, body: impl Into<Bytes>) -> Request<ringfence_gateway::refuse::Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri("/x").header("host", "a").body(body).unwrap()
}

async fn start(answer: Answer) -> (Application, Upstream) {
    let application = Application::start(answer).await;
    let upstream = Upstream::new(application.address.to_string().parse().unwrap());
    (application, upstream)
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let (application, upstream) = start(echo).await;
    for _ in 0..20 {
        for (method, body) in [("GET", Bytes::new()), ("POST", Bytes::from(vec![b'x'; 300_000]))] {
            let (status, arrived) = read(upstream.send(request(method, body)).await.unwrap()).await;
            assert_eq!(status, StatusCode::OK);
            assert!(arrived.starts_with(&method.to_ascii_lowercase()), "{arrived}");
        }
    }
    assert_eq!(application.connections(), 1);
}

#[tokio::test]
async fn requests_at_once_have_connections_of_their_own() {
    let (application, upstream) = start(echo).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let upstream = upstream.clone();
        asking.spawn(async move { read(upstream.send(request("GET", "")).await.unwrap()).await.0 });
    }
    assert!(asking.join_all().await.iter().all(|status| *status == StatusCode::OK));
    assert!((1..=40).contains(&application.connections()));
}

#[tokio::test]
async fn long_answers_stream_whole_and_leave_the_connection_usable() {
    let long: Answer = |_| (ok(&"0123456789".repeat(400_000)), false);
    let chunked: Answer = |_| {
        let chunk = format!("{:x}\r\n{}\r\n", 50_000, "y".repeat(50_000));
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(40)), false)
    };
    for (answer, length) in [(long, 4_000_000), (chunked, 2_000_000)] {
        let (application, upstream) = start(answer).await;
        for _ in 0..3 {
            let (_, body) = read(upstream.send(request("GET", "")).await.unwrap()).await;
            assert_eq!(body.len(), length);
        }
        assert_eq!(application.connections(), 1);
    }
}

#[tokio::test]
async fn a_connection_closed_or_reset_while_idle_costs_no_request() {
    for reset in [false, true] {
        // It says nothing of closing: that is found out when the connection is taken again.
        let application = Application::start_closing(|_| (ok("once"), true), reset).await;
        let upstream = Upstream::new(application.address.to_string().parse().unwrap());
        for _ in 0..5 {
            let (_, body) = read(upstream.send(request("POST", "body")).await.unwrap()).await;
            assert_eq!(body, "once");
            closed(&application).await;
        }
        assert_eq!(application.connections(), 5);
    }
}

/// Waits until the application's close has arrived here: a connection to it that was closed after ours has said so.
async fn closed(application: &Application) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(application.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    application.connections.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
}

#[tokio::test]
async fn an_answer_that_announces_the_end_ends_the_connection() {
    let (application, upstream) =
        start(|_| (ok("last").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), false)).await;
    for _ in 0..3 {
        assert_eq!(read(upstream.send(request("GET", "")).await.unwrap()).await.1, "last");
    }
    assert_eq!(application.connections(), 3);
}

#[tokio::test]
async fn an_answer_left_unread_is_nobody_elses() {
    let (application, upstream) = start(|_| (ok(&"z".repeat(4_000_000)), false)).await;
    for _ in 0..3 {
        let mut answer = upstream.send(request("GET", "")).await.unwrap();
        assert!(answer.body_mut().frame().await.unwrap().unwrap().is_data());
    }
    assert_eq!(application.connections(), 3, "what is left of an answer must not be read as the next");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_and_not_a_short_answer() {
    let (_application, upstream) =
        start(|_| ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_owned(), true)).await;
    let answer = upstream.send(request("GET", "")).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn more_bytes_than_were_announced_are_not_the_next_answer() {
    let (_application, upstream) = start(|_| (ok("good") + &ok("smuggled"), false)).await;
    for _ in 0..5 {
        assert_eq!(read(upstream.send(request("GET", "")).await.unwrap()).await.1, "good");
    }
}

#[tokio::test]
async fn an_application_that_is_gone_refuses_the_request() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::new(listener.local_addr().unwrap().to_string().parse().unwrap());
    drop(listener);
    let refusal = upstream.send(request("GET", "")).await.unwrap_err();
    assert_eq!(refusal.reason, ringfence_context::Reason::UpstreamUnavailable);
}
