//! `SELECT ringfence.token_use($1, $2)`: the statement by which a client says whose its next transactions are.
//!
//! Tenant and database token are bind parameters, which other sessions can't read, and the guard answers it itself: neither
//! reaches Postgres. A third parameter, the reference of the request that is served, is for the log only. What is spelled
//! otherwise reaches Postgres, whose function of that name raises [`MISUSED`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ringfence_context::limits;

use super::{
    frame::{HEAD_BYTES, Head, cstring},
    reply::{Failure, Severity, message, sqlstate},
    statements::Prepared,
};

/// The longest spelling that is looked at.
const TEXT_BYTES: usize = 128;

/// The largest message that is about the statement: two names, three parameters, formats and types.
pub(super) const MESSAGE_BYTES: usize = limits::PG_PASSWORD_BYTES + 2 * limits::PG_NAME_BYTES + 1024;

/// The SQLSTATE of the function in the database.
pub(super) const MISUSED: &str = "RF005";

/// The type `text` (an oid of `pg_type`).
const TEXT: i32 = 25;

/// What a client's message says about the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Prepares it under this name.
    Parse(Box<[u8]>),
    Describe,
    /// Forgets this name of it.
    Close(Box<[u8]>),
    Bind,
    /// Of what was bound last.
    DescribePortal,
    ClosePortal,
    Execute,
}

/// The statement, bound: who is to be served.
#[derive(Debug)]
pub(super) struct Portal {
    name: Box<[u8]>,
    /// Whether its answer is asked for in the binary format, which for text is the same.
    binary: bool,
    /// None where they were used.
    pub(super) arguments: Option<Arguments>,
}

/// What the statement is given, as far as it is there and text.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) tenant: Option<String>,
    pub(super) token: Option<Bytes>,
    pub(super) reference: Option<String>,
}

/// Not a message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Whether what follows the name in a `Parse` is the statement, whatever types it gives the parameters.
pub(super) fn is_statement(rest: &[u8]) -> bool {
    let text = rest.iter().take(TEXT_BYTES).position(|byte| *byte == 0).and_then(|end| rest.get(..end));
    let Some(text) = text.and_then(|text| std::str::from_utf8(text).ok()) else { return false };
    let text = text.trim();
    let text = text.strip_suffix(';').unwrap_or(text).trim_end();
    let call = text.strip_prefix("SELECT").filter(|rest| rest.starts_with(|c: char| c.is_ascii_whitespace()));
    let inner = call.and_then(|call| call.trim_start().strip_prefix("ringfence.token_use("));
    let Some(inner) = inner.and_then(|inner| inner.strip_suffix(')')) else { return false };
    let given = inner.split(',').map(str::trim);
    given.clone().eq(["$1", "$2"]) || given.eq(["$1", "$2", "$3"])
}

/// Whether a text may be the statement in a spelling that is not the guard's, for where Postgres does not look.
pub(super) fn is_named(text: &[u8]) -> bool {
    const NAME: &[u8] = b"token_use";
    text.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME))
}

/// How much of a message must be there before it is known whether it is about the statement.
pub(super) fn wanted(head: Head) -> usize {
    let most = match head.tag {
        b'P' => limits::PG_NAME_BYTES + 1 + TEXT_BYTES,
        b'B' => 2 * (limits::PG_NAME_BYTES + 1),
        b'D' | b'C' | b'E' => limits::PG_NAME_BYTES + 2,
        _ => 0,
    };
    head.len.min(HEAD_BYTES + most)
}

/// What the message at the beginning of `bytes` says about the statement, or about `portal`.
pub(super) fn word(head: Head, bytes: &[u8], prepared: &Prepared, portal: Option<&Portal>) -> Option<Word> {
    let body = bytes.get(HEAD_BYTES..head.len.min(bytes.len()))?;
    let is_ours = |name: &[u8]| match name {
        [] => prepared.unnamed.as_deref().is_some_and(is_statement),
        name => prepared.get(name).is_some_and(|statement| statement.is_token_use),
    };
    let is_bound = |name: &[u8]| portal.is_some_and(|portal| *portal.name == *name);
    match head.tag {
        b'P' => {
            let (name, rest) = cstring(body)?;
            is_statement(rest).then(|| Word::Parse(name.into()))
        }
        b'B' => {
            let (name, _) = cstring(cstring(body)?.1)?;
            is_ours(name).then_some(Word::Bind)
        }
        b'E' => is_bound(cstring(body)?.0).then_some(Word::Execute),
        b'D' | b'C' => {
            let (kind, name) = body.split_first()?;
            let (name, _) = cstring(name)?;
            match (head.tag, kind) {
                (b'D', b'S') => is_ours(name).then_some(Word::Describe),
                (_, b'S') => is_ours(name).then(|| Word::Close(name.into())),
                (b'D', _) => is_bound(name).then_some(Word::DescribePortal),
                _ => is_bound(name).then_some(Word::ClosePortal),
            }
        }
        _ => None,
    }
}

/// Whether a message that is not answered as it hopes would leave its client in the belief that it has changed tenants.
pub(super) fn is_meant(head: Head, bytes: &[u8], prepared: &Prepared) -> bool {
    word(head, bytes, prepared, None).is_some_and(|word| !matches!(word, Word::Close(_)))
}

/// Whether a message binds a name that is not prepared, or in SQL only: it may have been the statement's.
pub(super) fn is_unknown(head: Head, bytes: &[u8], prepared: &Prepared) -> bool {
    let body = bytes.get(HEAD_BYTES..head.len.min(bytes.len())).filter(|_| head.tag == b'B');
    let name = body.and_then(cstring).and_then(|(_, rest)| cstring(rest)).map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && prepared.get(name).is_none())
}

impl Portal {
    /// Reads the body of a `Bind`.
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let (name, rest) = cstring(body).ok_or(Malformed)?;
        let (_, mut rest) = cstring(rest).ok_or(Malformed)?;
        // Formats: text is the same in both.
        for _ in 0..count(&mut rest)? {
            rest.try_get_i16().map_err(|_| Malformed)?;
        }
        let given = count(&mut rest)?;
        let mut values = Vec::new();
        for _ in 0..given {
            values.push(value(&mut rest)?);
        }
        let binary = count(&mut rest)? > 0 && rest.try_get_i16() == Ok(1);
        let mut values = values.into_iter();
        let mut next = || values.next().flatten().filter(|value| value.len() <= limits::PG_PASSWORD_BYTES);
        let text = |value: &[u8]| std::str::from_utf8(value).ok().map(str::to_owned);
        let arguments = Arguments {
            tenant: next().and_then(text),
            token: next().map(Bytes::copy_from_slice),
            reference: next().and_then(text),
        };
        Ok(Self { name: name.into(), binary, arguments: Some(arguments) })
    }

    pub(super) fn describe(&self, out: &mut BytesMut) {
        row_description(out, self.binary);
    }
}

fn count(rest: &mut &[u8]) -> Result<u16, Malformed> {
    rest.try_get_u16().map_err(|_| Malformed)
}

/// None is NULL.
fn value<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let len = rest.try_get_i32().map_err(|_| Malformed)?;
    let Ok(len) = usize::try_from(len) else { return Ok(None) };
    let (value, later) = rest.split_at_checked(len).ok_or(Malformed)?;
    *rest = later;
    Ok(Some(value))
}

/// What `Describe` of the statement is answered with: as many parameters as it has, and one column.
pub(super) fn describe(out: &mut BytesMut, parameters: i16) {
    message(out, b't', |body| {
        body.put_i16(parameters);
        (0..parameters).for_each(|_| body.put_i32(TEXT));
    });
    row_description(out, false);
}

fn row_description(out: &mut BytesMut, binary: bool) {
    message(out, b'T', |body| {
        body.put_i16(1);
        body.extend_from_slice(b"token_use\0");
        // Of no table; of variable length, without a modifier.
        body.put_i32(0);
        body.put_i16(0);
        body.put_i32(TEXT);
        body.put_i16(-1);
        body.put_i32(-1);
        body.put_i16(i16::from(binary));
    });
}

/// The answer to `Execute`: the tenant that is served from here on; nothing where it was executed already.
pub(super) fn executed(out: &mut BytesMut, tenant: Option<&str>) {
    if let Some(tenant) = tenant {
        message(out, b'D', |body| {
            body.put_i16(1);
            body.put_i32(i32::try_from(tenant.len()).unwrap_or(i32::MAX));
            body.extend_from_slice(tenant.as_bytes());
        });
    }
    let tag: &[u8] = if tenant.is_some() { b"SELECT 1\0" } else { b"SELECT 0\0" };
    message(out, b'C', |body| body.extend_from_slice(tag));
}

/// It came where it is not answered.
pub(super) fn out_of_place() -> Failure {
    Failure {
        severity: Severity::Error,
        sqlstate: sqlstate::ACTIVE_TRANSACTION,
        message: "ringfence.token_use stands between transactions and by itself; this session has no tenant now.",
        hint: "End the transaction, DISCARD ALL where the session keeps something, and send it in a batch of its own, ended with Sync.",
        detail: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_is_known_however_it_is_spaced_and_nothing_else_is() {
        for yes in [
            "SELECT ringfence.token_use($1, $2)",
            "SELECT ringfence.token_use($1,$2)",
            " \n SELECT  ringfence.token_use( $1 , $2 ) ; ",
            "SELECT ringfence.token_use($1, $2, $3)",
        ] {
            assert!(is_statement(format!("{yes}\0\0\0").as_bytes()), "{yes}");
        }
        for no in [
            "SELECTringfence.token_use($1, $2)",
            "SELECT ringfence.token_use($2, $1)",
            "SELECT ringfence.token_use($1)",
            "SELECT ringfence.token_use('acme', $1)",
            "SELECT ringfence.token_use($1, $2), owner FROM accounts",
            "SELECT ringfence.token_use($1, $2); SELECT 1",
            "SELECT ringfence.token_use($1, $2, $3, $4)",
            "SELECT 1",
            "",
        ] {
            assert!(!is_statement(format!("{no}\0\0\0").as_bytes()), "{no}");
        }
        assert!(!is_statement(b"SELECT ringfence.token_use($1, $2)"), "no end");
    }

    fn bind(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = b"portal\0name\0\0\0".to_vec();
        body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            let len = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            body.extend(len.to_be_bytes());
            body.extend_from_slice(value.unwrap_or_default());
        }
        body.extend([0, 1, 0, 1]);
        body
    }

    #[test]
    fn parameters_are_read_and_what_is_cut_is_no_message() {
        let body = bind(&[Some(b"acme"), Some(b"a~b"), Some(b"r-1")]);
        let portal = Portal::read(&body).unwrap();
        let given = portal.arguments.unwrap();
        assert_eq!((given.tenant.as_deref(), given.token.as_deref()), (Some("acme"), Some(&b"a~b"[..])));
        assert_eq!((given.reference.as_deref(), portal.binary), (Some("r-1"), true));
        for end in 0..body.len() - 4 {
            assert!(Portal::read(&body[..end]).is_err(), "{end}");
        }
        let given = Portal::read(&bind(&[None, Some(b"\xff")])).unwrap().arguments.unwrap();
        assert_eq!((given.tenant, given.reference), (None, None));
    }

    #[test]
    fn reject_pg_password_bytes_as_a_parameter() {
        for (len, fits) in [(limits::PG_PASSWORD_BYTES, true), (limits::PG_PASSWORD_BYTES + 1, false)] {
            let portal = Portal::read(&bind(&[Some(b"acme"), Some(&vec![b'x'; len])])).unwrap();
            assert_eq!(portal.arguments.unwrap().token.is_some(), fits, "{len}");
        }
    }
}
