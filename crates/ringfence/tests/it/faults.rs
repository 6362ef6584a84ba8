//! Bad input at the start: one clear message that says what to do, and the state as it was.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use crate::{
    init::settings,
    process,
    program::{complaint, run, scratch},
    session::up_fails,
};

/// A settings file and a state folder.
struct Case {
    config: PathBuf,
    state: PathBuf,
}

impl Case {
    fn new() -> Self {
        let folder = scratch("fault");
        Self { config: settings(&folder.join("config"), "127.0.0.1:1"), state: folder.join("state") }
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.config.with_file_name(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {file}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn up(&self) -> Output {
        up_fails(&self.state, &["--config", &self.config.display().to_string()])
    }

    /// It fails with a message of these words, twice the same, and leaves the state as it was.
    fn check(&self, words: &[&str]) {
        let before = content(&self.state);
        let complaint = complaint(&self.up());
        for word in words {
            assert!(complaint.contains(word), "no {word:?} in: {complaint}");
        }
        assert!(!complaint.contains("panicked") && complaint.len() < 1500, "{complaint}");
        assert!(content(&self.state) == before, "{words:?}: the state is not as it was");
        assert_eq!(process::of(&self.state), []);
    }
}

/// Every file below a folder with its bytes, but the empty one that keeps a second plane out.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn settings_that_are_wrong_are_named() {
    let cases: [(&str, &str, &str, &[&str]); 11] = [
        (
            "ringfence.toml",
            "tenant_resource",
            "tenant_resorce = 1\ntenant_resource",
            &["tenant_resorce", "unknown field"],
        ),
        ("ringfence.toml", "app_role = \"app\"", "app_role = \"a b\"", &["app_role", "a b"]),
        ("ringfence.toml", "[tiers.standard]", "[tiers.standard]\nspeed = 1", &["speed", "unknown field"]),
        ("ringfence.toml", "routes = ", "routes = \"nowhere.toml\" # ", &["nowhere.toml", "No such file"]),
        ("ringfence.toml", "per_second = 500", "per_second = 0", &["per_second", "0"]),
        ("ringfence.toml", "\"127.0.0.1:1\"", "\"not an address\"", &["upstream", "host:port"]),
        ("routes.toml", "\"/notes/{id}\"", "\"notes/{id\"", &["routes.toml", "notes/{id"]),
        ("routes.toml", "resource = \"Note\"", "resources = \"Note\"", &["routes.toml", "resources"]),
        ("app.cedar", "permit (principal,", "permit principal,", &["app.cedar"]),
        ("app.cedar", "App::Role::\"admin\"", "App::Rolle::\"admin\"", &["app.cedar", "Rolle"]),
        ("app.cedarschema", "entity Role;", "entity Role", &["app.cedarschema"]),
    ];
    for (file, from, to, words) in cases {
        let case = Case::new();
        case.edit(file, from, to);
        case.check(words);
        assert!(!case.state.join("postgres").exists(), "{to}: found before anything is made");
    }
}

#[test]
fn a_missing_settings_file_is_named_with_what_writes_one() {
    let case = Case::new();
    fs::remove_file(&case.config).unwrap();
    case.check(&["ringfence.toml", "No such file", "ringfence init"]);
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    for key in ["gateway", "api", "guard"] {
        let case = Case::new();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let dir = case.state.display().to_string();
        let config = case.config.display().to_string();
        let mut arguments = vec!["up", "--dir", &dir, "--config", &config];
        for other in ["--gateway", "--api", "--guard"] {
            arguments.extend([other, if other.ends_with(key) { &address } else { "127.0.0.1:0" }]);
        }
        let complaint = complaint(&run(&arguments));
        for word in [address.as_str(), "in use", &format!("listen.{key}"), &format!("--{key}")] {
            assert!(complaint.contains(word), "no {word} in {complaint}");
        }
        assert!(content(&case.state).is_empty());
    }
}

#[test]
fn no_postgres_says_what_to_install() {
    let case = Case::new();
    case.edit(
        "ringfence.toml",
        "# binaries = \"/usr/lib/postgresql/15/bin\"",
        "binaries = \"/nonexistent/bin\"",
    );
    case.check(&["no Postgres found", "/nonexistent/bin", "apt-get install postgresql"]);
}

#[test]
fn a_damaged_state_is_not_touched() {
    let case = Case::new();
    fs::create_dir_all(&case.state).unwrap();
    fs::write(case.state.join("state.sqlite"), vec![0x5a; 64 * 1024]).unwrap();
    let complaint = complaint(&case.up());
    for word in ["state is damaged", "state.sqlite", "restore the last backup"] {
        assert!(complaint.contains(word), "no {word} in {complaint}");
    }
    case.check(&["state is damaged"]);
}

#[test]
fn a_master_key_that_others_may_read_is_not_used() {
    let case = Case::new();
    let key = case.state.join("keys/master.key");
    fs::create_dir_all(key.parent().unwrap()).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    case.check(&["master.key", "others may read it", "chmod 600"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let case = Case::new();
    fs::write(&case.state, "a file").unwrap();
    let complaint = complaint(&case.up());
    assert!(complaint.contains(&case.state.display().to_string()), "{complaint}");
    assert_eq!(fs::read_to_string(&case.state).unwrap(), "a file");
    let proc = complaint_of_proc(&case);
    assert!(proc.contains("/proc/ringfence"), "{proc}");
}

/// Nobody writes below `/proc`, root neither.
fn complaint_of_proc(case: &Case) -> String {
    complaint(&up_fails(Path::new("/proc/ringfence"), &["--config", &case.config.display().to_string()]))
}
