//! The few statements that must come before the context, told by their first words.
//!
//! Nothing is decided by this: a statement wrongly held to be one of them runs without a context, and Postgres refuses
//! it. It is for `BEGIN ISOLATION LEVEL ...`, which Postgres accepts only before a transaction's first query, and for
//! `DISCARD ALL`, which it accepts only alone.

/// How much of a query is looked at; longer ones are none of these.
pub(super) const LOOKED_AT_BYTES: usize = 256;

/// Whether `query` is one statement that begins, shapes or ends a transaction, or resets the session.
pub(super) fn precedes_context(query: &[u8]) -> bool {
    let mut words = words(query);
    match (words.next(), words.next()) {
        (Some(first), second) if first == "BEGIN" || first == "END" || first == "ABORT" => {
            second != Some("AND".to_owned())
        }
        (Some(first), Some(second)) => matches!(
            (first.as_str(), second.as_str()),
            ("START" | "SET", "TRANSACTION")
                | ("DISCARD", "ALL")
                | ("COMMIT" | "ROLLBACK", "WORK" | "TRANSACTION")
        ),
        (Some(first), None) => matches!(first.as_str(), "COMMIT" | "ROLLBACK"),
        (None, _) => false,
    }
}

/// Whether `query` is one statement whose setting ends with the transaction.
pub(super) fn sets_locally(query: &[u8]) -> bool {
    let mut words = words(query);
    words.next().as_deref() == Some("SET") && matches!(words.next().as_deref(), Some("LOCAL" | "TRANSACTION"))
}

/// The words of a single statement in upper case; none where there is a second statement, a comment or a quote.
fn words(query: &[u8]) -> impl Iterator<Item = String> {
    let text = query.split(|byte| *byte == 0).next().and_then(|text| std::str::from_utf8(text).ok());
    let text = text.unwrap_or_default().trim().trim_end_matches(';');
    let plain = query.len() <= LOOKED_AT_BYTES && !text.contains([';', '\'', '"', '$', '-', '/']);
    let text = if plain { text } else { "" };
    text.split_ascii_whitespace().map(str::to_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shapes_a_transaction_precedes_the_context() {
        for yes in [
            "BEGIN",
            "begin;",
            " Begin isolation level serializable ;",
            "START TRANSACTION READ ONLY",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "DISCARD ALL",
            "COMMIT",
            "ROLLBACK;",
            "END",
        ] {
            assert!(precedes_context(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            ";",
            "BEGIN; SELECT 1",
            "BEGIN /* */",
            "BEGIN -- x",
            "COMMIT AND CHAIN",
            "ROLLBACK TO a",
            "SELECT 1",
            "SET x = 1",
            "SET SESSION AUTHORIZATION x",
            "DISCARD PLANS",
            "COMMIT; SELECT 1",
        ] {
            assert!(!precedes_context(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn local_settings_end_with_the_transaction() {
        assert!(sets_locally(b"set local statement_timeout = 100\0"));
        assert!(!sets_locally(b"set local x = 1; set y = 2\0"));
        assert!(!sets_locally(b"set session x = 1\0"));
    }
}
