//! Text that becomes SQL: whatever a name holds, it stays one name, one literal or one line of a comment.

/// A name, quoted.
pub(in crate::adopt) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names, quoted, in a list.
pub(super) fn idents<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// A string; every file says `standard_conforming_strings = on`.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A string between dollars that are not in it.
pub(super) fn dollar(text: &str) -> String {
    let mut tag = "sql".to_owned();
    while text.contains(&format!("${tag}$")) || text.ends_with(&format!("${tag}")) {
        tag.push('_');
    }
    format!("${tag}${text}${tag}$")
}

/// What is said in a comment: a line stays a line.
pub(super) fn comment(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, letter| {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
        shown
    })
}

/// A name of the migration's own, the same each time it is made of the same: 32 bytes.
pub(super) fn generated(of: &[&str]) -> String {
    // FNV-1a, 64 bits: nobody draws names against it, and a name that is taken is refused by Postgres.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = of.iter().flat_map(|part| part.bytes().chain([0]));
    format!("ringfence_adopt_{:016x}", bytes.fold(0xcbf2_9ce4_8422_2325, hash))
}

/// As much of a name's beginning as fits into so many bytes.
fn cut(name: &str, bytes: usize) -> &str {
    let mut end = name.len().min(bytes);
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    name.get(..end).unwrap_or_default()
}

/// A name that stays, after the table's and the column's: at most 63 bytes.
pub(super) fn index_name(schema: &str, table: &str, column: &str) -> String {
    let hash = generated(&[schema, table, column]);
    let hash = hash.rsplit('_').next().unwrap_or_default();
    format!("{}_{}_{hash}", cut(table, 28), cut(column, 17))
}

/// Runs `sql` as soon as nobody holds its locks, unless `unless` is true then.
pub(super) fn patiently(unless: &str, sql: &str) -> String {
    format!("CALL ringfence_adopt.patiently({}, {});", dollar(unless), dollar(sql))
}

/// Ends what is being done with `told` where `met`, SQL, is not true.
pub(super) fn demand(met: &str, told: &str) -> String {
    format!("CALL ringfence_adopt.demand({met}, {});\n", literal(told))
}

/// Runs `sql`, which can't be in a transaction, where `when` is true.
pub(super) fn where_true(when: &str, sql: &str) -> String {
    format!("SELECT {} WHERE {when} \\gexec", dollar(sql))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_stays_one_name_and_a_line_one_line(name in ".{0,80}", other in ".{0,80}") {
            let quoted = ident(&name);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert!(!inner.replace("\"\"", "").contains('"'));
            prop_assert!(!comment(&name).contains(char::is_control));
            let text = dollar(&name);
            let tag = format!("${}$", text.split('$').nth(1).unwrap());
            prop_assert_eq!(text.split(&tag).collect::<Vec<_>>(), ["", &name, ""]);
            prop_assert!(generated(&[&name]).len() <= 63 && index_name(&name, &other, &name).len() <= 63);
            prop_assert_eq!(name == other, generated(&[&name]) == generated(&[&other]));
        }
    }

    #[test]
    fn what_ends_a_string_is_in_none() {
        for text in ["$sql$", "a$sql", "$sql_$ $sql$", "'; DROP TABLE t; --"] {
            let quoted = dollar(text);
            let tag = format!("${}$", quoted.split('$').nth(1).unwrap());
            assert_eq!(quoted.split(&tag).collect::<Vec<_>>(), ["", text, ""]);
        }
        assert_eq!(literal("it's"), "'it''s'");
    }
}
