//! How a tenant's rows are kept from others', and what of it is the tenant's alone.

use std::fmt;

use ringfence_context::key::{KeyError, random};
use serde::{Deserialize, Serialize};

/// Bytes of what is drawn for a place.
pub(super) const DRAWN_BYTES: usize = 16;

/// How a tenant's rows are kept from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// By row security, in tables that tenants share.
    #[default]
    Rows,
    /// So too, and it logs in as a role of its own.
    Role,
    /// In a schema of its own, to which only its own role has the way.
    Schema,
    /// In a database of its own.
    Database,
    /// On a server of its own.
    Server,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "rows",
            Self::Role => "role",
            Self::Schema => "schema",
            Self::Database => "database",
            Self::Server => "server",
        })
    }
}

/// What a tenant's role, schema, database or server is called by. Drawn, and not the tenant's id: whoever may connect to a
/// Postgres sees the names of all its roles, schemas and databases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drawn(String);

impl Drawn {
    /// Draws one.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn new() -> Result<Self, KeyError> {
        Ok(Self(format!("{:0DRAWN_BYTES$x}", u64::from_be_bytes(random::<8>()?))))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a tenant's rows are. In its sealed record: whoever writes to the state can't lead a tenant elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "shape", deny_unknown_fields)]
pub enum Place {
    /// In the tables of the database that tenants share.
    #[default]
    Rows,
    /// So too, as a role of its own.
    Role {
        /// What the role is called by.
        drawn: Drawn,
    },
    /// In a schema of its own of the database that tenants share.
    Schema {
        /// What role and schema are called by.
        drawn: Drawn,
    },
    /// In a database of its own.
    Database {
        /// What it is called by.
        drawn: Drawn,
    },
    /// On a server of its own.
    Server {
        /// What the managed one's folder is called by.
        drawn: Drawn,
        /// Which of `[postgres.servers]` it is; none: a managed one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
}

impl Place {
    /// A place of this shape that nobody has had.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn draw(shape: Shape, server: Option<String>) -> Result<Self, KeyError> {
        let drawn = Drawn::new()?;
        Ok(match shape {
            Shape::Rows => Self::Rows,
            Shape::Role => Self::Role { drawn },
            Shape::Schema => Self::Schema { drawn },
            Shape::Database => Self::Database { drawn },
            Shape::Server => Self::Server { drawn, server },
        })
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Rows => Shape::Rows,
            Self::Role { .. } => Shape::Role,
            Self::Schema { .. } => Shape::Schema,
            Self::Database { .. } => Shape::Database,
            Self::Server { .. } => Shape::Server,
        }
    }

    /// Whether migrations must reach it besides what tenants share.
    pub(super) fn has_tables(&self) -> bool {
        match self {
            Self::Rows | Self::Role { .. } => false,
            Self::Schema { .. } | Self::Database { .. } | Self::Server { .. } => true,
        }
    }
}
