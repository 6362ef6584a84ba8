//! Real keys of each kind, and tokens that are wrong in one thing each.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::json;

use super::*;
use crate::key::base64url;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

const ISSUER: &str = "https://login.example.com/t1";

enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Rsa(pair) => {
                // RFC 8017 appendix A.1.1: after the heads of the sequence and of the first number, and its sign.
                let modulus = &pair.public_key().as_ref()[9..265];
                json!({ "kty": "RSA", "n": base64url(modulus), "e": "AQAB" })
            }
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..]) })
            }
            Self::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()) })
            }
        };
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, header: &Value, claims: &str) -> String {
        let message =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.as_bytes()));
        format!("{message}.{}", base64url(&self.sign(message.as_bytes())))
    }
}

fn keys(jwks: &[Value]) -> Result<ForeignKeys, JwksFault> {
    ForeignKeys::read(json!({ "keys": jwks }).to_string().as_bytes())
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "u-1", "aud": "api", "iat": NOW.seconds(), "exp": NOW.seconds() + 300 })
}

fn verify(token: &str, keys: &ForeignKeys, kind: TokenKind) -> Result<ForeignClaims, Reason> {
    let token = ForeignToken::read(token).map_err(|refusal| refusal.reason)?;
    token.verify(ISSUER, keys, kind, NOW).map_err(|refusal| refusal.reason)
}

#[test]
fn a_key_of_each_kind_verifies_what_it_signed_and_nothing_else() {
    let all = [Key::rsa(), Key::p256(), Key::ed25519()];
    let jwks: Vec<Value> = all.iter().map(|key| key.jwk(key.alg())).collect();
    let set = keys(&jwks).unwrap();
    for key in &all {
        let header = json!({ "alg": key.alg(), "kid": key.alg(), "typ": "JWT" });
        let token = key.token(&header, &claims().to_string());
        let verified = verify(&token, &set, TokenKind::Access).unwrap();
        assert_eq!(verified.into_map()["sub"], "u-1");
        // Every altered bit of claims and signature.
        let (at, end) = (token.find('.').unwrap() + 1, token.len());
        for position in (at..end).step_by(7) {
            let mut bytes = token.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            assert!(
                verify(&String::from_utf8(bytes).unwrap(), &set, TokenKind::Access).is_err(),
                "{position}"
            );
        }
        // Under another key's name, and under another algorithm's: the key decides.
        for other in &all {
            for (alg, kid) in [(key.alg(), other.alg()), (other.alg(), key.alg()), (other.alg(), other.alg())]
            {
                let token = key.token(&json!({ "alg": alg, "kid": kid }), &claims().to_string());
                let same = other.alg() == key.alg();
                assert_eq!(verify(&token, &set, TokenKind::Access).is_ok(), same, "{alg} {kid}");
            }
        }
        for alg in ["none", "HS256", "RS384", "PS256", "ES384", "rs256", "Ed25519"] {
            let token = key.token(&json!({ "alg": alg, "kid": key.alg() }), &claims().to_string());
            assert_eq!(verify(&token, &set, TokenKind::Access).unwrap_err(), Reason::TokenInvalid, "{alg}");
        }
    }
}

#[test]
fn cv06_no_header_member_of_another_issuers_token_chooses_a_key() {
    let key = Key::ed25519();
    let set = keys(&[key.jwk("k")]).unwrap();
    let check = |header: Value, accepted: bool| {
        let token = key.token(&header, &claims().to_string());
        assert_eq!(verify(&token, &set, TokenKind::Access).is_ok(), accepted, "{header}");
    };
    check(json!({ "alg": "EdDSA", "kid": "k" }), true);
    check(json!({ "alg": "EdDSA", "kid": "k", "x5t": "a thumbprint names a certificate" }), true);
    for member in CHOOSERS {
        check(json!({ "alg": "EdDSA", "kid": "k", *member: key.jwk("k") }), false);
    }
    check(json!({ "alg": "EdDSA" }), false);
    check(json!({ "kid": "k" }), false);
    check(json!({ "alg": "EdDSA", "kid": "other" }), false);
    check(json!({ "alg": "EdDSA", "kid": ["k"] }), false);
    check(json!({ "alg": "EdDSA", "kid": "" }), false);
    let twice = |header: &str, claims: &str| {
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        format!("{message}.{}", base64url(&key.sign(message.as_bytes())))
    };
    let (header, said) = (r#"{"alg":"EdDSA","kid":"k"}"#, claims().to_string());
    assert!(verify(&twice(header, &said), &set, TokenKind::Access).is_ok());
    let more = |member: &str| said.trim_end_matches('}').to_owned() + member;
    for (header, said) in [
        (r#"{"alg":"EdDSA","kid":"k","kid":"k"}"#, said.clone()),
        (header, more(r#","sub":"admin"}"#)),
        (header, more(r#","\u0073ub":"admin"}"#)),
        (header, more(r#","a":{"b":1,"b":2}}"#)),
    ] {
        let refused = verify(&twice(header, &said), &set, TokenKind::Access).unwrap_err();
        assert_eq!(refused, Reason::TokenMalformed, "{said}");
    }
}

#[test]
fn another_issuers_token_is_of_that_issuer_that_kind_and_these_times() {
    let key = Key::p256();
    let set = keys(&[key.jwk("k")]).unwrap();
    let check = |typ: Option<&str>, change: &dyn Fn(&mut Value), kind, expected: Option<Reason>| {
        let mut header = json!({ "alg": "ES256", "kid": "k" });
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        let mut said = claims();
        change(&mut said);
        let outcome = verify(&key.token(&header, &said.to_string()), &set, kind);
        assert_eq!(outcome.map(drop).err(), expected, "{typ:?} {said}");
    };
    let (access, identity) = (TokenKind::Access, TokenKind::Identity);
    for (typ, of_access, of_identity) in [
        (None, true, true),
        (Some("JWT"), true, true),
        (Some("at+jwt"), true, false),
        (Some("application/at+JWT"), true, false),
        (Some("logout+jwt"), false, false),
        (Some("secevent+jwt"), false, false),
        (Some("dpop+jwt"), false, false),
    ] {
        check(typ, &|_| {}, access, (!of_access).then_some(Reason::TokenMalformed));
        check(typ, &|_| {}, identity, (!of_identity).then_some(Reason::TokenMalformed));
    }
    let now = NOW.seconds();
    let with = |name: &'static str, value: Value, expected| {
        check(None, &|said| said[name] = value.clone(), access, expected);
    };
    with("iss", json!("https://login.example.com/t2"), Some(Reason::TokenInvalid));
    with("iss", json!("https://login.example.com/t1/"), Some(Reason::TokenInvalid));
    with("iss", json!([ISSUER]), Some(Reason::TokenInvalid));
    with("exp", json!(now), Some(Reason::TokenExpired));
    with("exp", json!("4102444800"), Some(Reason::TokenMalformed));
    with("exp", json!(1e300), Some(Reason::TokenMalformed));
    with("exp", json!(-1), Some(Reason::TokenMalformed));
    with("exp", Value::Null, Some(Reason::TokenMalformed));
    with("iat", Value::Null, Some(Reason::TokenMalformed));
    with("token_use", json!("access"), None);
    with("token_use", json!("id"), Some(Reason::TokenMalformed));
    with("token_use", json!(["access"]), Some(Reason::TokenMalformed));
    check(None, &|said| said["token_use"] = json!("access"), identity, Some(Reason::TokenMalformed));
}

#[test]
fn reject_foreign_clock_skew_seconds() {
    let key = Key::ed25519();
    let set = keys(&[key.jwk("k")]).unwrap();
    let ahead = |name: &str, seconds: u64| {
        let mut said = claims();
        said[name] = json!(NOW.seconds() + seconds);
        let token = key.token(&json!({ "alg": "EdDSA", "kid": "k" }), &said.to_string());
        verify(&token, &set, TokenKind::Access).map(drop)
    };
    for name in ["iat", "nbf"] {
        assert_eq!(ahead(name, limits::FOREIGN_CLOCK_SKEW_SECONDS), Ok(()), "{name}");
        assert_eq!(ahead(name, limits::FOREIGN_CLOCK_SKEW_SECONDS + 1), Err(Reason::TokenExpired), "{name}");
    }
}

#[test]
fn reject_foreign_token_life_seconds() {
    let key = Key::ed25519();
    let set = keys(&[key.jwk("k")]).unwrap();
    let life = |seconds: u64| {
        let mut said = claims();
        said["exp"] = json!(NOW.seconds() + seconds);
        let token = key.token(&json!({ "alg": "EdDSA", "kid": "k" }), &said.to_string());
        verify(&token, &set, TokenKind::Access).map(drop)
    };
    assert_eq!(life(limits::FOREIGN_TOKEN_LIFE_SECONDS), Ok(()));
    assert_eq!(life(limits::FOREIGN_TOKEN_LIFE_SECONDS + 1), Err(Reason::TokenMalformed));
}

#[test]
fn reject_foreign_token_bytes() {
    let key = Key::ed25519();
    let set = keys(&[key.jwk("k")]).unwrap();
    let filled = |filling: usize| {
        let mut said = claims();
        said["filling"] = json!("x".repeat(filling));
        key.token(&json!({ "alg": "EdDSA", "kid": "k" }), &said.to_string())
    };
    let (mut filling, mut token) = (limits::FOREIGN_TOKEN_BYTES / 2, filled(limits::FOREIGN_TOKEN_BYTES / 2));
    while token.len() <= limits::FOREIGN_TOKEN_BYTES {
        assert!(verify(&token, &set, TokenKind::Access).is_ok(), "{filling}");
        filling += 997;
        token = filled(filling);
    }
    assert_eq!(verify(&token, &set, TokenKind::Access).unwrap_err(), Reason::TokenMalformed);
    for bad in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.", "e30=.e30.AA", "e30.e30.A A"] {
        assert_eq!(verify(bad, &set, TokenKind::Access).unwrap_err(), Reason::TokenMalformed, "{bad}");
    }
}

#[test]
fn reject_issuer_keys() {
    let key = Key::ed25519();
    let set = |count: usize| {
        let all: Vec<Value> = (0..count).map(|number| key.jwk(&number.to_string())).collect();
        keys(&all).map(drop)
    };
    assert_eq!(set(limits::ISSUER_KEYS), Ok(()));
    assert_eq!(set(limits::ISSUER_KEYS + 1), Err(JwksFault::TooMany));
}

#[test]
fn reject_issuer_json_depth() {
    let nested = |depth: usize| format!("{{\"keys\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let read = |depth: usize| ForeignKeys::read(nested(depth).as_bytes()).map(drop);
    assert_eq!(ForeignKeys::read(br#"{"keys":[]}"#).map(drop), Ok(()));
    for depth in [limits::ISSUER_JSON_DEPTH + 1, 100_000] {
        assert_eq!(read(depth), Err(JwksFault::Form), "{depth}");
    }
    let deep = format!(
        r#"{{"keys":[],"a":{}1{}}}"#,
        "[".repeat(limits::ISSUER_JSON_DEPTH - 1),
        "]".repeat(limits::ISSUER_JSON_DEPTH - 1)
    );
    assert_eq!(ForeignKeys::read(deep.as_bytes()).map(drop), Ok(()));
}

#[test]
fn a_key_set_is_believed_whole_or_not_and_only_what_signs_as_we_verify_is_a_key() {
    let (rsa, other) = (Key::rsa(), Key::ed25519());
    let with = |name: &str, value: Value| {
        let mut jwk = rsa.jwk("k");
        jwk[name] = value;
        keys(&[jwk]).map(|set| set.has("k"))
    };
    assert_eq!(with("alg", json!("RS256")), Ok(true));
    for (name, value) in [
        ("alg", json!("RS512")),
        ("alg", json!("PS256")),
        ("alg", json!(["RS256"])),
        ("use", json!("enc")),
        ("use", json!(1)),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!("verify")),
        ("kty", json!("oct")),
        ("kty", json!("EC")),
        ("crv", json!("P-256")),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("e", json!("AQ")),
        ("e", json!("Aw")),
        ("n", json!("AQAB")),
        ("n", json!(base64url(&[0xff; 255]))),
        ("n", json!(base64url(&[0x7f; 256]))),
        ("n", json!(base64url(&[0xff; 1025]))),
        ("n", json!("not base64url!")),
    ] {
        assert_eq!(with(name, value.clone()), Ok(false), "{name} {value}");
    }
    assert_eq!(with("key_ops", json!(["verify"])), Ok(true));
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert_eq!(with(name, json!("AAAA")), Err(JwksFault::Private), "{name}");
    }
    assert_eq!(keys(&[rsa.jwk("k"), other.jwk("k")]).map(drop), Err(JwksFault::Ambiguous));
    assert_eq!(keys(&[json!("k")]).map(drop), Err(JwksFault::Form));
    let mut curve = Key::p256().jwk("k");
    curve["x"] = json!(base64url(&[1; 31]));
    assert!(!keys(&[curve]).unwrap().has("k"));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "{} {}"] {
        assert_eq!(ForeignKeys::read(bad.as_bytes()).map(drop), Err(JwksFault::Form), "{bad}");
    }
    // A point that is not on the curve is a key by its form, and verifies nothing.
    let mut off = Key::p256().jwk("k");
    off["y"] = json!(base64url(&[1; 32]));
    let token = Key::p256().token(&json!({ "alg": "ES256", "kid": "k" }), &claims().to_string());
    assert_eq!(verify(&token, &keys(&[off]).unwrap(), TokenKind::Access).unwrap_err(), Reason::TokenInvalid);
}
