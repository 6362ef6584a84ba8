//! What an operation can end in, as the service model names it, each with the fields the model gives it.
//!
//! Messages are our own and quote nothing of the state but what the caller may see: what is another account's and what
//! never existed end in the same bytes.

use ringfence_store::StoreError;
use serde_json::{Map, Value, json};

use crate::{bulkhead::NotDone, stores::StoresError};

/// What kind of resource an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the values are those of the model's ResourceType")]
pub enum ResourceType {
    IdentitySource,
    PolicyStore,
    Policy,
    PolicyTemplate,
    Schema,
    PolicyStoreAlias,
}

impl ResourceType {
    /// Its spelling on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdentitySource => "IDENTITY_SOURCE",
            Self::PolicyStore => "POLICY_STORE",
            Self::Policy => "POLICY",
            Self::PolicyTemplate => "POLICY_TEMPLATE",
            Self::Schema => "SCHEMA",
            Self::PolicyStoreAlias => "POLICY_STORE_ALIAS",
        }
    }
}

/// One thing that is wrong with an input: where, and what to send instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The member, as `requests[3].action.actionId`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    /// A fault at a member.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// An error of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AvpError {
    /// The input is not what the model or Cedar allows.
    Validation {
        /// What is wrong, in one sentence.
        message: String,
        /// Where.
        fields: Vec<Fault>,
    },
    /// The caller may not do this.
    AccessDenied(String),
    /// There is no such resource for this caller.
    ResourceNotFound {
        /// The id as it was given.
        id: String,
        /// Its kind.
        kind: ResourceType,
    },
    /// Another request or resource stands in the way.
    Conflict {
        /// What with.
        message: String,
        /// Which resources.
        resources: Vec<(String, ResourceType)>,
    },
    /// It would exceed a quota.
    ServiceQuotaExceeded {
        /// The quota and its value.
        message: String,
        /// The resource it is counted for.
        id: Option<String>,
        /// The kind that is counted.
        kind: ResourceType,
        /// The quota's name.
        code: &'static str,
    },
    /// Too many requests.
    Throttling(String),
    /// The resource is in a state that forbids it.
    InvalidState(String),
    /// More tags than a resource may have.
    TooManyTags {
        /// The quota.
        message: String,
        /// The resource's ARN.
        arn: String,
    },
    /// Nothing of this name can be called.
    UnknownOperation,
    /// The body is not JSON of the form that is read here.
    Serialization(&'static str),
    /// Something failed that should not have. What is for the log.
    Internal(String),
}

/// What an operation answers.
pub type Outcome<T> = Result<T, AvpError>;

impl AvpError {
    /// One thing is wrong with the input.
    pub fn invalid(path: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Validation { message: message.clone(), fields: vec![Fault::new(path, message)] }
    }

    /// No such resource.
    pub fn missing(kind: ResourceType, id: &str) -> Self {
        Self::ResourceNotFound { id: id.to_owned(), kind }
    }

    /// Something failed that should not have.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal(what.into())
    }

    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Validation { .. } => "ValidationException",
            Self::AccessDenied(_) => "AccessDeniedException",
            Self::ResourceNotFound { .. } => "ResourceNotFoundException",
            Self::Conflict { .. } => "ConflictException",
            Self::ServiceQuotaExceeded { .. } => "ServiceQuotaExceededException",
            Self::Throttling(_) => "ThrottlingException",
            Self::InvalidState(_) => "InvalidStateException",
            Self::TooManyTags { .. } => "TooManyTagsException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::Serialization(_) => "SerializationException",
            Self::Internal(_) => "InternalServerException",
        }
    }

    /// Its HTTP status: what the caller can change is 400.
    pub const fn status(&self) -> u16 {
        if matches!(self, Self::Internal(_)) { 500 } else { 400 }
    }

    /// Its body on the wire.
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("__type".to_owned(), json!(self.name()));
        body.insert("message".to_owned(), json!(self.message()));
        match self {
            Self::Validation { fields, .. } if !fields.is_empty() => {
                let listed =
                    fields.iter().map(|Fault { path, message }| json!({ "path": path, "message": message }));
                body.insert("fieldList".to_owned(), listed.collect());
            }
            Self::ResourceNotFound { id, kind } => {
                body.insert("resourceId".to_owned(), json!(id));
                body.insert("resourceType".to_owned(), json!(kind.name()));
            }
            Self::Conflict { resources, .. } => {
                let listed = resources
                    .iter()
                    .map(|(id, kind)| json!({ "resourceId": id, "resourceType": kind.name() }));
                body.insert("resources".to_owned(), listed.collect());
            }
            Self::ServiceQuotaExceeded { id, kind, code, .. } => {
                if let Some(id) = id {
                    body.insert("resourceId".to_owned(), json!(id));
                }
                body.insert("resourceType".to_owned(), json!(kind.name()));
                body.insert("serviceCode".to_owned(), json!("verifiedpermissions"));
                body.insert("quotaCode".to_owned(), json!(code));
            }
            Self::Throttling(_) => {
                body.insert("serviceCode".to_owned(), json!("verifiedpermissions"));
            }
            Self::TooManyTags { arn, .. } => {
                body.insert("resourceName".to_owned(), json!(arn));
            }
            _ => {}
        }
        Value::Object(body)
    }

    fn message(&self) -> &str {
        match self {
            Self::Validation { message, .. }
            | Self::Conflict { message, .. }
            | Self::ServiceQuotaExceeded { message, .. }
            | Self::TooManyTags { message, .. }
            | Self::AccessDenied(message)
            | Self::Throttling(message)
            | Self::InvalidState(message) => message,
            Self::ResourceNotFound { kind, .. } => match kind {
                ResourceType::IdentitySource => "There is no such identity source.",
                ResourceType::PolicyStore => "There is no such policy store.",
                ResourceType::Policy => "There is no such policy.",
                ResourceType::PolicyTemplate => "There is no such policy template.",
                ResourceType::Schema => "The policy store has no schema.",
                ResourceType::PolicyStoreAlias => "There is no such policy store alias.",
            },
            Self::UnknownOperation => "There is no operation of this name.",
            Self::Serialization(what) => what,
            Self::Internal(_) => "Something failed inside; nothing was done. Try again later.",
        }
    }
}

impl From<StoreError> for AvpError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Conflict {
                message: "Another request changed the same resource at the same time; try again.".to_owned(),
                resources: Vec::new(),
            },
            error => Self::internal(error.to_string()),
        }
    }
}

impl From<NotDone> for AvpError {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::Busy => Self::Throttling(
                "Too many requests that take long are waiting for this account; try again.".to_owned(),
            ),
            NotDone::EndedEarly => Self::internal(why.to_string()),
        }
    }
}

impl From<StoresError> for AvpError {
    fn from(error: StoresError) -> Self {
        match error {
            StoresError::Policy(_)
            | StoresError::Refuted(_)
            | StoresError::Unproved(_)
            | StoresError::Confined(_) => Self::invalid("definition", error.to_string()),
            StoresError::Quota(message) => Self::ServiceQuotaExceeded {
                message,
                id: None,
                kind: ResourceType::PolicyStore,
                code: "serving-store",
            },
            StoresError::Busy(why) => why.into(),
            StoresError::Unreviewed => Self::AccessDenied(error.to_string()),
            StoresError::Moving | StoresError::NoMove | StoresError::HeldSo(_) | StoresError::Changed => {
                Self::Conflict { message: error.to_string(), resources: Vec::new() }
            }
            StoresError::Store(error) => error.into(),
            StoresError::Missing => Self::internal("the tenant has no serving store"),
        }
    }
}
