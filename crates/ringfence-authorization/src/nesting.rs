//! How deep a text in Cedar's syntax is nested, found out before anything reads it.
//!
//! Cedar's parser, and what walks over what it made, call themselves once for each level: some thousands of them, which fit
//! into ten kilobytes, overflow a thread's stack and end the process. So every text is looked at here first. It guarantees
//! no more than the bound: what is not Cedar at all is the parser's to refuse.

use ringfence_context::limits;

/// It is nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is nested too deeply: at most {} brackets within each other, and as many `if` in one policy",
    limits::POLICY_NESTING
)]
pub(crate) struct TooDeep;

/// Checks the text of policies or templates: brackets within each other, and how often one policy says `if`, each of which
/// may stand within the one before without any bracket.
///
/// # Errors
/// [`TooDeep`].
pub(crate) fn policies(text: &str) -> Result<(), TooDeep> {
    check(text, b"([{", b")]}")
}

/// Checks the text of a schema, where `Set<Set<…>>` is nested as well.
///
/// # Errors
/// [`TooDeep`].
pub(crate) fn schema(text: &str) -> Result<(), TooDeep> {
    check(text, b"([{<", b")]}>")
}

fn check(text: &str, open: &[u8], close: &[u8]) -> Result<(), TooDeep> {
    let (mut depth, mut ifs) = (0_usize, 0_usize);
    let mut word = Vec::with_capacity(3);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            // Three letters are enough to know that it is not `if`.
            if word.len() < 3 {
                word.push(byte);
            }
            continue;
        }
        ifs = ifs.saturating_add(usize::from(word == b"if"));
        word.clear();
        match byte {
            // To the quote that ends it; a backslash takes what follows with it.
            b'"' => {
                while let Some(inside) = bytes.next() {
                    match inside {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            b'/' if bytes.peek() == Some(&b'/') => drop(bytes.find(|inside| matches!(inside, b'\n' | b'\r'))),
            b';' if depth == 0 => ifs = 0,
            opens if open.contains(&opens) => depth = depth.saturating_add(1),
            closes if close.contains(&closes) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limits::POLICY_NESTING || ifs > limits::POLICY_NESTING {
            return Err(TooDeep);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(open: &str, close: &str, depth: usize) -> String {
        format!("permit (principal, action, resource) when {}1{};", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn reject_policy_nesting() {
        let most = limits::POLICY_NESTING;
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{a:", "}"), ("!(", ")"), ("f(", ")"), ("if a then ", " else b")]
        {
            assert_eq!(policies(&nested(open, close, most)), Ok(()), "{open}");
            assert_eq!(policies(&nested(open, close, most + 1)), Err(TooDeep), "{open}");
        }
        let sets = |depth| format!("entity A = {{ a: {}Long{} }};", "Set<".repeat(depth), ">".repeat(depth));
        assert_eq!(schema(&sets(most - 1)), Ok(()));
        assert_eq!(schema(&sets(most)), Err(TooDeep));
    }

    #[test]
    fn what_hides_brackets_hides_them_from_cedar_too() {
        let deep = "(".repeat(limits::POLICY_NESTING + 1);
        for hidden in [
            format!("\"{deep}\""),
            format!("\"\\\"{deep}\""),
            format!("// {deep}\n"),
            format!("a // \"\n\"{deep}\""),
        ] {
            assert_eq!(policies(&hidden), Ok(()), "{hidden}");
        }
        for shown in [
            format!("// \"\n{deep}"),
            format!("// \"\r{deep}"),
            format!("\"\\\\\"{deep}"),
            format!("a / {deep}"),
        ] {
            assert_eq!(policies(&shown), Err(TooDeep), "{shown}");
        }
    }

    #[test]
    fn what_is_long_and_flat_is_not_deep() {
        let most = limits::POLICY_NESTING * 4;
        let text = "permit (principal, action, resource) when { if (a) then [b] else {} };\n".repeat(most);
        assert_eq!(policies(&text), Ok(()));
        assert_eq!(policies(&"a < 1 && ".repeat(most)), Ok(()));
    }
}
