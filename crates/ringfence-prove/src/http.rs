//! HTTP/1.1 by hand: requests are bytes, so that they may be wrong in any way, and answers are read leniently.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::tap::{Tap, Transcript};

/// How long an answer to a proper question may take: long, so that a busy machine is not taken for a refusal.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take to bytes that may be no whole request.
pub(crate) const HASTE: Duration = Duration::from_secs(2);

/// How long the next byte may take once an answer has begun.
const QUIET: Duration = Duration::from_millis(300);

/// Largest answer read, in bytes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A request, written out as it stands: nothing is checked, added or encoded but `Content-Length` by [`Ask::body`].
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Ask {
    /// A request with a target and a host.
    pub(crate) fn new(method: &str, target: &str, host: &str) -> Self {
        Self {
            line: format!("{method} {target} HTTP/1.1"),
            headers: vec![format!("Host: {host}"), "Connection: close".to_owned()],
            body: Vec::new(),
        }
    }

    /// `GET`.
    pub(crate) fn get(target: &str, host: &str) -> Self {
        Self::new("GET", target, host)
    }

    /// Another header, after those it has.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// Without the headers of this name.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        self.headers.retain(|header| !header.to_ascii_lowercase().starts_with(&prefix));
        self
    }

    /// A header line as it stands, without its line end.
    #[must_use]
    pub(crate) fn raw_header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// With a bearer token.
    #[must_use]
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With a body and its length.
    #[must_use]
    pub(crate) fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len();
        self.header("Content-Type", kind).header("Content-Length", &length.to_string())
    }

    /// With a body and no header about it.
    #[must_use]
    pub(crate) fn raw_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With a JSON body.
    #[must_use]
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With a form.
    #[must_use]
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let head = format!("{}\r\n{}\r\n\r\n", self.line, self.headers.join("\r\n"));
        [head.into_bytes(), self.body.clone()].concat()
    }
}

/// An answer; without a head where the connection was refused, closed or silent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// What was answered.
    pub(crate) head: Option<Head>,
    /// What followed: further answers on the connection.
    pub(crate) rest: Vec<u8>,
}

/// Status, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// Headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads an answer from the bytes of a connection.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        parse(bytes).unwrap_or_default()
    }

    /// Its status; 0 where there is none.
    pub(crate) fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, |head| head.status)
    }

    /// The first header of this name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.head.as_ref()?.headers;
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        self.head.as_ref().map_or_else(String::new, |head| String::from_utf8_lossy(&head.body).into_owned())
    }

    /// A member of a JSON body.
    pub(crate) fn member(&self, name: &str) -> Option<serde_json::Value> {
        let body: serde_json::Value = serde_json::from_slice(&self.head.as_ref()?.body).ok()?;
        body.get(name).cloned()
    }

    /// A member of a JSON body that is text.
    pub(crate) fn text_member(&self, name: &str) -> Option<String> {
        self.member(name)?.as_str().map(str::to_owned)
    }

    /// The further answers on the same connection.
    pub(crate) fn following(&self) -> Vec<Self> {
        let mut answers = Vec::new();
        let mut rest = self.rest.clone();
        while let Some(next) = parse(&rest) {
            rest.clone_from(&next.rest);
            answers.push(next);
        }
        answers
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at_checked(end)?;
    let rest = rest.get(4..)?;
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let (body, rest) = if find("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        unchunk(rest)
    } else if let Some(length) = find("content-length").and_then(|value| value.parse::<usize>().ok()) {
        let (body, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        (body.to_vec(), rest.to_vec())
    } else {
        (rest.to_vec(), Vec::new())
    };
    Some(Answer { head: Some(Head { status, headers, body }), rest })
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let (line, rest) = bytes.split_at_checked(end).unwrap_or_default();
        let size = String::from_utf8_lossy(line);
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let chunk = rest.get(2..).unwrap_or_default();
        bytes = chunk.get(size.saturating_add(2)..).unwrap_or_default();
        if size == 0 {
            break;
        }
        body.extend_from_slice(chunk.get(..size).unwrap_or(chunk));
    }
    (body, bytes.to_vec())
}

/// Sends `bytes` and reads until the connection closes or falls silent; waits for the first byte as long as `patience`.
pub(crate) async fn exchange(
    to: SocketAddr,
    bytes: &[u8],
    patience: Duration,
    transcript: &Transcript,
) -> Answer {
    let mut received = Vec::new();
    let _ = timeout(PATIENCE, async {
        let mut stream = Tap::new(TcpStream::connect(to).await?, transcript);
        stream.write_all(bytes).await?;
        let mut wait = patience;
        let mut buffer = vec![0; 64 * 1024];
        while received.len() < ANSWER_BYTES {
            let Ok(read) = timeout(wait, stream.read(&mut buffer)).await else { break };
            let count = read?;
            if count == 0 {
                break;
            }
            received.extend_from_slice(buffer.get(..count).unwrap_or_default());
            wait = QUIET;
        }
        std::io::Result::Ok(())
    })
    .await;
    Answer::read(&received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_as_it_stands() {
        let ask = Ask::get("/a//b", "h").bearer("t").without("connection").raw_header(" folded");
        assert_eq!(
            ask.bytes(),
            b"GET /a//b HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n folded\r\n\r\n"
        );
        let posted = String::from_utf8(Ask::new("POST", "/", "h").form(&[("a", "1 2")]).bytes()).unwrap();
        assert!(posted.ends_with("Content-Length: 5\r\n\r\na=1+2"), "{posted}");
    }

    #[test]
    fn answers_are_read_with_what_follows_them() {
        let two = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \
                    chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nHTTP/1.1 403 \
                    Forbidden\r\ncontent-length: 2\r\n\r\n{}";
        let answer = Answer::read(two);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "abcde"));
        let following = answer.following();
        assert_eq!(following.iter().map(Answer::status).collect::<Vec<_>>(), [403]);
        assert_eq!(Answer::read(b"").status(), 0);
    }
}
