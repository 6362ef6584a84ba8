//! What little is read of a statement's text.
//!
//! No tenant's isolation rests on it: a connection that goes to another tenant is cleaned whatever was said on it.

/// How much of a query is looked at; longer ones may keep anything.
pub(super) const LOOKED_AT_BYTES: usize = 8 * 1024;

/// Words without which nothing is left behind in a session, unless the answer's command tag or a function of the
/// database says so: settings, locks and tables of the session. The last is how any of them can be spelled otherwise.
const KEEPING: [&[u8]; 4] = [b"set_config", b"advisory", b"temp", b"u&\""];

/// Whether running `text` may leave something behind in the session that no command tag tells of.
pub(super) fn may_keep(text: &[u8]) -> bool {
    let begins = |rest: &[u8]| {
        KEEPING
            .iter()
            .any(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
    };
    let first = |byte: &u8| matches!(byte, b's' | b'S' | b'a' | b'A' | b't' | b'T' | b'u' | b'U');
    (0..text.len())
        .any(|at| text.get(at..).is_some_and(|rest| rest.first().is_some_and(first) && begins(rest)))
}

/// Whether `query` is one statement whose setting ends with the transaction.
pub(super) fn sets_locally(query: &[u8]) -> bool {
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
            "SELECT pg_advisory_lock(1)",
            "CREATE TEMP TABLE x ()",
            "SELECT 1 INTO TEMPORARY x",
            "SELECT U&\"set\\005fconfig\"('a', 'b', false)",
        ] {
            assert!(may_keep(yes.as_bytes()), "{yes}");
        }
        for no in ["", "t", "SELECT * FROM settings", "SELECT 1", "UPDATE accounts SET a = 'temq'"] {
            assert!(!may_keep(no.as_bytes()), "{no}");
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
