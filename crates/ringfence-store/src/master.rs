//! The master key: 32 random bytes in a file only its owner reads, under which every record key is wrapped.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use ringfence_context::{Secret, key};

use crate::error::StoreError;

/// Length of the master key and of every record key, in bytes (AES-256).
pub const KEY_BYTES: usize = 32;

/// Where it lies under the state directory.
pub const FILE: &str = "keys/master.key";

/// The key over all keys. Lost, and every record is lost with it.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<Vec<u8>>);

impl MasterKey {
    /// A key from its bytes.
    ///
    /// # Errors
    /// [`StoreError::MasterKey`] where there are not 32.
    pub fn from_bytes(bytes: Secret<Vec<u8>>) -> Result<Self, StoreError> {
        if bytes.reveal().len() == KEY_BYTES {
            Ok(Self(bytes))
        } else {
            Err(StoreError::MasterKey("a master key is 32 bytes".to_owned()))
        }
    }

    /// Reads `<dir>/keys/master.key`, making it first where there is none.
    ///
    /// Made under another name, synced, and linked into place, so that a crash leaves no half of a key and of two
    /// processes that start at once both get the same one.
    ///
    /// # Errors
    /// [`StoreError::MasterKey`] where the file can't be read or made, is no key, or may be read by others.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        match Self::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create(&path).map_err(|error| explain(&path, &error))?;
                Self::read(&path)
            }
            outcome => outcome,
        }
        .map_err(|error| explain(&path, &error))
        .and_then(Self::from_bytes)
    }

    /// Reads `<dir>/keys/master.key` of a state that is in use.
    ///
    /// # Errors
    /// As [`MasterKey::open`]; where there is none, what to copy where.
    pub fn open_existing(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        match Self::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::MasterKey(format!(
                "the state is in use and this node has no key to it: copy keys/master.key of the node that made it to {}",
                path.display()
            ))),
            outcome => outcome.map_err(|error| explain(&path, &error)).and_then(Self::from_bytes),
        }
    }

    fn read(path: &Path) -> std::io::Result<Secret<Vec<u8>>> {
        let mut file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            let advice =
                format!("others may read it (mode {:o}); run: chmod 600 {}", mode & 0o777, path.display());
            return Err(std::io::Error::new(ErrorKind::PermissionDenied, advice));
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
        // One byte more than a key has: enough to tell a longer file from a key.
        Read::by_ref(&mut file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Secret::new(bytes))
    }

    pub(crate) fn reveal(&self) -> &[u8] {
        self.0.reveal()
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(parent)?;
    fs::set_permissions(parent, Permissions::from_mode(0o700))?;
    let random = |_| std::io::Error::other("the system's random source failed");
    let bytes = Secret::new(key::random::<KEY_BYTES>().map_err(random)?.to_vec());
    let name = key::base64url(&key::random::<9>().map_err(random)?);
    let draft = parent.join(format!(".master.key.{name}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(bytes.reveal())?;
    file.sync_all()?;
    // A link, not a rename: it never replaces a key that another process has made meanwhile.
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    };
    fs::remove_file(&draft)?;
    linked?;
    File::open(parent)?.sync_all()
}

fn explain(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::MasterKey(format!("the master key {} can't be used: {error}", path.display()))
}
