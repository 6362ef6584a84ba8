//! What can be wrong with a change of the entity store, in words for who makes it.

use ringfence_context::Refusal;
use ringfence_store::StoreError;

use crate::entities::Uid;

/// Why entities can't be changed or shown.
#[derive(Debug, thiserror::Error)]
pub enum EntityFault {
    /// Not a type of the schema.
    #[error("the tenant's schema has no entity type \"{0}\": write it with its namespace")]
    Kind(String),
    /// Not a name of an entity.
    #[error("not the name of an entity: {0:?}; write Type::\"id\"")]
    Name(String),
    /// It says that it is another tenant's.
    #[error("the entity says that it is of another tenant; leave `tenant` out, it is set to the owner")]
    OtherTenant,
    /// Cedar's words.
    #[error("the entity does not fit the tenant's schema: {0}")]
    Unfit(String),
    /// It would be above itself.
    #[error("{0} would be above itself")]
    Cycle(Uid),
    /// More than allowed.
    #[error("too many {0}: at most {1}")]
    TooMany(&'static str, usize),
    /// There is none of this name.
    #[error("the tenant stores no entity {0}")]
    Missing(Uid),
    /// Deleting it would cut what is below it off from what is above.
    #[error("{0} is below it: write that with other parents, or delete it, first")]
    Parent(Uid),
    /// Deleting it would take away what another refers to, and with it what a policy forbids by it.
    #[error("{0} refers to it: write that without the reference, or delete it, first")]
    Referrer(Uid),
    /// Others keep changing them.
    #[error("the tenant's entities are being changed by others: try again")]
    Busy,
    /// The tenant's policy store can't be asked for its schema.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The state refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EntityFault {
    pub(crate) fn unfit(error: impl std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self::Unfit(text)
    }
}
