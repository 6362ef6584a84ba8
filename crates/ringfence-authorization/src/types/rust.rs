//! The types in Rust.

use super::{ActionKind, EntityKind, Model, Record, Shape, names, names::Names};

/// Words of the language, in the scope of fields.
const WORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

const DERIVED: &str = "#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]\n";

pub(super) fn write(model: &Model, head: &[String]) -> String {
    let mut text: String = head.iter().map(|line| format!("//! {line}\n")).collect();
    for kind in &model.entities {
        entity(&mut text, kind);
    }
    for kind in &model.actions {
        actions(&mut text, kind);
    }
    for extension in model.extensions() {
        note(&mut text, "", &[format!("Cedar's `{}`, as it spells it.", extension.cedar())]);
        text.push_str(&format!("{DERIVED}pub struct {}(pub String);\n", extension.name()));
    }
    for record in &model.records {
        fields(&mut text, record);
    }
    text
}

fn entity(text: &mut String, kind: &EntityKind) {
    let EntityKind { full, name, notes, choices, tags } = kind;
    let mut said = vec![format!("The id of a `{full}`.")];
    said.extend(notes.iter().cloned());
    note(text, "", &said);
    match choices {
        Some(choices) => choice(text, name, full, choices.iter().map(|id| (id.as_str(), [].as_slice()))),
        None => text.push_str(&format!(
            "{DERIVED}pub struct {name}(String);\n\n\
             impl {name} {{\n    /// The entity type.\n    pub const TYPE: &'static str = {full:?};\n\n    \
             /// The id of this spelling.\n    pub fn new(id: impl Into<String>) -> Self {{\n        \
             Self(id.into())\n    }}\n\n    /// Its spelling.\n    pub fn as_str(&self) -> &str {{\n        \
             &self.0\n    }}\n}}\n"
        )),
    }
    if let Some(tags) = tags {
        note(text, "", &[format!("The tags of a `{full}`.")]);
        let map = format!("std::collections::BTreeMap<String, {}>", shape(&tags.shape));
        text.push_str(&format!("pub type {} = {map};\n", tags.name));
    }
}

fn actions(text: &mut String, kind: &ActionKind) {
    note(text, "", &[format!("An action: `{}`.", kind.full)]);
    let members = kind.members.iter().map(|action| (action.id.as_str(), action.notes.as_slice()));
    choice(text, &kind.name, &kind.full, members);
}

/// An enum of ids.
fn choice<'a>(text: &mut String, name: &str, full: &str, ids: impl Iterator<Item = (&'a str, &'a [String])>) {
    let mut taken = Names::without(&["Self"]);
    let members: Vec<_> = ids.map(|(id, notes)| (taken.take_type(names::pascal(id)), id, notes)).collect();
    let derived = DERIVED.replace("Clone", "Clone, Copy");
    text.push_str(&format!("{derived}pub enum {name} {{\n"));
    for (variant, id, notes) in &members {
        let mut said = vec![format!("`{}`.", names::quoted(id).trim_matches('"'))];
        said.extend(notes.iter().cloned());
        note(text, "    ", &said);
        text.push_str(&format!("    {variant},\n"));
    }
    text.push_str(&format!(
        "}}\n\nimpl {name} {{\n    /// The entity type.\n    pub const TYPE: &'static str = {full:?};\n\n    \
         /// Every one.\n    pub const ALL: &'static [Self] = &["
    ));
    let all: Vec<String> = members.iter().map(|(variant, ..)| format!("Self::{variant}")).collect();
    text.push_str(&all.join(", "));
    text.push_str(
        "];\n\n    /// Its id.\n    pub const fn as_str(self) -> &'static str {\n        match self {\n",
    );
    for (variant, id, _) in &members {
        text.push_str(&format!("            Self::{variant} => \"{}\",\n", id.escape_default()));
    }
    text.push_str("        }\n    }\n}\n");
}

fn fields(text: &mut String, record: &Record) {
    note(text, "", &record.notes);
    text.push_str(&format!("{DERIVED}pub struct {} {{\n", record.name));
    let mut taken = Names::without(WORDS);
    for field in &record.fields {
        let name = taken.take(names::snake(&field.key));
        let mut said = vec![format!("`{}`.", names::quoted(&field.key).trim_matches('"'))];
        said.extend(field.notes.iter().cloned());
        note(text, "    ", &said);
        let shape = shape(&field.shape);
        let shape = if field.optional { format!("Option<{shape}>") } else { shape };
        text.push_str(&format!("    pub {name}: {shape},\n"));
    }
    text.push_str("}\n");
}

fn shape(shape: &Shape) -> String {
    match shape {
        Shape::Text => "String".to_owned(),
        Shape::Long => "i64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Extension(extension) => extension.name().to_owned(),
        Shape::Set(element) => format!("std::collections::BTreeSet<{}>", self::shape(element)),
        Shape::Record(name) | Shape::Id(name) => name.clone(),
    }
}

/// A comment of documentation. What stands at no indent begins a new item.
fn note(text: &mut String, indent: &str, lines: &[String]) {
    if indent.is_empty() {
        text.push('\n');
    }
    for line in lines {
        text.push_str(&format!("{indent}/// {line}\n"));
    }
}
