//! HTTP request smuggling (RFC 9112 sections 2.2, 6 and 11.2): a second request hidden in a first, for the next reader.

use ringfence_context::Layer;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Answer,
    outcome::Outcome,
    scene::VICTIM,
};

pub(super) const FAMILY: Family = Family {
    name: "HTTP smuggling",
    attacks: &[
        attack!(
            "smuggle-cl-te",
            "Content-Length and chunked: the length is believed first",
            Routing,
            Together,
            |a| {
                let hidden = hidden(a);
                let body = format!("0\r\n\r\n{hidden}");
                raw(a, &["Transfer-Encoding: chunked", &format!("Content-Length: {}", body.len())], &body)
                    .await
            }
        ),
        attack!(
            "smuggle-te-cl",
            "Content-Length and chunked: the chunks are believed first",
            Routing,
            Together,
            |a| {
                let hidden = hidden(a);
                let body = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
                raw(a, &["Content-Length: 4", "Transfer-Encoding: chunked"], &body).await
            }
        ),
        attack!(
            "smuggle-te-te",
            "Transfer-Encoding that one reader knows and another does not",
            Routing,
            Together,
            |a| {
                let hidden = hidden(a);
                let body = format!("0\r\n\r\n{hidden}");
                let length = format!("Content-Length: {}", body.len());
                let mut tries = Vec::new();
                for coding in [
                    "Transfer-Encoding: xchunked",
                    "Transfer-Encoding: chunked, identity",
                    "Transfer-Encoding : chunked",
                    "Transfer-Encoding:\tchunked",
                    "X: x\nTransfer-Encoding: chunked",
                    "Transfer-Encoding: \u{b}chunked",
                    "Transfer_Encoding: chunked",
                ] {
                    tries.push(raw(a, &[coding, &length], &body).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "smuggle-cl-cl",
            "two Content-Lengths, a list of them, signs and blanks in one",
            Routing,
            Together,
            |a| {
                let hidden = hidden(a);
                let long = format!("Content-Length: {}", hidden.len());
                let mut tries = Vec::new();
                for lengths in [
                    ["Content-Length: 0", long.as_str()],
                    [long.as_str(), "Content-Length: 0"],
                    ["Content-Length: 0, 10", "X: y"],
                    ["Content-Length: +0", "X: y"],
                    ["Content-Length: 0x0", "X: y"],
                    ["Content-Length: -1", "X: y"],
                    ["Content-Length : 0", "X: y"],
                ] {
                    tries.push(raw(a, &lengths, &hidden).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "smuggle-chunk-extensions",
            "chunk sizes with extensions, blanks, signs and overflow",
            Routing,
            Together,
            |a| {
                let hidden = hidden(a);
                let mut tries = Vec::new();
                for zero in ["0;x=\r\n", "0 ;a\n", "00000000000000000", "-0", "0x0", "10000000000000000"] {
                    tries.push(
                        raw(a, &["Transfer-Encoding: chunked"], &format!("{zero}\r\n\r\n{hidden}")).await,
                    );
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("smuggle-bare-lf", "lines that end in a bare LF or CR", Routing, Together, |a| {
            let mut tries = Vec::new();
            for end in ["\n", "\r", "\n\r", "\r\r\n"] {
                let text = format!(
                    "GET /payments HTTP/1.1{end}Host: {}{end}Authorization: Bearer {}{end}Connection: \
                     close{end}{end}{}",
                    a.globex().host,
                    a.token("admin"),
                    hidden(a)
                );
                tries.push(all(&a.bytes(text.as_bytes()).await));
            }
            Outcome::furthest(tries)
        }),
        attack!("smuggle-obs-fold", "a header folded over lines, hiding another", Routing, Together, |a| {
            raw(
                a,
                &["X-Long: a", &format!(" X-Tenant-Id: {VICTIM}"), &format!("\tHost: {}", a.globex().host)],
                "",
            )
            .await
        }),
        attack!(
            "smuggle-header-bytes",
            "NUL, blanks and line ends inside header names and values",
            Routing,
            Together,
            |a| {
                let mut tries = Vec::new();
                for line in [
                    "X-Tenant-Id\u{0}: globex",
                    "X-Tenant-Id : globex",
                    " X-Tenant-Id: globex",
                    "X: y\rX-Tenant-Id: globex",
                    ": globex",
                    "X-Tenant-Id",
                    "X-Tenant-Id: glo\u{0}bex",
                ] {
                    tries.push(raw(a, &[line], "").await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "smuggle-absolute-form",
            "an absolute target of the victim's, with the own host",
            Routing,
            Together,
            |a| {
                let line = format!(
                    "GET http://{}/payments HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer \
                     {}\r\nConnection: close\r\n\r\n",
                    a.globex().host,
                    a.acme().host,
                    a.token("admin")
                );
                all(&a.bytes(line.as_bytes()).await)
            }
        ),
        attack!(
            "smuggle-pipelined",
            "a second request behind the first, for the victim's host, with nothing of its own to prove",
            Token,
            Together,
            |a| {
                let first = format!(
                    "GET /payments HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
                    a.acme().host,
                    a.token("admin")
                );
                let bare = format!(
                    "GET /payments HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                    a.globex().host
                );
                all(&a.bytes(format!("{first}{bare}").as_bytes()).await)
            }
        ),
        attack!(
            "smuggle-get-body",
            "a body behind a GET that the backend may take for a request",
            Routing,
            Together,
            |a| {
                let hidden = hidden(a);
                let ask = a
                    .mine("GET", "/payments")
                    .header("Content-Length", &hidden.len().to_string())
                    .raw_body(hidden);
                all(&a.bytes(&ask.bytes()).await)
            }
        ),
        attack!(
            "smuggle-upgrade",
            "an upgrade to h2c, a tunnel by CONNECT, an expectation",
            Routing,
            Together,
            |a| {
                let connect = format!(
                    "CONNECT {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n{}",
                    a.scene().backend,
                    a.acme().host,
                    a.token("admin"),
                    hidden(a)
                );
                let upgrade = a
                    .mine("GET", "/payments")
                    .without("connection")
                    .header("Connection", "Upgrade, HTTP2-Settings")
                    .header("Upgrade", "h2c")
                    .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
                let trace = a.mine("TRACE", "/payments");
                Outcome::furthest([
                    all(&a.bytes(connect.as_bytes()).await),
                    all(&a.bytes(&upgrade.bytes()).await),
                    all(&a.bytes(&trace.bytes()).await),
                ])
            }
        ),
        attack!("smuggle-http-versions", "HTTP/0.9, 1.0, 1.2 and 3.0 lines", Routing, Together, |a| {
            let mut tries = Vec::new();
            for version in ["", " HTTP/1.0", " HTTP/1.2", " HTTP/3.0", " HTTP/1.1 HTTP/1.1", " http/1.1"] {
                let text = format!(
                    "GET /payments{version}\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: \
                     close\r\n\r\n",
                    a.globex().host,
                    a.token("admin")
                );
                tries.push(all(&a.bytes(text.as_bytes()).await));
            }
            Outcome::furthest(tries)
        }),
    ],
    controls: &[
        control!("two own requests, one behind the other, are both answered", |a| {
            let one = |end: &str| {
                format!(
                    "GET /payments HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{end}\r\n",
                    a.acme().host,
                    a.token("admin")
                )
            };
            let answer = a.bytes(format!("{}{}", one(""), one("Connection: close\r\n")).as_bytes()).await;
            let following: Vec<u16> = answer.following().iter().map(Answer::status).collect();
            if (answer.status(), following.as_slice()) == (200, &[200]) {
                Ok(())
            } else {
                Err(format!("{} {following:?}", answer.status()))
            }
        }),
        control!("a chunked body is read", |a| {
            let name = r#"{"name":"a","currency":"EUR"}"#;
            let body = format!("{:x}\r\n{name}\r\n0\r\n\r\n", name.len());
            let ask = a
                .mine("POST", "/accounts")
                .header("Content-Type", "application/json")
                .header("Transfer-Encoding", "chunked")
                .raw_body(body);
            super::tokens::expect(&a.send(ask).await, 201)
        }),
    ],
};

/// The request that is hidden: for the victim's payment, as whoever reads it next.
fn hidden(a: &Attacker) -> String {
    format!(
        "GET /payments/{} HTTP/1.1\r\nHost: {}\r\nX-Tenant-Id: {VICTIM}\r\nAuthorization: Bearer \
         {}\r\n\r\n",
        a.target.payment,
        a.globex().host,
        a.token("admin"),
    )
}

/// An own POST with these header lines and this body, as they stand.
async fn raw(a: &Attacker, lines: &[&str], body: &str) -> Outcome {
    let ask = a.mine("POST", "/accounts").without("connection").header("Content-Type", "application/json");
    let ask = lines.iter().fold(ask, |ask, line| ask.raw_header(line));
    all(&a.bytes(&ask.raw_body(body).bytes()).await)
}

/// The first answer counts unless another follows that something answered.
fn all(answer: &Answer) -> Outcome {
    let first = Outcome::of(answer);
    let following = answer.following().iter().map(Outcome::of).collect::<Vec<_>>();
    // Where the second request was refused, it was seen for what it is.
    match following.iter().any(|next| next.stopped_by.is_none()) {
        true => Outcome::furthest(following),
        false => following
            .into_iter()
            .next()
            .filter(|next| next.stopped_by != Some(Layer::Routing))
            .unwrap_or(first),
    }
}
