//! The gateway's proxy with every layer off, to measure what the layers cost: the same server and the same client, and
//! nothing between them. For `cargo xtask bench` only; it protects nothing.
//!
//! `bare <upstream host:port>` says `listening on ADDR`.

use http_body_util::BodyExt;
use ringfence_context::{Reference, UnixTime};
use ringfence_gateway::{
    forward::Upstream,
    refuse::{BoxError, refuse},
    serve::serve,
    workers::Workers,
};
use tokio::net::TcpListener;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let authority = std::env::args().nth(1).ok_or("usage: bare <upstream host:port>")?;
    let upstream = Upstream::new(authority.parse()?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let answer = move |request: http::Request<hyper::body::Incoming>| {
        let upstream = upstream.clone();
        async move {
            let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
            let unnamed = Reference::make(UnixTime::from_micros(0), 0);
            upstream.send(request).await.unwrap_or_else(|refusal| refuse(&refusal, &unnamed))
        }
    };
    serve(listener, Some(Workers::per_core()?), answer, std::future::pending()).await;
    Ok(())
}
