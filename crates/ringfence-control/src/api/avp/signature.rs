//! AWS Signature Version 4, verified: who signed this very request, at about this time, with which key.
//!
//! Follows "Create a signed AWS API request" of the IAM user guide, for the one request the policy service takes: `POST /`
//! without a query. The signed headers are those the client lists; what must be among them is what gives the request its
//! meaning. A header that is signed stands once. The payload's hash is of the body that was read, never of one claimed.

use chrono::NaiveDateTime;
use http::{HeaderMap, Method, Uri, header};
use ringfence_context::{
    Secret, UnixTime,
    key::{MacKey, sha256},
    limits,
};

/// The service in the credential scope.
const SERVICE: &str = "verifiedpermissions";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Headers that must be signed wherever they are there.
const MEANING: &[&str] =
    &["content-type", "ringfence-at-least-revision", "x-amz-content-sha256", "x-amz-target"];

/// What is wrong with a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// There is none.
    Missing,
    /// It is not of the form it must have, or leaves out what must be signed.
    Incomplete(&'static str),
    /// Its time is too far from ours.
    Skewed,
    /// It is not of this request and this key.
    Mismatch,
}

/// A signature as it was sent: what it claims, checked in form only.
#[derive(Debug)]
pub(crate) struct Claimed<'a> {
    /// Names the key.
    pub(crate) key_id: &'a str,
    date: &'a str,
    region: &'a str,
    time: &'a str,
    signed: Vec<&'a str>,
    signature: [u8; 32],
}

impl<'a> Claimed<'a> {
    /// Reads the signature of a request, and refuses one of another time than `now`.
    pub(crate) fn read(headers: &'a HeaderMap, now: UnixTime) -> Result<Self, SignatureFault> {
        use SignatureFault::{Incomplete, Missing};
        let value = match once(headers, header::AUTHORIZATION.as_str()) {
            Ok(value) => value,
            Err(0) => return Err(Missing),
            Err(_) => return Err(Incomplete("Authorization must be there once")),
        };
        let fields = value.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' ')).ok_or(Missing)?;
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=').ok_or(Incomplete("a field without value"))?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err(Incomplete("an unknown field")),
            };
            if place.replace(value).is_some() {
                return Err(Incomplete("a field twice"));
            }
        }
        let (Some(credential), Some(signed), Some(signature)) = (credential, signed, signature) else {
            return Err(Incomplete("Credential, SignedHeaders and Signature are needed"));
        };
        let scope: Vec<&str> = credential.split('/').collect();
        let [key_id, date, region, SERVICE, "aws4_request"] = scope[..] else {
            return Err(Incomplete(
                "the credential's scope must be key/date/region/verifiedpermissions/aws4_request",
            ));
        };
        let named = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if !named(key_id) || !named(region) {
            return Err(Incomplete("the credential names no key or no region"));
        }
        let time = once(headers, "x-amz-date").map_err(|_| Incomplete("X-Amz-Date must be there once"))?;
        time_check(time, date, now)?;
        if headers.contains_key("x-amz-security-token") {
            return Err(Incomplete("there are no session tokens here"));
        }
        Ok(Self {
            key_id,
            date,
            region,
            time,
            signed: signed_headers(signed, headers)?,
            signature: unhex(signature).ok_or(Incomplete("the signature is not 64 hexadecimal digits"))?,
        })
    }

    /// Checks the signature against the key's secret. `body` is the SHA-256 of the body that was read.
    pub(crate) fn check(
        &self,
        secret: &Secret<String>,
        (method, uri, headers): (&Method, &Uri, &HeaderMap),
        body: &[u8; 32],
    ) -> Result<(), SignatureFault> {
        let payload = hex(body);
        if let Ok(claimed) = once(headers, "x-amz-content-sha256")
            && claimed != payload
        {
            return Err(SignatureFault::Mismatch);
        }
        let mut request = format!("{method}\n/\n\n");
        for name in &self.signed {
            let value = match (*name, once(headers, name)) {
                (_, Ok(value)) => value,
                // Over HTTP/2 the host is in the target.
                ("host", Err(0)) => uri.authority().map(http::uri::Authority::as_str).unwrap_or_default(),
                _ => return Err(SignatureFault::Incomplete("a signed header must be there once")),
            };
            let value: Vec<&str> = value.split_ascii_whitespace().collect();
            request.push_str(&format!("{name}:{}\n", value.join(" ")));
        }
        request.push_str(&format!("\n{}\n{payload}", self.signed.join(";")));
        let Self { date, region, time, .. } = self;
        let scope = format!("{date}/{region}/{SERVICE}/aws4_request");
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(&sha256(request.as_bytes())));
        // Compared in constant time.
        if signing_key(secret, date, region).verifies_plain(text.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(SignatureFault::Mismatch)
        }
    }
}

/// The only value of a header; otherwise how many there are.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, usize> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(0),
        (Some(value), None) => value.to_str().map_err(|_| 1),
        (Some(_), Some(_)) => Err(2),
    }
}

fn signed_headers<'a>(list: &'a str, headers: &HeaderMap) -> Result<Vec<&'a str>, SignatureFault> {
    use SignatureFault::Incomplete;
    let signed: Vec<&str> = list.split(';').collect();
    if signed.len() > limits::AVP_SIGNED_HEADERS {
        return Err(Incomplete("too many signed headers"));
    }
    let lower = |name: &&str| name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
    if !signed.iter().all(lower) || !signed.is_sorted_by(|one, next| one < next) {
        return Err(Incomplete("signed headers are lower case, in order, and each once"));
    }
    if !["host", "x-amz-date"].iter().all(|needed| signed.contains(needed)) {
        return Err(Incomplete("host and x-amz-date must be signed"));
    }
    if MEANING.iter().any(|name| headers.contains_key(*name) && !signed.contains(name)) {
        return Err(Incomplete("x-amz-target, content-type and ringfence-at-least-revision must be signed"));
    }
    Ok(signed)
}

fn time_check(time: &str, date: &str, now: UnixTime) -> Result<(), SignatureFault> {
    use SignatureFault::{Incomplete, Skewed};
    let form = Incomplete("X-Amz-Date is not YYYYMMDD'T'HHMMSS'Z' of the credential's date");
    if time.len() != 16 || !time.starts_with(date) || date.len() != 8 {
        return Err(form);
    }
    let parsed = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").map_err(|_| form)?;
    let signed = u64::try_from(parsed.and_utc().timestamp()).map_err(|_| form)?;
    if signed.abs_diff(now.seconds()) > limits::AVP_CLOCK_SKEW_SECONDS {
        return Err(Skewed);
    }
    Ok(())
}

fn signing_key(secret: &Secret<String>, date: &str, region: &str) -> MacKey {
    let first = Secret::new(format!("AWS4{}", secret.reveal()).into_bytes());
    [date, region, SERVICE, "aws4_request"].iter().fold(MacKey::from_bytes(&first), |key, part| {
        MacKey::from_bytes(&Secret::new(key.tag_plain(part.as_bytes()).to_vec()))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower case only: one signature has one spelling.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Vec<u8> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? * 16 + digit(*low)?)).collect::<Option<_>>()?;
    bytes.try_into().ok().filter(|_| rest.is_empty())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
