//! What commands print: tables for people, JSON for programs.

use std::{
    fmt::Arguments,
    io::{ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

/// Whether something that was said could not be written.
static LOST: AtomicBool = AtomicBool::new(false);

/// Says a line on standard output. Unlike `println!` it ends nothing: whoever pipes it into `head` has read enough, and a
/// plane that serves goes on where nobody listens any more.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::output::line(format_args!($($arguments)*)) };
}

/// See `say!`.
pub(crate) fn line(text: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if let Err(error) = written.map_err(|error| error.kind())
        && error != ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        eprintln!("ringfence: what this prints can't be written: {error}");
    }
}

/// Whether something that was said is lost: a full disk, not a reader who has enough.
pub(crate) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Prints a JSON value: as it is, or by `people` for a person.
pub(crate) fn print(json: bool, value: &Value, people: impl FnOnce(&Value) -> String) {
    let text = if json { serde_json::to_string_pretty(value).unwrap_or_default() } else { people(value) };
    say!("{}", text.trim_end());
}

/// A list of objects as a table of the named members.
pub(crate) fn table(value: &Value, columns: &[&str]) -> String {
    let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return "none".to_owned();
    }
    let header: Vec<String> = columns.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
    let cells = |row: &Value| columns.iter().map(|name| cell(row.get(*name))).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    let width =
        |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|text| text.chars().count()).max();
    let mut text = String::new();
    for line in &lines {
        for (at, cell) in line.iter().enumerate() {
            text.push_str(&format!("{cell:<width$}  ", width = width(at).unwrap_or_default()));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// One object, a line for each member.
pub(crate) fn card(value: &Value) -> String {
    let Some(members) = value.as_object() else { return cell(Some(value)) };
    members
        .iter()
        .map(|(name, value)| format!("{:<14} {}\n", name.replace('_', " "), cell(Some(value))))
        .collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

/// A text as one line that says nothing to a terminal: control characters, and what turns text around, as escapes.
pub(crate) fn printable(text: &str) -> String {
    let speaks = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if speaks(letter) { line.extend(letter.escape_unicode()) } else { line.push(letter) }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_stays_in_its_line_and_commands_no_terminal() {
        let rows = json!([{ "name": "a\nb\u{1b}[2K\r\u{202e}c", "reason": "plain, with ü" }]);
        let text = table(&rows, &["name", "reason"]);
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(text.contains("a\\u{a}b\\u{1b}[2K\\u{d}\\u{202e}c  plain, with ü"), "{text:?}");
        assert!(card(&rows[0]).contains("\\u{a}"));
    }
}
