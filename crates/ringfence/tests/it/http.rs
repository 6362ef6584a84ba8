//! One HTTP/1.1 request over a socket of its own: what is sent is what is written here.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// An answer, with header names in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Layer and reason of a refusal.
    pub(crate) fn refusal(&self) -> (String, String) {
        let problem = self.json();
        (problem["layer"].as_str().unwrap().to_owned(), problem["type"].as_str().unwrap().to_owned())
    }

    /// The reason of a refusal; nothing where it is none.
    pub(crate) fn refusal_reason(&self) -> String {
        if self.status < 400 { String::new() } else { self.refusal().1 }
    }

    /// Everything but what names this very request: its reference, the date, and how its revision was sealed.
    pub(crate) fn without_names(&self) -> (u16, Vec<(String, String)>, String) {
        let reference = self.header("ringfence-reference").to_owned();
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| name != "ringfence-reference" && name != "date");
        let sealed = headers.iter_mut().filter(|(name, _)| name == "ringfence-revision");
        sealed.for_each(|(_, value)| "SEALED".clone_into(value));
        let body =
            if reference.is_empty() { self.body.clone() } else { self.body.replace(&reference, "REFERENCE") };
        (self.status, headers, body)
    }
}

/// Sends one request to `authority` and reads the answer to its end.
pub(crate) fn send(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.push_str(&format!("Host: {authority}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request.push_str("Content-Type: application/json\r\n");
        }
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| std::io::Error::other(format!("not an answer: {answer:?}")))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { chunks(body)? } else { body.to_owned() };
    Some(Answer { status, headers, body })
}

fn chunks(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, data) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(data.get(..size)?);
        rest = data.get(size + 2..)?;
    }
}
