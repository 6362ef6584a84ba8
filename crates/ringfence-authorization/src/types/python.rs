//! The types in Python: frozen data classes, so that a value is what it was made as.

use super::{ActionKind, EntityKind, Model, Record, Shape, names, names::Names};

/// Words of the language, in the scope of fields.
const WORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "case", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "match",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "type", "while", "with", "yield",
];

const IMPORTS: &str = "from __future__ import annotations\n\n\
    from dataclasses import dataclass\nfrom enum import Enum\nfrom typing import ClassVar, FrozenSet, Mapping, Optional\n";

pub(super) fn write(model: &Model, head: &[String]) -> String {
    let mut text: String = head.iter().map(|line| format!("# {line}\n")).collect();
    text.push_str(IMPORTS);
    for kind in &model.entities {
        entity(&mut text, kind);
    }
    for kind in &model.actions {
        actions(&mut text, kind);
    }
    for extension in model.extensions() {
        note(&mut text, "", &[format!("Cedar's `{}`, as it spells it.", extension.cedar())]);
        text.push_str(&format!("@dataclass(frozen=True)\nclass {}:\n    value: str\n", extension.name()));
    }
    for record in &model.records {
        fields(&mut text, record);
    }
    // An alias is an expression: it stands after all it names.
    for kind in &model.entities {
        if let Some(tags) = &kind.tags {
            note(&mut text, "", &[format!("The tags of a `{}`.", kind.full)]);
            text.push_str(&format!("{} = Mapping[str, {}]\n", tags.name, shape(&tags.shape)));
        }
    }
    text
}

fn entity(text: &mut String, kind: &EntityKind) {
    let EntityKind { full, name, notes, choices, tags: _ } = kind;
    let mut said = vec![format!("The id of a `{full}`.")];
    said.extend(notes.iter().cloned());
    note(text, "", &said);
    let of = names::quoted(full);
    match choices {
        Some(choices) => choice(text, name, choices.iter().map(|id| (id.as_str(), [].as_slice()))),
        None => text.push_str(&format!("@dataclass(frozen=True)\nclass {name}:\n    value: str\n")),
    }
    text.push_str(&format!("\n\n{name}_TYPE = {of}\n"));
}

fn actions(text: &mut String, kind: &ActionKind) {
    note(text, "", &[format!("An action: `{}`.", kind.full)]);
    choice(text, &kind.name, kind.members.iter().map(|action| (action.id.as_str(), action.notes.as_slice())));
    text.push_str(&format!("\n\n{}_TYPE = {}\n", kind.name, names::quoted(&kind.full)));
}

/// An enumeration of ids.
fn choice<'a>(text: &mut String, name: &str, ids: impl Iterator<Item = (&'a str, &'a [String])>) {
    let mut taken = Names::default();
    text.push_str(&format!("class {name}(Enum):\n"));
    for (id, notes) in ids {
        note(text, "    ", notes);
        text.push_str(&format!("    {} = {}\n", taken.take(names::screaming(id)), names::quoted(id)));
    }
}

fn fields(text: &mut String, record: &Record) {
    note(text, "", &record.notes);
    text.push_str(&format!("@dataclass(frozen=True, kw_only=True)\nclass {}:\n", record.name));
    let mut taken = Names::without(WORDS);
    let mut keys = Vec::new();
    for field in &record.fields {
        let name = taken.take(names::snake(&field.key));
        note(text, "    ", &field.notes);
        let shape = shape(&field.shape);
        let shape = if field.optional { format!("Optional[{shape}] = None") } else { shape };
        text.push_str(&format!("    {name}: {shape}\n"));
        keys.push(format!("{}: {}", names::quoted(&name), names::quoted(&field.key)));
    }
    // What the schema calls each field.
    text.push_str(&format!("    KEYS: ClassVar[Mapping[str, str]] = {{{}}}\n", keys.join(", ")));
}

fn shape(shape: &Shape) -> String {
    match shape {
        Shape::Text => "str".to_owned(),
        Shape::Long => "int".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Extension(extension) => extension.name().to_owned(),
        Shape::Set(element) => format!("FrozenSet[{}]", self::shape(element)),
        Shape::Record(name) | Shape::Id(name) => name.clone(),
    }
}

fn note(text: &mut String, indent: &str, lines: &[String]) {
    if indent.is_empty() {
        text.push_str("\n\n");
    }
    for line in lines {
        text.push_str(&format!("{indent}# {line}\n"));
    }
}
