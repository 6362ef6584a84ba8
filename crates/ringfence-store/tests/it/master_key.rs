//! The master key's file.

use std::{fs, os::unix::fs::PermissionsExt};

use ringfence_store::{MasterKey, StoreError};

#[test]
fn it_is_made_once_and_only_its_owner_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys/master.key");
    MasterKey::open(dir.path()).unwrap();
    let first = fs::read(&path).unwrap();
    MasterKey::open(dir.path()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_eq!(first.len(), 32);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1, "no draft is left");
}

#[test]
fn two_that_start_at_once_get_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| MasterKey::open(dir.path()).unwrap());
        }
    });
    assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1);
}

#[test]
fn a_readable_short_or_long_key_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys/master.key");
    MasterKey::open(dir.path()).unwrap();
    let check = |mode: u32, bytes: &[u8], says: &str| {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = MasterKey::open(dir.path()).unwrap_err();
        assert!(matches!(&error, StoreError::MasterKey(text) if text.contains(says)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    };
    check(0o640, &[7; 32], "chmod 600");
    check(0o604, &[7; 32], "chmod 600");
    check(0o600, &[7; 31], "32 bytes");
    check(0o600, &[7; 33], "32 bytes");
    check(0o600, &[], "32 bytes");
}
