//! How large a request may be: its head in both protocols, and its body, announced or not.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use ringfence_context::limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    application::{Application, echo},
    world::{World, get, read},
};

async fn world() -> World {
    World::start(Application::start(echo).await.address).await
}

/// The status with which HTTP/1.1 is answered; the connection ends with it.
async fn status(world: &World, sent: &[&[u8]]) -> u16 {
    let mut stream = TcpStream::connect(world.gateway).await.unwrap();
    for part in sent {
        stream.write_all(part).await.unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

/// The lines of a request's head that nothing ends yet.
fn head(world: &World, method: &str, more: &str) -> String {
    let token = world.token("acme", "u-1");
    format!("{method} /notes HTTP/1.1\r\nhost: acme.gw\r\nauthorization: Bearer {token}\r\n{more}")
}

#[tokio::test]
async fn reject_request_head_bytes() {
    let world = world().await;
    let begun = head(&world, "GET", "x: ");
    let filled = |bytes: usize| format!("{begun}{}", "x".repeat(bytes - begun.len()));
    let most = limits::REQUEST_HEAD_BYTES;
    let whole = filled(most - 4) + "\r\n\r\n";
    assert_eq!(status(&world, &[whole.as_bytes()]).await, 200);
    assert_eq!(status(&world, &[filled(most).as_bytes()]).await, 431, "its end is not waited for");
    // HTTP/2 counts name, value and 32 bytes for each field (RFC 9113 section 6.5.2); `h2` takes less than the bound, not as much.
    let mut http2 = world.http2().await;
    let token = world.token("acme", "u-1");
    let sized = |bytes: usize| {
        let request = get("acme", "/notes", &token);
        let pseudo =
            [(":method", "GET"), (":scheme", "http"), (":authority", "acme.gw"), (":path", "/notes")];
        let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        let counted: usize = pseudo
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .chain(fields)
            .map(|field| field + 32)
            .sum();
        let mut request = request;
        request.headers_mut().insert("x", "x".repeat(bytes - counted - 33).parse().unwrap());
        request
    };
    let (answered, _) = read(http2.send_request(sized(most - 1)).await.unwrap()).await;
    assert_eq!(answered, StatusCode::OK);
    let (answered, _) = read(http2.send_request(sized(most)).await.unwrap()).await;
    assert_eq!(answered, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn reject_request_body_bytes() {
    let world = world().await;
    let most = limits::REQUEST_BODY_BYTES;
    for (bytes, expected) in [(most, 200), (most + 1, 413)] {
        let announced = format!("content-length: {bytes}\r\nconnection: close\r\n\r\n");
        // What is announced as too much is not waited for.
        let body = vec![b'x'; if expected == 200 { bytes } else { 0 }];
        let sent = head(&world, "POST", &announced);
        assert_eq!(status(&world, &[sent.as_bytes(), &body]).await, expected, "{bytes} announced");
    }
    // Not announced, it is forwarded while it comes, and its request fails when it is too much.
    let mut http2 = world.http2().await;
    for (bytes, served) in [(most, true), (most + 1, false)] {
        let (parts, _) = get("acme", "/notes", &world.token("acme", "u-1")).into_parts();
        let mut request = Request::from_parts(parts, Full::new(Bytes::from(vec![b'x'; bytes])));
        *request.method_mut() = http::Method::POST;
        let answer = http2.send_request(request).await.unwrap();
        let status = answer.status();
        let _ = answer.into_body().collect().await;
        assert_eq!(status == StatusCode::OK, served, "{bytes} in HTTP/2: {status}");
    }
}
