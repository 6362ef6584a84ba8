//! Who has asked too much waits for being told so.
//!
//! Turning a request away costs nearly what a small question costs: reading it, verifying its signature. Who sends the next
//! as soon as it is answered would take as much of the threads that serve as if nobody counted. A connection that waits
//! costs no more than one that is idle, and its request has been let go of.

use std::time::Duration;

use axum::{http::StatusCode, response::Response};

/// How long. An SDK that is told to slow down waits for longer before it tries again.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Marks an answer that says so where the status does not: awsJson1.0 has 400 for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooMuch;

/// Holds such an answer back.
pub(crate) async fn before_too_much(answer: Response) -> Response {
    let too_much =
        answer.status() == StatusCode::TOO_MANY_REQUESTS || answer.extensions().get::<TooMuch>().is_some();
    if too_much {
        tokio::time::sleep(PAUSE).await;
    }
    answer
}
