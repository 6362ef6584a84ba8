//! The request target, taken apart once: what is decided on is what is forwarded.
//!
//! A path that two readers could read differently is refused, not repaired: encoded separators and dots, dot segments,
//! empty segments, backslashes, parameters (`;`), encoded control characters and double encoding (RFC 3986 section 6).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use ringfence_context::{Layer, Reason, Refusal, limits};

/// A path whose segments have one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments<'a>(Vec<Cow<'a, str>>);

impl<'a> Segments<'a> {
    /// Reads a path.
    ///
    /// # Errors
    /// [`Reason::RequestMalformed`] where it has more than one reading.
    pub fn read(path: &'a str) -> Result<Self, Refusal> {
        if path.len() > limits::REQUEST_TARGET_BYTES {
            return Err(malformed("target too long"));
        }
        let rest = path.strip_prefix('/').ok_or(malformed("path does not start with /"))?;
        if rest.is_empty() {
            return Ok(Self(Vec::new()));
        }
        rest.split('/').map(segment).collect::<Result<_, _>>().map(Self)
    }

    /// The decoded segments.
    pub fn as_slice(&self) -> &[Cow<'a, str>] {
        &self.0
    }
}

fn segment(text: &str) -> Result<Cow<'_, str>, Refusal> {
    // RFC 3986 pchar without ';', and nothing outside ASCII.
    let legal = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+'
            )
            || matches!(byte, b',' | b'=' | b':' | b'@')
    };
    if text.is_empty() || !text.bytes().all(legal) {
        return Err(malformed("an empty segment or a character with two readings"));
    }
    let mut escapes = text.split('%');
    let _literal = escapes.next();
    for escape in escapes {
        let well_formed = escape.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if !well_formed {
            return Err(malformed("a broken percent-escape"));
        }
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| malformed("not UTF-8"))?;
    let two_readings = |c: char| matches!(c, '/' | '\\' | '%' | ';' | '?' | '#') || c.is_control();
    if decoded == "." || decoded == ".." || decoded.chars().any(two_readings) {
        return Err(malformed("a dot segment or an encoded separator"));
    }
    if decoded != text && decoded.starts_with('.') {
        return Err(malformed("an encoded dot"));
    }
    Ok(decoded)
}

pub(crate) const fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Routing, Reason::RequestMalformed, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_with_two_readings_are_refused() {
        for good in ["/", "/payments", "/payments/0192-af", "/a%20b", "/%C3%A9", "/a.b", "/.well-known"] {
            assert!(Segments::read(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "payments",
            "*",
            "//",
            "/a//b",
            "/a/",
            "/a/.",
            "/a/..",
            "/../a",
            "/a/%2e%2e/b",
            "/a/%2E/b",
            "/a/.%2e",
            "/%2eenv",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0a",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%252f",
            "/a%25",
            "/a;b",
            "/a%3bb",
            "/a%3fb",
            "/a%23b",
            "/%ff",
            "/é",
            "/a b",
            "/a\"b",
            "/a\u{0}",
        ] {
            assert!(Segments::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reject_request_target_bytes() {
        let path = |len: usize| format!("/{}", "a".repeat(len - 1));
        assert!(Segments::read(&path(limits::REQUEST_TARGET_BYTES)).is_ok());
        assert!(Segments::read(&path(limits::REQUEST_TARGET_BYTES + 1)).is_err());
    }

    proptest! {
        /// Any accepted path means the same segments to a reader that decodes before it splits as to one that splits
        /// before it decodes.
        #[test]
        fn accepted_paths_have_one_reading(path in "(/[a-z0-9%.;/\\\\]{0,6}){0,4}") {
            if let Ok(segments) = Segments::read(&path) {
                let decoded = percent_decode_str(&path).decode_utf8().unwrap().into_owned();
                let late: Vec<&str> = decoded.strip_prefix('/').unwrap().split('/').collect();
                let late = if late == [""] { vec![] } else { late };
                prop_assert_eq!(segments.as_slice(), late.as_slice());
                prop_assert!(!late.contains(&".") && !late.contains(&".."));
            }
        }
    }
}
