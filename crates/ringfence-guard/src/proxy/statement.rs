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

/// What running a text may do to the session it is run in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Effects {
    /// It may leave something behind that no command tag tells of.
    pub(super) may_keep: bool,
    /// It may let go of the lock by which the session's tenant is found (`bar.rs`).
    pub(super) may_unlock: bool,
    /// It sets something for the rest of the transaction.
    pub(super) sets_locally: bool,
    /// By itself, it may set something for longer.
    pub(super) may_set: bool,
    /// It sets something for longer that is followed elsewhere, by a function.
    pub(super) configures: bool,
    /// It may declare a cursor that outlives the transaction.
    pub(super) may_hold: bool,
}

impl Effects {
    /// Of a text that is there in full, or not.
    pub(super) fn of(text: &[u8], whole: bool) -> Self {
        let sets_locally = sets_locally(text);
        let (may_keep, may_unlock) = keeping(text);
        let first = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r' | b';'));
        let begins = first.and_then(|first| text.get(first..)).unwrap_or_default();
        let is = |word: &[u8]| begins.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let comment = is(b"--") || is(b"/*");
        let hold = || text.windows(4).any(|word| word.eq_ignore_ascii_case(b"hold"));
        Self {
            may_keep: !whole || may_keep,
            may_unlock: !whole || may_unlock,
            sets_locally,
            may_set: !whole || !sets_locally && (comment || is(b"set")),
            configures: configures(text).is_some(),
            may_hold: !whole || (comment || is(b"declare") || text.contains(&b';')) && hold(),
        }
    }
}

/// Settings that are followed: a session that sets one has it on each connection it gets. How values look, and what a
/// client is told; none of what a statement may do.
const FOLLOWED: [&str; 9] = [
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "IntervalStyle",
    "extra_float_digits",
    "bytea_output",
    "standard_conforming_strings",
    "client_min_messages",
    "application_name",
];

fn followed(name: &str) -> Option<&'static str> {
    FOLLOWED.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// What `query` sets if it is a `SET` of one of them, or as much by a function, to a value that is written again as it was
/// read.
pub(super) fn follows(query: &[u8]) -> Option<(&'static str, String)> {
    if let Some((name, value)) = configures(query) {
        return unquoted(value).map(|value| (name, value.to_owned()));
    }
    let rest = after(single(query), "SET")?;
    let rest = after(rest, "SESSION").unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (name, rest) = rest.split_at_checked(end)?;
    let name = followed(name)?;
    let rest = rest.trim_ascii_start();
    let value = rest.strip_prefix('=').or_else(|| after(rest, "TO"))?.trim_ascii_start();
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !text.eq_ignore_ascii_case("DEFAULT")
    };
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let plain = || (is_number || is_word(value)).then(|| value.to_ascii_lowercase());
    unquoted(value).map(str::to_owned).or_else(plain).map(|value| (name, value))
}

/// `SELECT set_config('name', value, false)` of one that is followed.
fn configures(query: &[u8]) -> Option<(&'static str, &str)> {
    const CALL: &str = "set_config(";
    let (call, rest) = after(single(query), "SELECT")?.split_at_checked(CALL.len())?;
    let rest = call.eq_ignore_ascii_case(CALL).then(|| rest.trim_ascii_start())?;
    let (name, rest) = rest.strip_prefix('\'')?.split_once('\'')?;
    let (value, last) = rest.trim_ascii_start().strip_prefix(',')?.rsplit_once(',')?;
    let is_lasting = last.strip_suffix(')')?.trim_ascii().eq_ignore_ascii_case("false");
    is_lasting.then_some((followed(name)?, value.trim_ascii()))
}

/// A string that stands for itself.
fn unquoted(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let printed = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '\'' && c != '\\';
    text.chars().all(printed).then_some(text)
}

/// What follows a word.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.split_at_checked(word.len())?;
    let is_word = first.eq_ignore_ascii_case(word) && rest.starts_with(|c: char| c.is_ascii_whitespace());
    is_word.then(|| rest.trim_ascii_start())
}

/// Whether running `text` may leave something behind in the session that no command tag tells of, and let go of a lock.
fn keeping(text: &[u8]) -> (bool, bool) {
    let first = |byte: &u8| matches!(byte, b's' | b'S' | b'a' | b'A' | b't' | b'T' | b'u' | b'U');
    let (mut may_keep, mut may_unlock) = (false, false);
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
    (may_keep, may_unlock)
}

/// Whether `query` is one statement whose setting ends with the transaction.
fn sets_locally(query: &[u8]) -> bool {
    let mut words = words(query);
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("SET"))
        && words.next().is_some_and(|word| {
            word.eq_ignore_ascii_case("LOCAL") || word.eq_ignore_ascii_case("TRANSACTION")
        })
}

/// Whether `query` is one `LISTEN`.
pub(super) fn listens(query: &[u8]) -> bool {
    words(query).next().is_some_and(|word| word.eq_ignore_ascii_case("LISTEN"))
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
    single(query).split_ascii_whitespace()
}

/// A single statement; nothing where there may be a second one.
fn single(query: &[u8]) -> &str {
    const LONGEST: usize = 256;
    let text = query.split(|byte| *byte == 0).next().filter(|text| text.len() <= LONGEST);
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let text = text.trim().trim_end_matches(';');
    if text.contains(';') { "" } else { text.trim_ascii() }
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
    fn a_setting_that_is_followed_is_one_statement_with_a_plain_value() {
        for (query, set) in [
            ("SET extra_float_digits = 3", "extra_float_digits=3"),
            ("set Application_Name = 'PostgreSQL JDBC Driver';\0", "application_name=PostgreSQL JDBC Driver"),
            ("SET client_min_messages TO 'warning'", "client_min_messages=warning"),
            ("SET SESSION timezone TO 'UTC'", "TimeZone=UTC"),
            ("SET intervalstyle = ISO_8601", "IntervalStyle=iso_8601"),
            ("SET extra_float_digits=-1", "extra_float_digits=-1"),
            ("set client_encoding to 'unicode'", "client_encoding=unicode"),
            ("SELECT set_config('TimeZone', 'Asia/Tokyo', false)", "TimeZone=Asia/Tokyo"),
            ("select Set_Config( 'timezone' ,'UTC',FALSE ) ;", "TimeZone=UTC"),
        ] {
            let found = follows(query.as_bytes()).map(|(name, value)| format!("{name}={value}"));
            assert_eq!(found.as_deref(), Some(set), "{query}");
        }
        for query in [
            "SET LOCAL TimeZone = 'UTC'",
            "SET TimeZone TO DEFAULT",
            "SET TimeZone = default",
            "SET TimeZone = 'a''b'",
            "SET TimeZone = 'a\\b'",
            "SET TimeZone = E'UTC'",
            "SET TimeZone = 'UTC'; SELECT 1",
            "SET TimeZone = 'U;C'",
            "SET TimeZone = 'UTC' -- '",
            "SET TimeZone = /**/ UTC",
            "SET DateStyle = ISO, DMY",
            "SET TIME ZONE 'UTC'",
            "SET TimeZone = ''' UTC'",
            "SET statement_timeout = 1",
            "SET search_path = 'x'",
            "SET SESSION AUTHORIZATION 'x'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET ROLE x",
            "SET \"TimeZone\" = 'UTC'",
            "SET TimeZone",
            "SET",
            "SET TimeZone = '",
            "SELECT set_config('TimeZone', 'UTC', true)",
            "SELECT set_config('TimeZone', $1, false)",
            "SELECT set_config('TimeZone', 'U''C', false)",
            "SELECT set_config('my.mark', 'x', false)",
            "SELECT set_config('TimeZone', 'UTC', false), 1",
            "SELECT 1",
        ] {
            assert_eq!(follows(query.as_bytes()), None, "{query}");
        }
    }

    #[test]
    fn what_outlives_a_transaction_is_known_by_how_it_begins() {
        let of = |text: &str| Effects::of(text.as_bytes(), true);
        for text in ["SET a = 1", " ; set a = 1", "/**/ SET a = 1", "-- \n SELECT 1"] {
            assert!(of(text).may_set, "{text}");
        }
        for text in ["SET LOCAL a = 1", "UPDATE a SET b = 1", "SELECT 1", ""] {
            assert!(!of(text).may_set, "{text}");
        }
        for text in
            ["DECLARE a CURSOR WITH HOLD FOR SELECT 1", "BEGIN; declare a cursor with Hold for select 1"]
        {
            assert!(of(text).may_hold, "{text}");
        }
        for text in ["DECLARE a CURSOR FOR SELECT 1", "SELECT hold FROM a"] {
            assert!(!of(text).may_hold, "{text}");
        }
        assert!(of("SELECT set_config('TimeZone', $1, false)").configures);
        assert!(!of("SELECT set_config('my.mark', $1, false)").configures);
        assert!(Effects::of(b"DECLARE", false).may_hold && Effects::of(b"SELECT", false).may_set);
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
            assert!(keeping(yes.as_bytes()).0, "{yes}");
        }
        for no in ["", "t", "SELECT * FROM settings", "SELECT 1", "UPDATE accounts SET a = 'temq'"] {
            assert_eq!(keeping(no.as_bytes()), (false, false), "{no}");
        }
    }

    #[test]
    fn who_listens_says_so_first() {
        assert!(listens(b"LISTEN c\0") && listens(b" listen \"C\";"));
        assert!(!listens(b"UNLISTEN c") && !listens(b"SELECT 'LISTEN'") && !listens(b""));
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
