//! ARCHITECTURE.md names, for each invariant, the test that would fail if it no longer held: the tests must be there.

use std::{collections::HashSet, path::Path, path::PathBuf};

use super::Fault;

/// Checks that every test ARCHITECTURE.md names exists. A test is named as `` `test: name` ``.
pub(super) fn check(root: &Path, sources: &[(PathBuf, String)]) -> Vec<Fault> {
    let Ok(text) = std::fs::read_to_string(root.join("ARCHITECTURE.md")) else {
        return vec!["ARCHITECTURE.md can't be read".to_owned()];
    };
    let named = named(&text);
    if named.is_empty() {
        return vec!["ARCHITECTURE.md names no test".to_owned()];
    }
    let there = functions(sources);
    let missing = named.into_iter().filter(|name| !there.contains(name.as_str()));
    missing.map(|name| format!("ARCHITECTURE.md names the test {name}, which is not there")).collect()
}

fn named(text: &str) -> Vec<String> {
    text.split("`test: ")
        .skip(1)
        .filter_map(|rest| rest.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn functions(sources: &[(PathBuf, String)]) -> HashSet<&str> {
    let mut names = HashSet::new();
    for (_, text) in sources {
        for rest in text.split("fn ").skip(1) {
            names.extend(rest.split(['(', '<']).next());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_both_sides() {
        assert_eq!(named("x `test: a_b` y `test: c` `other`"), ["a_b", "c"]);
        let sources = vec![(PathBuf::from("a.rs"), "fn a_b() {}\nasync fn c<T>() {}".to_owned())];
        assert!(functions(&sources).contains("a_b") && functions(&sources).contains("c"));
    }
}
