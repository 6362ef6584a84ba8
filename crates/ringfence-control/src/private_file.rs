//! Files with secrets: whole or absent, and readable by their owner alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes a file by way of a temporary one beside it.
///
/// # Errors
/// What the system says; the old file, if any, is as it was.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // A bare name has an empty parent: the folder one is in.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_also_by_a_bare_name() {
        let folder = tempfile::tempdir().unwrap();
        let bare = format!("private-file-{}", std::process::id());
        for path in [folder.path().join("a"), Path::new(&bare).to_owned()] {
            for text in ["first", "second"] {
                write(&path, text).unwrap();
                assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            }
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::remove_file(&path).unwrap();
        }
        assert!(write(&folder.path().join("none/a"), "x").is_err());
    }
}
