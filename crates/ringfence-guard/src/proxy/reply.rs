//! What the guard itself says to a client (Postgres documentation, "Message Formats" and "Error and Notice Message
//! Fields"). Its errors are refusals: fixed texts, the layer and a reference.

use bytes::{BufMut, BytesMut};
use ringfence_context::{Reference, Refusal, refusal::Fault};

/// SQLSTATEs the guard answers with (Postgres documentation, "PostgreSQL Error Codes").
pub(super) mod sqlstate {
    pub(in crate::proxy) const PROTOCOL_VIOLATION: &str = "08P01";
    pub(in crate::proxy) const INVALID_AUTHORIZATION: &str = "28000";
    pub(in crate::proxy) const INVALID_PASSWORD: &str = "28P01";
    pub(in crate::proxy) const INVALID_DATABASE: &str = "3D000";
    pub(in crate::proxy) const UNSUPPORTED: &str = "0A000";
    pub(in crate::proxy) const INVALID_PARAMETER: &str = "22023";
    pub(in crate::proxy) const TOO_MANY_CONNECTIONS: &str = "53300";
    pub(in crate::proxy) const LIMIT_EXCEEDED: &str = "54000";
    pub(in crate::proxy) const UNDEFINED_OBJECT: &str = "42704";
    pub(in crate::proxy) const DUPLICATE_STATEMENT: &str = "42P05";
    pub(in crate::proxy) const ADMIN_SHUTDOWN: &str = "57P01";
    pub(in crate::proxy) const CANNOT_CONNECT_NOW: &str = "57P03";
    pub(in crate::proxy) const ACTIVE_TRANSACTION: &str = "25001";
    pub(in crate::proxy) const TRANSACTION_TIMEOUT: &str = "25P04";
}

/// Whether the session goes on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Fatal,
}

/// An error's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) severity: Severity,
    pub(super) sqlstate: &'static str,
    pub(super) message: &'static str,
    pub(super) hint: &'static str,
    pub(super) detail: Option<String>,
}

impl Failure {
    pub(super) fn fatal(sqlstate: &'static str, message: &'static str, hint: &'static str) -> Self {
        Self { severity: Severity::Fatal, sqlstate, message, hint, detail: None }
    }

    /// More prepared statements than the guard keeps for a client.
    pub(super) fn too_much(message: &'static str) -> Self {
        let hint = "Close statements you do not use, or leave large ones unnamed.";
        Self { severity: Severity::Error, sqlstate: sqlstate::LIMIT_EXCEEDED, message, hint, detail: None }
    }

    /// What would wait for ever, for no notification is passed on.
    pub(super) fn listens() -> Self {
        Self {
            severity: Severity::Error,
            sqlstate: sqlstate::UNSUPPORTED,
            message: "LISTEN is not supported here: a session changes connections, and notifications reach no tenant.",
            hint: "Poll a table of your own, or let the application tell its parts by other means.",
            detail: None,
        }
    }

    /// A name that is taken.
    pub(super) fn duplicate_statement() -> Self {
        Self {
            severity: Severity::Error,
            sqlstate: sqlstate::DUPLICATE_STATEMENT,
            message: "A prepared statement of this name already exists.",
            hint: "Close it first, or choose another name.",
            detail: None,
        }
    }

    /// Nobody is served: the client's to change, or the plane's.
    pub(super) fn turned_away(severity: Severity, refusal: &Refusal, reference: &Reference) -> Self {
        let sqlstate = match refusal.reason.fault() {
            Fault::Client => sqlstate::INVALID_AUTHORIZATION,
            Fault::Server => sqlstate::CANNOT_CONNECT_NOW,
        };
        Self::refusal(severity, sqlstate, refusal, reference)
    }

    /// A refusal in the words every layer uses.
    pub(super) fn refusal(
        severity: Severity,
        sqlstate: &'static str,
        refusal: &Refusal,
        reference: &Reference,
    ) -> Self {
        let Refusal { layer, reason, .. } = refusal;
        let detail = format!("layer={} reason={} reference={reference}", layer.name(), reason.code());
        Self { severity, sqlstate, message: reason.title(), hint: reason.advice(), detail: Some(detail) }
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        message(out, b'E', |body| {
            let mut field = |kind: u8, value: &str| {
                body.put_u8(kind);
                cstring(body, value);
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', self.sqlstate);
            field(b'M', self.message);
            if let Some(detail) = &self.detail {
                field(b'D', detail);
            }
            field(b'H', self.hint);
            body.put_u8(0);
        });
    }
}

/// `AuthenticationCleartextPassword`: the password is a token, hashing it would only hide what must be read.
pub(super) fn ask_password(out: &mut BytesMut) {
    message(out, b'R', |body| body.put_i32(3));
}

pub(super) fn authentication_ok(out: &mut BytesMut) {
    message(out, b'R', |body| body.put_i32(0));
}

pub(super) fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |body| {
        cstring(body, name);
        cstring(body, value);
    });
}

pub(super) fn backend_key_data(out: &mut BytesMut, (pid, secret): (i32, i32)) {
    message(out, b'K', |body| {
        body.put_i32(pid);
        body.put_i32(secret);
    });
}

/// `NegotiateProtocolVersion`: version 3.0 and none of the options asked for.
pub(super) fn negotiate_version(out: &mut BytesMut, options: &[String]) {
    message(out, b'v', |body| {
        body.put_i32(0);
        body.put_i32(i32::try_from(options.len()).unwrap_or(i32::MAX));
        for option in options {
            cstring(body, option);
        }
    });
}

pub(super) fn ready_for_query(out: &mut BytesMut, status: u8) {
    message(out, b'Z', |body| body.put_u8(status));
}

fn cstring(body: &mut BytesMut, text: &str) {
    // A zero would end the string early; none of our texts has one, and a client's is cut there, as Postgres would.
    body.extend_from_slice(text.split('\0').next().unwrap_or_default().as_bytes());
    body.put_u8(0);
}

/// An error of Postgres', as it said it.
pub(super) fn error(out: &mut BytesMut, fields: &[u8]) {
    message(out, b'E', |body| body.extend_from_slice(fields));
}

/// Appends one message; its length is filled in behind.
pub(super) fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_i32(0);
    body(out);
    let len = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use ringfence_context::{Layer, Reason};

    use super::*;

    #[test]
    fn an_error_reads_back_with_layer_reason_and_reference_and_without_the_finding() {
        let refusal = Refusal::new(Layer::Guard, Reason::TenantMismatch, "presented at another tenant");
        let reference = Reference::new("r-1").unwrap();
        let mut out = BytesMut::new();
        Failure::refusal(Severity::Fatal, sqlstate::INVALID_AUTHORIZATION, &refusal, &reference)
            .write(&mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.contains("layer=guard reason=tenant_mismatch reference=r-1"), "{text}");
        assert!(text.contains("C28000") && !text.contains("another tenant"), "{text}");
        let mut wire = out.clone();
        let parsed = postgres_protocol::message::backend::Message::parse(&mut wire).unwrap();
        assert!(matches!(parsed, Some(postgres_protocol::message::backend::Message::ErrorResponse(_))));
        assert!(wire.is_empty());
    }
}
