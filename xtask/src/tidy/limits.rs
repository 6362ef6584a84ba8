//! Every bound in `limits.rs` has a test that is named after it, which its docs promise.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::Fault;

/// Where the bounds are.
const LIMITS: &str = "crates/ringfence-context/src/limits.rs";

/// Checks that each bound has a test called `reject_` and its name, and possibly more words behind it.
pub(super) fn check(root: &Path, sources: &[(PathBuf, String)]) -> Vec<Fault> {
    let Some((_, limits)) = sources.iter().find(|(path, _)| *path == root.join(LIMITS)) else {
        return vec![format!("{LIMITS} can't be read")];
    };
    let limits: Vec<(&str, String)> =
        constants(limits).map(|limit| (limit, format!("reject_{}", limit.to_lowercase()))).collect();
    let begins = |test: &str, name: &String| {
        test.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    // Where one bound's name begins with another's, a test is for the longer one.
    let of =
        |test: &&str| limits.iter().filter(|(_, name)| begins(test, name)).max_by_key(|(_, name)| name.len());
    let shown: HashSet<&str> =
        sources.iter().flat_map(|(_, text)| tests(text)).filter_map(|test| Some(of(&test)?.0)).collect();
    let missing = limits.iter().filter(|(limit, _)| !shown.contains(limit));
    missing.map(|(limit, name)| format!("{LIMITS}: {limit} has no test {name}")).collect()
}

fn constants(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(':')).map(|(name, _)| name)
}

/// The names of a file's tests: the first function after each attribute that makes one.
fn tests(text: &str) -> Vec<&str> {
    let after = text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1));
    let named = after.filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
    named.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with these bounds and these tests.
    fn faults(limits: &str, tests: &str) -> Vec<Fault> {
        let sources = [(PathBuf::from(LIMITS), limits.to_owned()), (PathBuf::from("a.rs"), tests.to_owned())];
        check(Path::new(""), &sources)
    }

    #[test]
    fn a_bound_without_a_test_of_its_name_is_a_fault() {
        let limits = "/// Most.\npub const TOKEN_BYTES: usize = 4096;\n";
        for named in [
            "#[test]\nfn reject_token_bytes() {}",
            "#[tokio::test(start_paused = true)]\nasync fn reject_token_bytes_in_text() {}",
        ] {
            assert_eq!(faults(limits, named), Vec::<Fault>::new(), "{named}");
        }
        for named in [
            "fn reject_token_bytes() {}",
            "#[test]\nfn reject_token_bytesize() {}",
            "#[test]\nfn token_bytes() {}",
        ] {
            assert_eq!(faults(limits, named).len(), 1, "{named}");
        }
        let two = format!("{limits}pub const TOKEN_BYTES_TOTAL: usize = 8192;\n");
        assert_eq!(faults(&two, "#[test]\nfn reject_token_bytes_total() {}").len(), 1);
        assert_eq!(check(Path::new(""), &[]).len(), 1);
    }
}
