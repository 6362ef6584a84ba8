//! A request signed by botocore 1.44.5 at a fixed time, as it is and with each part of it changed; and one signed by the
//! `aws-sigv4` crate 1.4.5, which signs other headers.

use http::HeaderValue;

use super::*;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

const SIGNATURE: &str = "db159249c472b1f8f2ed1dda4a99c98887a55d17e453a550240f622e4d29dea6";

/// What is sent, and what is believed to have sent it.
struct Sent {
    method: Method,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    secret: &'static str,
    now: UnixTime,
}

fn authorization(scope: &str, signed: &str, signature: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential=RFAKEXAMPLE/{scope}, SignedHeaders={signed}, Signature={signature}")
}

const SCOPE: &str = "20270115/eu-central-1/verifiedpermissions/aws4_request";
const SIGNED: &str = "content-type;host;x-amz-date;x-amz-target";

fn sent() -> Sent {
    Sent {
        method: Method::POST,
        headers: vec![
            ("host", "127.0.0.1:8081".to_owned()),
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amz-target", "VerifiedPermissions.ListPolicyStores".to_owned()),
            ("x-amz-date", "20270115T080000Z".to_owned()),
            ("authorization", authorization(SCOPE, SIGNED, SIGNATURE)),
        ],
        body: b"{}".to_vec(),
        secret: "not-a-secret",
        now: NOW,
    }
}

impl Sent {
    fn put(&mut self, name: &'static str, value: &str) {
        self.headers.retain(|(found, _)| *found != name);
        self.headers.push((name, value.to_owned()));
    }

    fn verify(&self) -> Result<(), SignatureFault> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let claimed = Claimed::read(&headers, self.now)?;
        assert_eq!(claimed.key_id, "RFAKEXAMPLE");
        let secret = Secret::new(self.secret.to_owned());
        claimed.check(&secret, (&self.method, &Uri::from_static("/"), &headers), &sha256(&self.body))
    }
}

fn check(change: impl FnOnce(&mut Sent), wanted: Result<(), SignatureFault>) {
    let mut changed = sent();
    change(&mut changed);
    let found = changed.verify();
    // What exactly is incomplete is for people.
    let kind = |outcome: Result<(), SignatureFault>| match outcome {
        Err(SignatureFault::Incomplete(_)) => Err(SignatureFault::Incomplete("")),
        outcome => outcome,
    };
    assert_eq!(kind(found), kind(wanted), "{:?}", changed.headers);
}

const INCOMPLETE: Result<(), SignatureFault> = Err(SignatureFault::Incomplete(""));
const MISMATCH: Result<(), SignatureFault> = Err(SignatureFault::Mismatch);

#[test]
fn what_an_sdk_has_signed_is_believed_and_no_part_of_it_can_be_changed() {
    check(|_| {}, Ok(()));
    check(|sent| sent.put("content-type", "  application/x-amz-json-1.0 "), Ok(()));
    check(|sent| sent.put("user-agent", "not signed"), Ok(()));
    check(|sent| sent.secret = "another", MISMATCH);
    check(|sent| sent.body = b"{ }".to_vec(), MISMATCH);
    check(|sent| sent.body.clear(), MISMATCH);
    check(|sent| sent.method = Method::PUT, MISMATCH);
    for (name, value) in [
        ("host", "127.0.0.1:8082"),
        ("content-type", "application/json"),
        ("x-amz-target", "VerifiedPermissions.CreatePolicyStore"),
        ("x-amz-date", "20270115T080001Z"),
    ] {
        check(|sent| sent.put(name, value), MISMATCH);
        check(|sent| sent.headers.push((name, value.to_owned())), INCOMPLETE);
        // Without its header the host is the target's, as over HTTP/2.
        let missing = if name == "host" { MISMATCH } else { INCOMPLETE };
        check(|sent| sent.headers.retain(|(found, _)| *found != name), missing);
    }
    for at in 0..SIGNATURE.len() {
        let mut digits = SIGNATURE.as_bytes().to_vec();
        digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
        let forged = String::from_utf8(digits).unwrap();
        check(|sent| sent.put("authorization", &authorization(SCOPE, SIGNED, &forged)), MISMATCH);
    }
}

#[test]
fn what_the_sdk_for_rust_signs_is_believed_as_well() {
    let signed = "content-length;content-type;host;x-amz-date;x-amz-target;x-amz-user-agent";
    let signature = "cd95ef5eaae99b429752b97dff8a49f03c1f161bf2dfaf985d5db306f026f83f";
    let rust = |sent: &mut Sent| {
        sent.put("content-length", "2");
        sent.put("x-amz-user-agent", "aws-sdk-rust/1.3.10 os/linux lang/rust/1.95.0");
        sent.put("authorization", &authorization(SCOPE, signed, signature));
    };
    check(rust, Ok(()));
    for (name, value) in [("content-length", "3"), ("x-amz-user-agent", "other")] {
        check(
            |sent| {
                rust(sent);
                sent.put(name, value);
            },
            MISMATCH,
        );
    }
}

#[test]
fn what_gives_a_request_its_meaning_is_signed() {
    for signed in [
        "host;x-amz-date;x-amz-target",
        "content-type;x-amz-date;x-amz-target",
        "content-type;host;x-amz-target",
        "content-type;host;x-amz-date",
        "host;content-type;x-amz-date;x-amz-target",
        "content-type;host;host;x-amz-date;x-amz-target",
        "Content-Type;host;x-amz-date;x-amz-target",
        "content-type;host;x-amz-date;x-amz-target;x-not-there",
        "",
    ] {
        check(|sent| sent.put("authorization", &authorization(SCOPE, signed, SIGNATURE)), INCOMPLETE);
    }
    check(|sent| sent.put("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), INCOMPLETE);
    check(|sent| sent.put("x-amz-security-token", "session"), INCOMPLETE);
    check(|sent| sent.put("ringfence-at-least-revision", "AQ"), INCOMPLETE);
}

#[test]
fn reject_avp_signed_headers() {
    let many: Vec<String> = (0..=limits::AVP_SIGNED_HEADERS).map(|at| format!("x-{at:03}")).collect();
    let signed = format!("content-type;host;x-amz-date;x-amz-target;{}", many.join(";"));
    check(|sent| sent.put("authorization", &authorization(SCOPE, &signed, SIGNATURE)), INCOMPLETE);
}

#[test]
fn reject_avp_clock_skew_seconds() {
    let late = |seconds: u64| UnixTime::from_seconds(NOW.seconds() + seconds);
    let early = |seconds: u64| UnixTime::from_seconds(NOW.seconds() - seconds);
    let most = limits::AVP_CLOCK_SKEW_SECONDS;
    check(|sent| sent.now = late(most), Ok(()));
    check(|sent| sent.now = early(most), Ok(()));
    check(|sent| sent.now = late(most + 1), Err(SignatureFault::Skewed));
    check(|sent| sent.now = early(most + 1), Err(SignatureFault::Skewed));
}

#[test]
fn the_credential_names_this_service_and_the_day() {
    for scope in [
        "20270115/eu-central-1/s3/aws4_request",
        "20270114/eu-central-1/verifiedpermissions/aws4_request",
        "20270115/eu-central-1/verifiedpermissions/aws3_request",
        "20270115//verifiedpermissions/aws4_request",
        "20270115/eu-central-1/verifiedpermissions/aws4_request/more",
        "20270115/verifiedpermissions/aws4_request",
    ] {
        check(|sent| sent.put("authorization", &authorization(scope, SIGNED, SIGNATURE)), INCOMPLETE);
    }
    let region = "20270115/eu-central-2/verifiedpermissions/aws4_request";
    check(|sent| sent.put("authorization", &authorization(region, SIGNED, SIGNATURE)), MISMATCH);
    for (value, wanted) in [
        ("Bearer x", Err(SignatureFault::Missing)),
        ("AWS4-HMAC-SHA1 Credential=x", Err(SignatureFault::Missing)),
        ("AWS4-HMAC-SHA256 Credential=x", INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential", INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=x, Credential=x", INCOMPLETE),
    ] {
        check(|sent| sent.put("authorization", value), wanted);
    }
    check(|sent| sent.headers.retain(|(name, _)| *name != "authorization"), Err(SignatureFault::Missing));
}
