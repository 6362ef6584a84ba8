//! Files of at most 500 lines of code, functions of at most 70 lines, and no file named after nothing.

use std::path::{Path, PathBuf};

use super::Fault;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const EMPTY_NAMES: &[&str] =
    &["utils.rs", "util.rs", "common.rs", "helpers.rs", "helper.rs", "manager.rs", "misc.rs"];

/// Checks sizes and names.
pub(super) fn check(root: &Path, sources: &[(PathBuf, String)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in sources {
        let shown = path.strip_prefix(root).unwrap_or(path).display();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if EMPTY_NAMES.contains(&name) {
            faults.push(format!("{shown}: says nothing of what is in it: name it after its concept"));
        }
        let code = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
            .count();
        if code > FILE_LINES {
            faults.push(format!("{shown}: {code} lines of code, at most {FILE_LINES}: split it by concept"));
        }
        for (line, length) in long_functions(text) {
            faults.push(format!("{shown}:{line}: a function of {length} lines, at most {FUNCTION_LINES}"));
        }
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") {
            faults.push(format!("{shown}: does not begin by saying what it does (`//!`)"));
        }
    }
    faults
}

/// Functions over the limit, by line. Formatted code ends a function at the indentation it began with.
fn long_functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let head = line.trim_start();
        let begins =
            head.split('(').next().is_some_and(|head| head.split_whitespace().any(|word| word == "fn"));
        // A declaration without a body ends in a semicolon before any brace opens.
        let bodied = lines.iter().skip(at).find(|line| line.trim_end().ends_with(['{', '}', ';']));
        let bodied = bodied.is_some_and(|line| !line.trim_end().ends_with(';'));
        if !begins || !bodied || head.starts_with("//") {
            continue;
        }
        let end = lines.iter().skip(at).position(|line| {
            line.len() - line.trim_start().len() == indent
                && (line.trim() == "}" || line.trim_end().ends_with("; }"))
        });
        if let Some(length) = end.map(|end| end.saturating_add(1)).filter(|length| *length > FUNCTION_LINES) {
            found.push((at.saturating_add(1), length));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_function_is_found_and_a_short_one_is_not() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines));
        assert_eq!(long_functions(&body(FUNCTION_LINES - 2)), []);
        assert_eq!(long_functions(&body(FUNCTION_LINES)), [(1, FUNCTION_LINES + 2)]);
        assert_eq!(long_functions(&format!("fn f();\n{}}}\n", "  g\n".repeat(100))), []);
    }

    #[test]
    fn an_empty_name_and_a_missing_head_are_faults() {
        let source = |name: &str, text: &str| vec![(PathBuf::from(name), text.to_owned())];
        assert_eq!(check(Path::new(""), &source("a/utils.rs", "//! x\n")).len(), 1);
        assert_eq!(check(Path::new(""), &source("a/token.rs", "fn f() {}\n")).len(), 1);
        assert_eq!(check(Path::new(""), &source("a/token.rs", "//! x\n")), Vec::<String>::new());
    }
}
