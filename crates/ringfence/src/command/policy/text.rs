//! What the policy commands read and say alike: files, edits, names of versions, and what is known of a change.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{Context, IntoDiagnostic, Result, bail, miette};
use serde_json::{Map, Value, json};

/// A change of what serves, put together from files.
#[derive(Debug, Args)]
pub(crate) struct EditArguments {
    /// Write a policy from a file
    #[arg(long, value_name = "NAME=FILE")]
    put: Vec<String>,
    /// Delete a policy
    #[arg(long, value_name = "NAME")]
    delete: Vec<String>,
    /// Write a template from a file
    #[arg(long, value_name = "NAME=FILE")]
    put_template: Vec<String>,
    /// Delete a template
    #[arg(long, value_name = "NAME")]
    delete_template: Vec<String>,
    /// Write the schema from a file
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
}

impl EditArguments {
    /// As the API reads it; nothing, where there is nothing to change.
    pub(crate) fn json(&self) -> Result<Option<Value>> {
        let Self { put, delete, put_template, delete_template, schema } = self;
        let schema = schema.as_deref().map(read).transpose()?;
        let lists = [put, delete, put_template, delete_template];
        if lists.iter().all(|list| list.is_empty()) && schema.is_none() {
            return Ok(None);
        }
        Ok(Some(json!({
            "put": files(put)?,
            "delete": delete,
            "put_templates": files(put_template)?,
            "delete_templates": delete_template,
            "schema": schema,
        })))
    }
}

fn files(named: &[String]) -> Result<Map<String, Value>> {
    let mut texts = Map::new();
    for pair in named {
        let Some((name, file)) = pair.split_once('=') else { bail!("\"{pair}\" is not NAME=FILE") };
        if texts.insert(name.to_owned(), read(Path::new(file))?.into()).is_some() {
            bail!("\"{name}\" is written twice");
        }
    }
    Ok(texts)
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).into_diagnostic().wrap_err_with(|| path.display().to_string())
}

/// `serving`, a version's number, or `p` and a proposal's number, as the API reads it.
pub(crate) fn side(named: &str) -> Result<Value> {
    let wrong =
        || miette!("\"{named}\" is not a version: write its number, p and a proposal's number, or serving");
    if named == "serving" {
        return Ok(json!("serving"));
    }
    let (kind, number) = match named.strip_prefix('p') {
        Some(number) => ("proposal", number),
        None => ("version", named),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(json!({ kind: number }))
}

/// What is known of a change.
pub(crate) fn published(done: &str, standing: &Value) -> String {
    let told = |what: &str| standing.get(what).and_then(Value::as_str);
    let version = standing.get("version").and_then(Value::as_u64);
    let version = version.map(|number| format!(" as version {number}")).unwrap_or_default();
    match (told("proved"), told("unproved")) {
        (Some(solver), _) => {
            format!("{done}{version}, proved safe by {solver}; enforced from the next request on")
        }
        (None, why) => {
            let why = why.unwrap_or_default();
            format!("{done}{version}, NOT proved safe; enforced from the next request on\n{why}")
        }
    }
}

/// A standing, in one word.
pub(crate) fn standing(value: Option<&Value>) -> &'static str {
    if value.is_some_and(|standing| standing.get("proved").is_some()) { "proved" } else { "unproved" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_proposals_are_named_apart() {
        assert_eq!(side("serving").unwrap(), json!("serving"));
        assert_eq!(side("3").unwrap(), json!({ "version": 3 }));
        assert_eq!(side("p2").unwrap(), json!({ "proposal": 2 }));
        for wrong in ["", "p", "v3", "-1", "p-1", "3 ", "latest"] {
            assert!(side(wrong).is_err(), "{wrong}");
        }
    }
}
