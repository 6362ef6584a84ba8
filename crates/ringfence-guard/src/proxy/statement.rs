//! What little is read of a statement's text.
//!
//! No tenant's isolation rests on it: a connection that goes to another tenant is cleaned whatever was said on it.

/// How much of a query is looked at; longer ones may keep anything.
pub(super) const LOOKED_AT_BYTES: usize = 8 * 1024;

/// Words without which nothing is left behind in a session, unless the answer's command tag or a function of the
/// database says so: settings, locks and tables of the session. The last is how any of them can be spelled otherwise.
const KEEPING: [&[u8]; 5] = [b"set_config", b"setseed", b"temp", LOCKS, OTHERWISE];
const LOCKS: &[u8] = b"advisory";
const OTHERWISE: &[u8] = b"u&\"";

/// What running a statement may do beyond it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traces {
    /// It may leave something behind in the session that no command tag tells of.
    pub(super) may_keep: bool,
    /// It may let go of the lock by which the session's tenant is found (`bar.rs`).
    pub(super) may_unlock: bool,
    /// It changes a setting for the rest of the transaction.
    pub(super) sets_locally: bool,
}

impl Traces {
    /// Of a statement's text; `whole`: it is all of it.
    pub(super) fn of(text: &[u8], whole: bool) -> Self {
        let first = |byte: &u8| matches!(byte, b's' | b'S' | b'a' | b'A' | b't' | b'T' | b'u' | b'U');
        let (mut may_keep, mut may_unlock) = (!whole, !whole);
        for rest in (0..text.len()).filter_map(|at| text.get(at..)) {
            if !rest.first().is_some_and(first) {
                continue;
            }
            let begins =
                |word: &&&[u8]| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            if let Some(word) = KEEPING.iter().find(begins) {
                may_keep = true;
                may_unlock |= [LOCKS, OTHERWISE].contains(word);
            }
        }
        Self { may_keep, may_unlock, sets_locally: sets_locally(text) }
    }
}

/// Whether `query` is one statement whose setting ends with the transaction.
fn sets_locally(query: &[u8]) -> bool {
    let mut words = words(query);
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("SET"))
        && words.next().is_some_and(|word| {
            word.eq_ignore_ascii_case("LOCAL") || word.eq_ignore_ascii_case("TRANSACTION")
        })
}

/// The name in `DEALLOCATE name`, as a protocol message would give it.
pub(super) fn deallocates(query: &[u8]) -> Option<String> {
    let mut words = words(query);
    words.next().filter(|word| word.eq_ignore_ascii_case("DEALLOCATE"))?;
    let mut name = words.next()?;
    if name.eq_ignore_ascii_case("PREPARE") {
        name = words.next()?;
    }
    if words.next().is_some() || name.eq_ignore_ascii_case("ALL") {
        return None;
    }
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) if !quoted.contains('"') => Some(quoted.to_owned()),
        None if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            Some(name.to_ascii_lowercase())
        }
        _ => None,
    }
}

/// The words of a single statement; none where there may be a second one.
fn words(query: &[u8]) -> impl Iterator<Item = &str> {
    const LONGEST: usize = 256;
    let text = query.split(|byte| *byte == 0).next().filter(|text| text.len() <= LONGEST);
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let text = text.trim().trim_end_matches(';');
    let text = if text.contains(';') { "" } else { text };
    text.split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_settings_end_with_the_transaction() {
        assert!(sets_locally(b"set local statement_timeout = 100\0"));
        assert!(sets_locally(b"SET TRANSACTION READ ONLY;"));
        assert!(sets_locally(b"SET LOCAL DateStyle = 'ISO, DMY'"));
        assert!(!sets_locally(b"SET /**/ LOCAL x = 1") && !sets_locally(b"SET -- LOCAL\n x = 1"));
        assert!(!sets_locally(b"set local x = 1; set y = 2\0"));
        assert!(!sets_locally(b"set session x = 1\0"));
    }

    #[test]
    fn what_may_keep_something_is_seen() {
        for yes in [
            "SELECT set_config('a', 'b', false)",
            "select pg_catalog.SET_CONFIG('a', 'b', true)",
            "SELECT SetSeed(0.5)",
            "SELECT pg_advisory_lock(1)",
            "CREATE TEMP TABLE x ()",
            "SELECT 1 INTO TEMPORARY x",
            "SELECT U&\"set\\005fconfig\"('a', 'b', false)",
        ] {
            assert!(Traces::of(yes.as_bytes(), true).may_keep, "{yes}");
        }
        for no in ["", "t", "SELECT * FROM settings", "SELECT 1", "UPDATE accounts SET a = 'temq'"] {
            assert_eq!(Traces::of(no.as_bytes(), true), Traces::default(), "{no}");
        }
    }

    #[test]
    fn a_statement_that_is_dropped_has_a_name() {
        for (query, name) in [
            ("DEALLOCATE a1", Some("a1")),
            ("deallocate Prepare A1;", Some("a1")),
            ("DEALLOCATE \"_pg3_0\"", Some("_pg3_0")),
            ("DEALLOCATE \"S_1\"", Some("S_1")),
            ("DEALLOCATE ALL", None),
            ("DEALLOCATE PREPARE ALL", None),
            ("DEALLOCATE", None),
            ("DEALLOCATE a; SELECT 1", None),
            ("DEALLOCATE a b", None),
            ("DEALLOCATE \"a\"\"b\"", None),
            ("SELECT 1", None),
        ] {
            assert_eq!(deallocates(query.as_bytes()).as_deref(), name, "{query}");
        }
    }
}
