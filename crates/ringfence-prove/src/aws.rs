//! AWS Signature Version 4 by hand, so that any part of a signed request may be wrong, and what the policy service says.
//!
//! Follows "Create a signed AWS API request" of the IAM user guide, for `POST /` with a JSON body.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use chrono::DateTime;
use ringfence_context::Layer;
use serde_json::Value;

use crate::{
    attacker::Attacker,
    http::{Answer, Ask},
    leak::differing,
    outcome::Outcome,
    scene::AccessKey,
};

const SCOPE: &str = "local/verifiedpermissions/aws4_request";
const SIGNED: &str = "content-type;host;x-amz-date;x-amz-target";
const KIND: &str = "application/x-amz-json-1.0";

/// What is signed, and what is sent with the signature: mostly the same.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    /// The operation.
    pub(crate) operation: &'a str,
    /// The input that is signed.
    pub(crate) input: Value,
    /// The input that is sent, where it is another.
    pub(crate) sent: Option<Value>,
    /// Seconds since the epoch that are signed.
    pub(crate) at: u64,
}

impl Attacker {
    /// Asks the policy service, properly signed with this key.
    pub(crate) async fn avp(&self, key: &AccessKey, operation: &str, input: Value) -> Answer {
        self.avp_as(key, &Call { operation, input, sent: None, at: self.now() }).await
    }

    /// The same with a request that may be wrong.
    pub(crate) async fn avp_as(&self, key: &AccessKey, call: &Call<'_>) -> Answer {
        let host = self.scene().api_host();
        let time =
            i64::try_from(call.at).ok().and_then(|at| DateTime::from_timestamp(at, 0)).unwrap_or_default();
        let (date, time) = (time.format("%Y%m%d").to_string(), time.format("%Y%m%dT%H%M%SZ").to_string());
        let target = format!("VerifiedPermissions.{}", call.operation);
        let canonical = format!(
            "POST\n/\n\ncontent-type:{KIND}\nhost:{host}\nx-amz-date:{time}\nx-amz-target:{target}\n\n{SIGNED}\n{}",
            hex(digest(&SHA256, call.input.to_string().as_bytes()).as_ref())
        );
        let scope = format!("{date}/{SCOPE}");
        let hashed = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let words = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashed}");
        let first = format!("AWS4{}", key.secret).into_bytes();
        let parts = scope.split('/').chain([words.as_str()]);
        let signature = hex(&parts.fold(first, |key, part| mac(&key, part)));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED}, Signature={signature}",
            key.id
        );
        let ask = Ask::new("POST", "/", host)
            .header("X-Amz-Date", &time)
            .header("X-Amz-Target", &target)
            .header("Authorization", &authorization)
            .body(KIND, call.sent.as_ref().unwrap_or(&call.input).to_string());
        self.api(ask).await
    }

    /// Asks the same about something of the victim's and about something that is not there, and compares.
    pub(crate) async fn avp_compare(
        &self,
        operation: &str,
        exists: &str,
        input: impl Fn(&str) -> Value,
    ) -> Outcome {
        self.avp_compare_with(&self.acme().access_key, operation, exists, input).await
    }

    /// The same with another key of the attacker's.
    pub(crate) async fn avp_compare_with(
        &self,
        key: &AccessKey,
        operation: &str,
        exists: &str,
        input: impl Fn(&str) -> Value,
    ) -> Outcome {
        // As long as what it is compared with, since both are echoed.
        let absent: String = self.nonce().chars().cycle().take(exists.len()).collect();
        let (found, missing) =
            (self.avp(key, operation, input(exists)).await, self.avp(key, operation, input(&absent)).await);
        outcome_of(&found).leaking(differing(&found, &missing, (&[exists], &[&absent])))
    }
}

/// An answer of the policy service: its refusals name no layer, but say by their type whether who asks was known.
pub(crate) fn outcome_of(answer: &Answer) -> Outcome {
    let Some(kind) = answer.text_member("__type") else { return Outcome::of(answer) };
    let unknown = ["MissingAuthentication", "IncompleteSignature", "InvalidSignature", "UnrecognizedClient"];
    let unknown = unknown.iter().any(|name| kind.starts_with(name));
    let layer = if unknown { Layer::Identity } else { Layer::Authorization };
    Outcome::stopped(layer, answer.status().to_string())
}

fn mac(key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
