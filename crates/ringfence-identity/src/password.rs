//! Passwords: argon2id (RFC 9106) with 19 MiB, two passes, one lane; few at a time, away from the I/O threads.
//!
//! A name nobody has is checked against a hash nobody's password has, so that it takes as long.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use ringfence_context::{Secret, key, limits};
use tokio::sync::Semaphore;

use crate::error::IdentityError;

/// Memory, in KiB; OWASP's second recommended setting.
const MEMORY_KIB: u32 = 19_456;

/// Hashes at once: each holds its memory and a thread.
const AT_ONCE: usize = 2;

/// How long a sign-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shortest password a user may have, in bytes (NIST SP 800-63B section 5.1.1.2).
pub const SHORTEST: usize = 8;

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    argon2: Argon2<'static>,
    nobodys: Arc<str>,
}

impl Passwords {
    /// With the parameters above.
    ///
    /// # Errors
    /// [`IdentityError::Key`] where the system gives no randomness.
    pub fn new() -> Result<Self, IdentityError> {
        let params = Params::new(MEMORY_KIB, 2, 1, None)
            .map_err(|_| IdentityError::Invalid("parameters of the password hash"))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobodys = hash(&argon2, &key::random::<32>()?)?.into();
        Ok(Self { turns: Arc::new(Semaphore::new(AT_ONCE)), argon2, nobodys })
    }

    /// The hash of a new password, in PHC string form.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] where it is too short or longer than [`limits::PASSWORD_BYTES`].
    pub async fn hash(&self, password: &Secret<String>) -> Result<String, IdentityError> {
        if !(SHORTEST..=limits::PASSWORD_BYTES).contains(&password.reveal().len()) {
            return Err(IdentityError::Invalid("a password is 8 to 256 bytes"));
        }
        let (argon2, password) = (self.argon2.clone(), password.clone());
        self.work(move || hash(&argon2, password.reveal().as_bytes())).await?
    }

    /// Whether `password` is the one of `stored`, the hash of a user; without a user, no, in the same time.
    ///
    /// # Errors
    /// [`IdentityError::Busy`].
    pub async fn verify(
        &self,
        password: &Secret<String>,
        stored: Option<&str>,
    ) -> Result<bool, IdentityError> {
        if password.reveal().len() > limits::PASSWORD_BYTES {
            return Ok(false);
        }
        let (argon2, password) = (self.argon2.clone(), password.clone());
        let (known, hash) = (stored.is_some(), stored.unwrap_or(&self.nobodys).to_owned());
        self.work(move || {
            let Ok(hash) = PasswordHash::new(&hash) else { return false };
            argon2.verify_password(password.reveal().as_bytes(), &hash).is_ok() && known
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IdentityError> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| IdentityError::Busy)?.map_err(|_| IdentityError::Busy)?;
        // The turn goes along: a client that hangs up does not free it while the hash still runs.
        let work = move || {
            let outcome = work();
            drop(turn);
            outcome
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| IdentityError::Busy)
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords(argon2id)")
    }
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, IdentityError> {
    let salt = key::random::<16>()?;
    let hash: PasswordHash = argon2
        .hash_password_with_salt(password, &salt)
        .map_err(|_| IdentityError::Invalid("the password can't be hashed"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_its_own_only() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash(&secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(&secret("correct horse"), Some(&hash)).await.unwrap());
        for wrong in ["correct horsf", "", "correct horse ", "Correct horse"] {
            assert!(!passwords.verify(&secret(wrong), Some(&hash)).await.unwrap(), "{wrong}");
        }
        assert!(!passwords.verify(&secret("correct horse"), None).await.unwrap());
        assert!(!passwords.verify(&secret("correct horse"), Some("not a hash")).await.unwrap());
    }

    #[tokio::test]
    async fn reject_password_bytes() {
        let passwords = Passwords::new().unwrap();
        for (len, fits) in [(7, false), (8, true), (256, true), (257, false)] {
            assert_eq!(passwords.hash(&secret(&"x".repeat(len))).await.is_ok(), fits, "{len}");
        }
    }
}
