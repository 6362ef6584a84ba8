//! How a client opens its connection (Postgres documentation, "Start-up", "Canceling Requests in Progress").

use bytes::{Buf, BytesMut};
use ringfence_context::{Reference, TenantId, limits};

use super::{
    peer::{Gone, Peer},
    server,
};
use crate::tls::Identity;

pub(super) const SSL_REQUEST: i32 = 80_877_103;
const GSSENC_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
const VERSION_3: i32 = 3;

/// Settings a client may give at start-up: how values look, and nothing about what a statement may do.
const SETTINGS: &[&str] =
    &["client_encoding", "DateStyle", "TimeZone", "IntervalStyle", "extra_float_digits", "bytea_output"];

/// How values look to a client: what it gave at start-up that is not as the guard has it anyway, each once, by name. They
/// are what its connections to Postgres are opened with, so that `RESET` goes back to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    fn put(&mut self, name: &'static str, value: &str) {
        self.0.retain(|(known, _)| *known != name);
        let is_ours = |(ours, as_is): &(&str, &str)| *ours == name && as_is.eq_ignore_ascii_case(value);
        if !server::SETTINGS.iter().any(is_ours) {
            self.0.push((name, value.to_owned()));
            self.0.sort();
        }
    }

    /// Has a session's own value in place of the one before, also where that is as the guard has it.
    pub(super) fn keep(&mut self, name: &'static str, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
        self.0.sort();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// Encryption requests that are answered before the start-up message must come: one of each kind.
const ENCRYPTION_REQUESTS: usize = 2;

/// The first thing a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Start(Startup),
    Cancel { pid: i32, secret: i32 },
}

/// A start-up message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Startup {
    /// Who connects; not a tenant until it is admitted.
    pub(super) user: Option<TenantId>,
    pub(super) database: String,
    /// The reference of the request this session serves, for the log only.
    pub(super) reference: Option<Reference>,
    /// Accepted settings.
    pub(super) settings: Settings,
    /// Protocol options nobody knows yet (`_pq_.`).
    pub(super) unknown_options: Vec<String>,
    pub(super) newer_minor: bool,
    /// A parameter that would change what statements do.
    pub(super) refused_parameter: bool,
}

impl Startup {
    fn setting(&mut self, name: &str, value: &str) {
        match SETTINGS.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            Some(known) => self.settings.put(known, value),
            None => self.refused_parameter = true,
        }
    }
}

/// Why there is no opening.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpeningError {
    Gone,
    Malformed,
}

impl From<Gone> for OpeningError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// A TLS record of a handshake (RFC 8446, section 5.1), which no packet of Postgres' begins with.
const HANDSHAKE: u8 = 22;

/// Reads what a client opens with, in TLS where there is an `identity` and the client asks for it; whether it did.
pub(super) async fn receive(
    client: &mut Peer,
    identity: Option<&Identity>,
) -> Result<(Opening, bool), OpeningError> {
    let mut secure = false;
    client.fill().await?;
    if client.inbound.first() == Some(&HANDSHAKE) {
        // A client that asks for nothing before TLS must say in it what it wants: nobody can pass another protocol off.
        let secured = client.secure(identity.ok_or(OpeningError::Malformed)?).await?;
        secure = secured.named.then_some(true).ok_or(OpeningError::Gone)?;
    }
    for _ in 0..=ENCRYPTION_REQUESTS {
        let mut packet = packet(client).await?;
        let code = packet.try_get_i32().map_err(|_| OpeningError::Malformed)?;
        match code {
            SSL_REQUEST | GSSENC_REQUEST if packet.is_empty() => {
                // What was sent along with the request would be taken for encrypted: a known injection.
                if !client.inbound.is_empty() {
                    return Err(OpeningError::Malformed);
                }
                let identity = identity.filter(|_| code == SSL_REQUEST && !secure);
                client.outbound.extend_from_slice(if identity.is_some() { b"S" } else { b"N" });
                client.flush().await?;
                if let Some(identity) = identity {
                    client.secure(identity).await?;
                    secure = true;
                }
            }
            CANCEL_REQUEST if packet.len() == 8 => {
                return Ok((Opening::Cancel { pid: packet.get_i32(), secret: packet.get_i32() }, secure));
            }
            version if version >> 16 == VERSION_3 => {
                let mut startup = parse(&packet)?;
                startup.newer_minor = version & 0xffff != 0;
                return Ok((Opening::Start(startup), secure));
            }
            _ => return Err(OpeningError::Malformed),
        }
    }
    Err(OpeningError::Malformed)
}

/// One packet without a type: four bytes of length, and the rest.
async fn packet(client: &mut Peer) -> Result<BytesMut, OpeningError> {
    while client.inbound.len() < 4 {
        client.fill().await?;
    }
    let len = usize::try_from((&client.inbound[..]).get_i32()).map_err(|_| OpeningError::Malformed)?;
    if !(8..=limits::PG_STARTUP_BYTES).contains(&len) {
        return Err(OpeningError::Malformed);
    }
    while client.inbound.len() < len {
        client.fill().await?;
    }
    let mut packet = client.inbound.split_to(len);
    packet.advance(4);
    Ok(packet)
}

/// Pairs of zero-ended strings, and a zero.
fn parse(packet: &[u8]) -> Result<Startup, OpeningError> {
    let text = packet.strip_suffix(b"\0").ok_or(OpeningError::Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| OpeningError::Malformed)?;
    let mut strings = text.split_terminator('\0');
    let mut startup = Startup::default();
    let (mut user, mut database) = (None, None);
    while let Some(name) = strings.next() {
        let value = strings.next().ok_or(OpeningError::Malformed)?;
        match name {
            "user" => {
                if user.replace(value).is_some() {
                    return Err(OpeningError::Malformed);
                }
            }
            "database" => database = Some(value),
            "application_name" => {
                startup.reference = value.strip_prefix("ringfence:").and_then(|id| Reference::new(id).ok());
            }
            "replication" if matches!(value, "false" | "off" | "no" | "0") => {}
            option if option.starts_with("_pq_.") => startup.unknown_options.push(option.to_owned()),
            "options" => match options(value) {
                Some(options) => options.iter().for_each(|(name, value)| startup.setting(name, value)),
                None => startup.refused_parameter = true,
            },
            setting => startup.setting(setting, value),
        }
    }
    startup.user = user.and_then(|user| TenantId::new(user).ok());
    startup.database = database.or(user).unwrap_or_default().to_owned();
    Ok(startup)
}

/// The settings in `options`, which are a command line's: `-c name=value`, `-cname=value` or `--name=value`, words apart by
/// blanks and blanks in words behind a backslash (Postgres' `pg_split_opts`). None where there is anything else.
fn options(text: &str) -> Option<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut text = text.chars();
    while let Some(next) = text.next() {
        match next {
            '\\' => words.last_mut()?.push(text.next()?),
            blank if blank.is_ascii_whitespace() => words.push(String::new()),
            other => words.last_mut()?.push(other),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c"))? {
            "" => words.next()?,
            setting => setting.to_owned(),
        };
        let (name, value) = setting.split_once('=')?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn wire(version: i32, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in pairs {
            body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        body.push(0);
        let mut packet = i32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
        packet.extend(body);
        packet
    }

    async fn open(bytes: Vec<u8>) -> Result<Opening, OpeningError> {
        let (mut theirs, ours) = tokio::io::duplex(1 << 16);
        theirs.write_all(&bytes).await.unwrap();
        drop(theirs);
        receive(&mut Peer::new(ours), None).await.map(|(opening, _)| opening)
    }

    #[test]
    fn options_are_settings_and_nothing_else() {
        let read = |text: &str| {
            let pairs = options(text)?.into_iter().map(|(name, value)| format!("{name}={value}"));
            Some(pairs.collect::<Vec<_>>().join("|"))
        };
        for (text, settings) in [
            ("", ""),
            ("-c TimeZone=UTC", "TimeZone=UTC"),
            ("-cTimeZone=UTC  --bytea-output=hex ", "TimeZone=UTC|bytea_output=hex"),
            (r"-c DateStyle=ISO,\ MDY", "DateStyle=ISO, MDY"),
            (r"-c a=\\b", r"a=\b"),
        ] {
            assert_eq!(read(text).as_deref(), Some(settings), "{text}");
        }
        for text in ["-c", "-c a", "-d 5", "TimeZone=UTC", "--", "-c a=b\\"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_start_up_names_a_tenant_and_a_reference() {
        let pairs = [
            ("user", "acme"),
            ("database", "ledger"),
            ("application_name", "ringfence:r-1"),
            ("timezone", "Asia/Tokyo"),
        ];
        let Ok(Opening::Start(startup)) = open(wire(3 << 16, &pairs)).await else { panic!("not a start-up") };
        assert_eq!(startup.user.unwrap().as_str(), "acme");
        assert_eq!((startup.database.as_str(), startup.reference.unwrap().as_str()), ("ledger", "r-1"));
        assert_eq!(startup.settings.iter().collect::<Vec<_>>(), [("TimeZone", "Asia/Tokyo")]);
        assert!(!startup.refused_parameter);
    }

    #[test]
    fn settings_are_the_same_however_they_were_given() {
        let given = |pairs: &[(&'static str, &str)]| {
            let mut settings = Settings::default();
            pairs.iter().for_each(|(name, value)| settings.put(name, value));
            settings
        };
        assert_eq!(given(&[("client_encoding", "utf8"), ("TimeZone", "UTC")]), Settings::default());
        let [one, other] = [("TimeZone", "Asia/Tokyo"), ("bytea_output", "escape")];
        assert_eq!(given(&[one, other]), given(&[other, ("TimeZone", "UTC"), one]));
        assert_ne!(given(&[one]), given(&[one, other]));
        // The last one counts.
        assert_eq!(given(&[one, ("TimeZone", "UTC")]), Settings::default());
    }

    #[tokio::test]
    async fn parameters_that_change_what_statements_do_are_noticed() {
        for name in
            ["options", "search_path", "role", "session_authorization", "row_security", "statement_timeout"]
        {
            let opening = open(wire(3 << 16, &[("user", "acme"), (name, "x")])).await;
            assert!(matches!(opening, Ok(Opening::Start(Startup { refused_parameter: true, .. }))), "{name}");
        }
    }

    #[tokio::test]
    async fn reject_pg_startup_bytes() {
        let fits = "a".repeat(limits::PG_STARTUP_BYTES - 32);
        assert!(open(wire(3 << 16, &[("user", "acme"), ("a", &fits)])).await.is_ok());
        let long = "a".repeat(limits::PG_STARTUP_BYTES);
        assert_eq!(open(wire(3 << 16, &[("user", &long)])).await, Err(OpeningError::Malformed));
    }

    #[tokio::test]
    async fn malformed_openings_are_told_from_absent_ones() {
        for bytes in [
            wire(2 << 16, &[("user", "acme")]),
            wire(3 << 16, &[("user", "acme"), ("user", "globex")]),
            vec![0, 0, 0, 7, 0, 0, 0],
            vec![0xff; 8],
            [wire(3 << 16, &[]), vec![]].concat()[..8].iter().copied().chain([1]).collect(),
        ] {
            assert!(open(bytes.clone()).await.is_err(), "{bytes:?}");
        }
        assert_eq!(open(vec![]).await, Err(OpeningError::Gone));
    }
}
