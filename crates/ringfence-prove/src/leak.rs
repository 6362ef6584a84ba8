//! What a leak is, and how one is recognised: a canary among received bytes, a changed row, or two answers that differ.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde::Serialize;
use uuid::Uuid;

use crate::http::Answer;

/// What kind of leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LeakKind {
    /// The victim's data was seen.
    Read,
    /// The victim's rows were changed.
    Write,
    /// An answer tells whether the victim's object exists.
    Oracle,
}

/// One leak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// Its kind.
    pub kind: LeakKind,
    /// What was seen.
    pub evidence: String,
}

impl Leak {
    /// Answers differ.
    pub(crate) fn oracle(evidence: String) -> Self {
        Self { kind: LeakKind::Oracle, evidence }
    }
}

/// What only a victim's data holds, in the forms it could be received in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Canaries {
    forms: Vec<(String, Vec<u8>)>,
    searcher: OnceLock<Option<AhoCorasick>>,
}

impl Canaries {
    /// A text that nobody else has.
    pub(crate) fn text(&mut self, what: &str, text: &str) {
        self.forms.push((what.to_owned(), text.as_bytes().to_vec()));
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.forms.push((format!("{what}, as hexadecimal"), hex.into_bytes()));
    }

    /// An id the attacker never sends.
    pub(crate) fn id(&mut self, what: &str, id: Uuid) {
        self.forms.push((what.to_owned(), id.to_string().into_bytes()));
        self.forms.push((format!("{what}, binary"), id.as_bytes().to_vec()));
    }

    /// A number nobody else has: too long to occur by chance.
    pub(crate) fn number(&mut self, what: &str, number: i64) {
        self.forms.push((what.to_owned(), number.to_string().into_bytes()));
        self.forms.push((format!("{what}, binary"), number.to_be_bytes().to_vec()));
    }

    /// The first canary among `received`.
    pub(crate) fn seen(&self, received: &[u8]) -> Option<Leak> {
        // One pass for all forms: they are many, and so are the bytes.
        let searcher = self.searcher.get_or_init(|| {
            let forms = self.forms.iter().map(|(_, form)| form.as_slice());
            AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(forms).ok()
        });
        let Some(searcher) = searcher else {
            return Some(Leak {
                kind: LeakKind::Read,
                evidence: "canaries can't be searched for".to_owned(),
            });
        };
        let (what, _) = self.forms.get(searcher.find(received)?.pattern().as_usize())?;
        Some(Leak { kind: LeakKind::Read, evidence: format!("received {what}") })
    }
}

/// Whether two answers tell an object that exists from one that does not: they may differ in dates, in the reference,
/// and in what was sent to get them (`sent`: the words of each question that differ).
pub(crate) fn differing(exists: &Answer, absent: &Answer, sent: (&[&str], &[&str])) -> Option<Leak> {
    let (one, other) = (plain(exists, sent.0), plain(absent, sent.1));
    (one != other).then(|| {
        let at = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        let (one, other) = at.unwrap_or((&one, &other));
        Leak::oracle(format!("exists: {} / absent: {}", short(one), short(other)))
    })
}

/// An answer without what differs between any two.
fn plain(answer: &Answer, sent: &[&str]) -> String {
    let Some(head) = &answer.head else { return "closed".to_owned() };
    let told = ["date", "ringfence-reference", "retry-after", "x-amzn-requestid"];
    let mut headers: Vec<String> = head
        .headers
        .iter()
        .filter(|(name, _)| !told.contains(&name.as_str()))
        // A revision is sealed anew for every answer; that one is told is seen.
        .map(|(name, value)| match name.as_str() {
            "ringfence-revision" => format!("{name}: *"),
            _ => format!("{name}: {value}"),
        })
        .collect();
    headers.sort();
    let body = String::from_utf8_lossy(&head.body).into_owned();
    let mut text = format!("{}\n{}\n{body}", head.status, headers.join("\n"));
    for reference in references(answer, &body) {
        text = text.replace(&reference, "*");
    }
    // A sign-in page carries a sealed ticket, made anew for every page.
    if let Some(ticket) = crate::sign_in::ticket(&body) {
        text = text.replace(&ticket, "*");
    }
    for word in sent {
        text = text.replace(word, "*");
    }
    text
}

fn references(answer: &Answer, body: &str) -> Vec<String> {
    let told = serde_json::from_str::<serde_json::Value>(body).ok();
    let member = told.as_ref().and_then(|told| told.get("reference")?.as_str().map(str::to_owned));
    let shown = body.split_once("Reference <code>").and_then(|(_, rest)| rest.split_once('<'));
    let header = answer.header("ringfence-reference").map(str::to_owned);
    [member, shown.map(|(shown, _)| shown.to_owned()), header].into_iter().flatten().collect()
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::read(text.as_bytes())
    }

    #[test]
    fn canaries_are_seen_in_every_form() {
        let id = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
        let mut canaries = Canaries::default();
        canaries.text("a name", "canary-77");
        canaries.id("an id", id);
        canaries.number("an amount", 7_300_000_000_001);
        let seen = |bytes: &[u8]| canaries.seen(bytes).map(|leak| leak.evidence);
        assert_eq!(seen(b"{\"name\":\"canary-77\"}").unwrap(), "received a name");
        assert_eq!(seen(b"\\x63616e6172792d3737").unwrap(), "received a name, as hexadecimal");
        assert_eq!(seen(format!("[{id}]").as_bytes()).unwrap(), "received an id");
        assert_eq!(seen(&[&b"D\0"[..], id.as_bytes()].concat()).unwrap(), "received an id, binary");
        assert_eq!(seen(b"\"amount\":7300000000001").unwrap(), "received an amount");
        assert_eq!(seen(&7_300_000_000_001_i64.to_be_bytes()).unwrap(), "received an amount, binary");
        assert_eq!(seen(b"canary-7, 7300000000002 and nothing else"), None);
    }

    #[test]
    fn answers_that_differ_are_an_oracle() {
        let not_found = "HTTP/1.1 404 Not Found\r\ncontent-type: a\r\n\r\n{\"title\":\"no\"}";
        let differs =
            |one: &str, other: &str| differing(&answer(one), &answer(other), (&["id-1"], &["id-2"]));
        assert_eq!(differs(not_found, not_found), None);
        assert_eq!(
            differs(
                not_found,
                "HTTP/1.1 404 Not Found\r\nContent-Type: a\r\ndate: x\r\n\r\n{\"title\":\"no\"}"
            ),
            None
        );
        for other in [
            "HTTP/1.1 403 Forbidden\r\ncontent-type: a\r\n\r\n{\"title\":\"no\"}",
            "HTTP/1.1 404 Not Found\r\ncontent-type: b\r\n\r\n{\"title\":\"no\"}",
            "HTTP/1.1 404 Not Found\r\ncontent-type: a\r\nx: y\r\n\r\n{\"title\":\"no\"}",
            "HTTP/1.1 404 Not Found\r\ncontent-type: a\r\n\r\n{\"title\":\"not yours\"}",
            "",
        ] {
            let leak = differs(not_found, other).unwrap();
            assert_eq!(leak.kind, LeakKind::Oracle, "{other}");
        }
    }

    #[test]
    fn what_differs_between_any_two_answers_is_no_oracle() {
        let told = |id: &str, reference: &str| {
            answer(&format!(
                "HTTP/1.1 404 Not Found\r\nringfence-reference: \
                 {reference}\r\n\r\n{{\"reference\":\"{reference}\",\"id\":\"{id}\"}}"
            ))
        };
        assert_eq!(differing(&told("id-1", "r-1"), &told("id-2", "r-2"), (&["id-1"], &["id-2"])), None);
        assert!(differing(&told("id-1", "r-1"), &told("id-3", "r-2"), (&["id-1"], &["id-2"])).is_some());
    }
}
