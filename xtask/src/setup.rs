//! Installing what is missing, from the distribution.

use std::path::Path;

use crate::run::{Outcome, output, run};

/// Something that is needed: its name, whether it is there, and Debian's package for it.
pub(crate) type Need = (&'static str, fn() -> bool, &'static str);

const NEEDED: &[Need] = &[
    ("a C compiler and linker", compiler, "build-essential"),
    ("Postgres 15 or later", postgres, "postgresql"),
    ("cvc5, the solver that proves policies", cvc5, "cvc5"),
    ("kill, which tests use", kill, "procps"),
    ("Python with venv and pip, which tests use", python, "python3-venv"),
    ("Java, which tests use", java, "default-jre-headless"),
    ("Java's compiler as a library, which tests use", ecj, "libecj-java"),
    ("Postgres' driver for Java, which tests use", jdbc, "libpostgresql-jdbc-java"),
    ("Ruby with ActiveRecord, which tests use", active_record, "ruby-activerecord"),
    ("Ruby's driver for Postgres, which tests use", ruby_pg, "ruby-pg"),
    ("Node with npm, which tests use", node, "npm"),
];

/// Installs what everything needs and is missing.
pub(crate) fn setup() -> Outcome {
    install(NEEDED)
}

/// Installs what of `needed` is missing.
pub(crate) fn install(needed: &[Need]) -> Outcome {
    let missing: Vec<_> = needed.iter().filter(|(_, there, _)| !there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" and ");
    if !debian() {
        return Err(format!(
            "needed and not found: {names}. Install it with this system's packages, then try again."
        ));
    }
    let packages: Vec<&str> = missing.iter().map(|(_, _, package)| *package).collect();
    eprintln!("installing {names}: {}", packages.join(" "));
    let sudo = output("id", &["-u"]).is_none_or(|id| id != "0");
    let apt = |arguments: &[&str]| {
        let mut all = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        all.extend(arguments);
        match all.split_first() {
            Some((program, rest)) if !sudo => run(program, rest),
            _ => run("sudo", &all),
        }
    };
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    apt(&install)?;
    match needed.iter().find(|(_, there, _)| !there()) {
        None => Ok(()),
        Some((name, ..)) => Err(format!("{name} is still not found; install it, then try again")),
    }
}

fn debian() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

fn compiler() -> bool {
    output("cc", &["--version"]).is_some()
}

fn cvc5() -> bool {
    output("cvc5", &["--version"]).is_some()
}

fn python() -> bool {
    output("python3", &["-c", "import ensurepip, venv"]).is_some()
}

fn java() -> bool {
    output("java", &["-version"]).is_some()
}

fn ecj() -> bool {
    Path::new("/usr/share/java/ecj.jar").exists()
}

fn jdbc() -> bool {
    Path::new("/usr/share/java/postgresql.jar").exists()
}

fn active_record() -> bool {
    output("ruby", &["-e", "require 'active_record'"]).is_some()
}

fn ruby_pg() -> bool {
    output("ruby", &["-e", "require 'pg'"]).is_some()
}

fn node() -> bool {
    output("node", &["--version"]).is_some() && output("npm", &["--version"]).is_some()
}

fn kill() -> bool {
    output("kill", &["-L"]).is_some()
}

fn postgres() -> bool {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = debian.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found = versions.max().is_some_and(|version| version >= 15);
    found
        || output("postgres", &["--version"])
            .is_some_and(|text| major(&text).is_some_and(|major| major >= 15))
}

/// `postgres (PostgreSQL) 15.6` has major version 15.
fn major(text: &str) -> Option<u32> {
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok())
}
