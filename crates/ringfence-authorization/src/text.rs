//! The one place where a text in Cedar's syntax is read: after its nesting has been looked at (`nesting.rs`).

#![allow(clippy::disallowed_methods, reason = "it is the one place")]

use cedar_policy::{
    CedarSchemaError, ParseErrors, Policy, PolicyId, PolicySet, Schema, SchemaFragment, Template,
};

use crate::nesting::{self, TooDeep};

/// Why a text is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextFault {
    #[error(transparent)]
    Deep(#[from] TooDeep),
    #[error(transparent)]
    Policy(#[from] Box<ParseErrors>),
    #[error(transparent)]
    Schema(#[from] Box<CedarSchemaError>),
}

/// One static policy.
pub(crate) fn policy(id: &str, text: &str) -> Result<Policy, TextFault> {
    nesting::policies(text)?;
    Ok(Policy::parse(Some(PolicyId::new(id)), text).map_err(Box::new)?)
}

/// One template.
pub(crate) fn template(id: &str, text: &str) -> Result<Template, TextFault> {
    nesting::policies(text)?;
    Ok(Template::parse(Some(PolicyId::new(id)), text).map_err(Box::new)?)
}

/// Policies and templates.
pub(crate) fn policies(text: &str) -> Result<PolicySet, TextFault> {
    nesting::policies(text)?;
    Ok(text.parse().map_err(Box::new)?)
}

/// A schema.
pub(crate) fn schema(text: &str) -> Result<Schema, TextFault> {
    nesting::schema(text)?;
    Ok(Schema::from_cedarschema_str(text).map(|(schema, _)| schema).map_err(Box::new)?)
}

/// A schema, as it is written.
pub(crate) fn schema_fragment(text: &str) -> Result<SchemaFragment, TextFault> {
    nesting::schema(text)?;
    Ok(SchemaFragment::from_cedarschema_str(text).map(|(schema, _)| schema).map_err(Box::new)?)
}
