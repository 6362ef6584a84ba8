//! The types in TypeScript. Names of fields are literals, so that none has to be made.

use super::{ActionKind, EntityKind, Model, Record, Shape, names, names::Names};

pub(super) fn write(model: &Model, head: &[String]) -> String {
    let mut text: String = head.iter().map(|line| format!("// {line}\n")).collect();
    for kind in &model.entities {
        entity(&mut text, kind);
    }
    for kind in &model.actions {
        actions(&mut text, kind);
    }
    for extension in model.extensions() {
        note(&mut text, "", &[format!("Cedar's `{}`, as it spells it.", extension.cedar())]);
        branded(&mut text, extension.name(), extension.cedar());
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
        Some(choices) => choice(text, name, choices.iter().map(|id| (id.as_str(), [].as_slice()))),
        None => branded(text, name, full),
    }
    text.push_str(&format!("export const {name}Type = {};\n", names::quoted(full)));
    if let Some(tags) = tags {
        note(text, "", &[format!("The tags of a `{full}`.")]);
        let map = format!("Readonly<Record<string, {}>>", shape(&tags.shape));
        text.push_str(&format!("export type {} = {map};\n", tags.name));
    }
}

/// A string that no other string is taken for.
fn branded(text: &mut String, name: &str, brand: &str) {
    let brand = names::quoted(brand);
    text.push_str(&format!(
        "export type {name} = string & {{ readonly __type: {brand} }};\n\
         export const {name} = (text: string): {name} => text as {name};\n"
    ));
}

fn actions(text: &mut String, kind: &ActionKind) {
    note(text, "", &[format!("An action: `{}`.", kind.full)]);
    choice(text, &kind.name, kind.members.iter().map(|action| (action.id.as_str(), action.notes.as_slice())));
    text.push_str(&format!("export const {}Type = {};\n", kind.name, names::quoted(&kind.full)));
}

/// A union of ids, with a name for each.
fn choice<'a>(text: &mut String, name: &str, ids: impl Iterator<Item = (&'a str, &'a [String])>) {
    let mut taken = Names::default();
    text.push_str(&format!("export const {name} = {{\n"));
    for (id, notes) in ids {
        note(text, "  ", notes);
        text.push_str(&format!("  {}: {},\n", taken.take_type(names::pascal(id)), names::quoted(id)));
    }
    text.push_str(&format!("}} as const;\nexport type {name} = (typeof {name})[keyof typeof {name}];\n"));
}

fn fields(text: &mut String, record: &Record) {
    note(text, "", &record.notes);
    text.push_str(&format!("export interface {} {{\n", record.name));
    for field in &record.fields {
        note(text, "  ", &field.notes);
        let optional = if field.optional { "?" } else { "" };
        let (key, shape) = (names::quoted(&field.key), shape(&field.shape));
        text.push_str(&format!("  readonly {key}{optional}: {shape};\n"));
    }
    text.push_str("}\n");
}

fn shape(shape: &Shape) -> String {
    match shape {
        Shape::Text => "string".to_owned(),
        Shape::Long => "number".to_owned(),
        Shape::Bool => "boolean".to_owned(),
        Shape::Extension(extension) => extension.name().to_owned(),
        Shape::Set(element) => format!("ReadonlyArray<{}>", self::shape(element)),
        Shape::Record(name) | Shape::Id(name) => name.clone(),
    }
}

fn note(text: &mut String, indent: &str, lines: &[String]) {
    if indent.is_empty() {
        text.push('\n');
    }
    match lines {
        [] => {}
        [line] => text.push_str(&format!("{indent}/** {line} */\n")),
        lines => {
            let lines: String = lines.iter().map(|line| format!("{indent} * {line}\n")).collect();
            text.push_str(&format!("{indent}/**\n{lines}{indent} */\n"));
        }
    }
}
