//! What commands print: tables for people, JSON for programs.

use serde_json::Value;

/// Prints a JSON value: as it is, or by `people` for a person.
pub(crate) fn print(json: bool, value: &Value, people: impl FnOnce(&Value) -> String) {
    let text = if json { serde_json::to_string_pretty(value).unwrap_or_default() } else { people(value) };
    println!("{}", text.trim_end());
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
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}
