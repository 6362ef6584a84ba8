//! The Postgres wire protocol by hand (Postgres documentation, "Frontend/Backend Protocol"): messages out of turn, out
//! of form, and several at once.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{attacker::Attacker, http::HASTE, outcome::Outcome, tap::Tap};

/// A start-up packet with these parameters.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (3_u32 << 16).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    untyped(&body)
}

/// A cancel request.
pub(crate) fn cancel(pid: u32, secret: u32) -> Vec<u8> {
    untyped(&[80_877_102_u32.to_be_bytes(), pid.to_be_bytes(), secret.to_be_bytes()].concat())
}

/// A request for encryption.
pub(crate) fn ssl_request() -> Vec<u8> {
    untyped(&80_877_103_u32.to_be_bytes())
}

fn untyped(body: &[u8]) -> Vec<u8> {
    [&length(body.len()).to_be_bytes()[..], body].concat()
}

/// One message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &length(body.len()).to_be_bytes(), body].concat()
}

fn length(body: usize) -> u32 {
    u32::try_from(body.saturating_add(4)).unwrap_or(u32::MAX)
}

/// `PasswordMessage`.
pub(crate) fn password(text: &str) -> Vec<u8> {
    message(b'p', format!("{text}\0").as_bytes())
}

/// `Query`.
pub(crate) fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

/// `Parse`, `Bind` and `Execute` of a statement without parameters, and no `Sync`.
pub(crate) fn extended(text: &str) -> Vec<u8> {
    let parse = message(b'P', format!("\0{text}\0\0\0").as_bytes());
    let bind = message(b'B', b"\0\0\0\0\0\0\0\0");
    let execute = message(b'E', b"\0\0\0\0\0");
    [parse, bind, execute].concat()
}

/// `Sync`.
pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// What a server has said: message types with their bodies.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// In the order they came.
    pub(crate) messages: Vec<(u8, Vec<u8>)>,
}

impl Said {
    /// Reads messages.
    pub(crate) fn read(mut bytes: &[u8]) -> Self {
        let mut messages = Vec::new();
        while let [kind, a, b, c, d, rest @ ..] = bytes {
            let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
            let Some((body, after)) = rest.split_at_checked(length.saturating_sub(4)) else { break };
            messages.push((*kind, body.to_vec()));
            bytes = after;
        }
        Self { messages }
    }

    /// How many messages of a type.
    pub(crate) fn count(&self, kind: u8) -> usize {
        self.messages.iter().filter(|(known, _)| *known == kind).count()
    }

    /// The SQLSTATE of the last error.
    pub(crate) fn sqlstate(&self) -> Option<String> {
        self.error_field(b'C')
    }

    /// A field of the last error.
    fn error_field(&self, kind: u8) -> Option<String> {
        let (_, body) = self.messages.iter().rfind(|(kind, _)| *kind == b'E')?;
        let field = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&kind))?;
        Some(String::from_utf8_lossy(field.get(1..)?).into_owned())
    }

    /// What came of it.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.sqlstate() {
            Some(code) if self.error_field(b'S').as_deref() == Some("FATAL") => {
                Outcome::stopped(ringfence_context::Layer::Guard, code)
            }
            Some(code) => Outcome::of_sqlstate(&code),
            None if self.messages.is_empty() => Outcome::stopped(ringfence_context::Layer::Guard, "closed"),
            None => Outcome::answered("ok"),
        }
    }
}

impl Attacker {
    /// Talks to the guard: sends each part and reads until the server is ready, asks something, or closes.
    pub(crate) async fn frames(&self, parts: &[Vec<u8>]) -> Said {
        let mut received = Vec::new();
        let _ = timeout(HASTE, async {
            let stream = TcpStream::connect(self.scene().guard).await?;
            let mut stream = Tap::new(stream, &self.transcript);
            for part in parts {
                let seen = received.len();
                stream.write_all(part).await?;
                while !waits(received.get(seen..).unwrap_or_default()) {
                    let mut buffer = vec![0; 64 * 1024];
                    let count = stream.read(&mut buffer).await?;
                    if count == 0 {
                        return Ok(());
                    }
                    received.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
            }
            std::io::Result::Ok(())
        })
        .await;
        Said::read(&received)
    }

    /// Signs in to the guard as his own tenant and then sends `parts`.
    pub(crate) async fn frames_signed_in(&self, parts: &[Vec<u8>]) -> Result<Said, Outcome> {
        let token = self.loot().database.as_ref().ok_or_else(|| self.loot().exchange.clone())?;
        let database = self.scene().database.as_str();
        let mut all = vec![startup(&[("user", &self.acme().id), ("database", database)]), password(token)];
        all.extend_from_slice(parts);
        Ok(self.frames(&all).await)
    }
}

/// Whether the server has said all it will before it hears more: it is ready, or asks for a password, or declines
/// encryption.
fn waits(bytes: &[u8]) -> bool {
    if bytes == b"N" {
        return true;
    }
    let said = Said::read(bytes);
    match said.messages.last() {
        Some((b'Z', _)) => true,
        Some((b'R', body)) => body.first_chunk() != Some(&[0, 0, 0, 0]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_and_read_back() {
        let bytes = [query("SELECT 1"), sync()].concat();
        let said = Said::read(&bytes);
        assert_eq!(said.messages, [(b'Q', b"SELECT 1\0".to_vec()), (b'S', Vec::new())]);
        assert_eq!(&cancel(1, 2)[..8], [0, 0, 0, 16, 4, 210, 22, 46]);
        let error = message(b'E', b"SERROR\0C28000\0Mno\0\0");
        assert_eq!(Said::read(&error).sqlstate().unwrap(), "28000");
        assert_eq!(Said::read(&error).outcome().stopped_by, Some(ringfence_context::Layer::Guard));
    }

    #[test]
    fn a_server_that_is_ready_or_asks_waits() {
        assert!(waits(&message(b'Z', b"I")) && waits(&message(b'R', &3_u32.to_be_bytes())) && waits(b"N"));
        assert!(!waits(&message(b'R', &0_u32.to_be_bytes())) && !waits(b"") && !waits(&message(b'T', b"x")));
    }
}
