//! How tables are built, as far as a migration changes it and its undoing brings it back: keys and foreign keys to the letter.
//!
//! What Postgres writes of its own objects (`pg_get_indexdef`, `pg_get_constraintdef`) is taken as it is. Where that does not
//! begin as expected, or a table is of a kind that can't be changed while it is used, the table is refused with the reason.

use std::collections::BTreeMap;

use tokio_postgres::{Client, IsolationLevel, Row};

/// How the tables of a database are built, by their qualified names.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape(pub(super) BTreeMap<String, Built>);

/// How one table is built.
#[derive(Debug, Clone, Default)]
pub(super) struct Built {
    /// Its schema, quoted.
    pub(super) schema: String,
    /// Its name, not quoted.
    pub(super) name: String,
    /// Why it can't be changed while it is used.
    pub(super) refused: Option<String>,
    /// Its tenant column, where it has one already.
    pub(super) tenant: Option<Tenant>,
    pub(super) keys: Vec<Key>,
    /// Indexes without the tenant that can't begin with it: of some rows' values or ranges of them.
    pub(super) other: Vec<String>,
    pub(super) links: Vec<Link>,
    /// Whether an index begins with the tenant.
    pub(super) led: bool,
}

/// A tenant column that was there before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenant {
    pub(super) not_null: bool,
    pub(super) has_default: bool,
}

/// An index that is unique, or by which rows are found.
#[derive(Debug, Clone, Default)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) unique: bool,
    pub(super) primary: bool,
    /// Whether it is of some rows only.
    pub(super) partial: bool,
    /// What follows `USING btree (`: keys, and what comes after them.
    pub(super) rest: String,
    /// Its columns and expressions, for people.
    pub(super) columns: Vec<String>,
    /// Whether the tenant is among them.
    pub(super) carries: bool,
    /// How the constraint it is of is deferred, where it is of one.
    pub(super) constraint: Option<&'static str>,
    pub(super) clustered: bool,
    pub(super) replica_identity: bool,
    pub(super) comment: Option<String>,
    pub(super) constraint_comment: Option<String>,
    pub(super) tablespace: Option<String>,
    /// How much is sampled of which of its columns.
    pub(super) statistics: Vec<(i32, i32)>,
}

/// A foreign key.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) to: String,
    pub(super) columns: Vec<String>,
    pub(super) references: Vec<String>,
    pub(super) not_null: bool,
    /// As Postgres writes it.
    pub(super) definition: String,
    /// Postgres' letters for what is done.
    pub(super) on_update: char,
    pub(super) on_delete: char,
    /// Which columns are set when the row that is pointed at goes; none: all.
    pub(super) sets: Vec<String>,
    pub(super) full: bool,
    pub(super) deferred: &'static str,
    pub(super) validated: bool,
    pub(super) comment: Option<String>,
}

impl Key {
    /// Whether it is looked at in the end of a transaction, which a unique index alone is not.
    pub(super) fn deferrable(&self) -> bool {
        !self.primary && self.constraint.is_some_and(|deferred| !deferred.is_empty())
    }
}

impl Shape {
    /// Reads how all tables are built, where `tenant_column` says whose a row is.
    ///
    /// # Errors
    /// What Postgres says.
    pub(super) async fn read(
        client: &mut Client,
        tenant_column: &str,
    ) -> Result<Self, tokio_postgres::Error> {
        let snapshot =
            client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
        let transaction = snapshot.start().await?;
        transaction.batch_execute("SET LOCAL search_path = pg_catalog").await?;
        let mut shape = Self::default();
        for row in transaction.query(include_str!("shape/tables.sql"), &[&tenant_column]).await? {
            let tenant = Tenant { not_null: row.try_get(5)?, has_default: row.try_get(6)? };
            let built = Built {
                schema: row.try_get(1)?,
                name: row.try_get(2)?,
                refused: row.try_get(3)?,
                tenant: row.try_get::<_, bool>(4)?.then_some(tenant),
                ..Built::default()
            };
            shape.0.insert(row.try_get(0)?, built);
        }
        for row in transaction.query(include_str!("shape/keys.sql"), &[&tenant_column]).await? {
            if let Some(built) = shape.0.get_mut(&row.try_get::<_, String>(0)?) {
                built.key(&row)?;
            }
        }
        for row in transaction.query(include_str!("shape/links.sql"), &[]).await? {
            if let Some(built) = shape.0.get_mut(&row.try_get::<_, String>(0)?) {
                built.links.push(Link::of(&row)?);
            }
        }
        transaction.rollback().await?;
        Ok(shape)
    }
}

impl Built {
    fn key(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        let (partial, leads, unique): (bool, bool, bool) =
            (row.try_get(3)?, row.try_get(8)?, row.try_get(9)?);
        self.led |= leads && !partial;
        let refused: Option<String> = row.try_get(19)?;
        if self.refused.is_none() {
            self.refused.clone_from(&refused);
        }
        let (name, definition, prefix): (String, String, String) =
            (row.try_get(1)?, row.try_get(4)?, row.try_get(5)?);
        let carries: bool = row.try_get(7)?;
        if !unique && carries {
            return Ok(());
        }
        if !row.try_get::<_, bool>(20)? && !unique && refused.is_none() {
            self.other.push(name);
            return Ok(());
        }
        let rest = definition.strip_prefix(&prefix);
        if rest.is_none() && !carries && self.refused.is_none() {
            self.refused = Some(format!("its index {name} is of a kind that is not known: {definition}"));
        }
        let statistics: Vec<i32> = row.try_get(18)?;
        self.keys.push(Key {
            unique,
            primary: row.try_get(2)?,
            partial,
            rest: rest.unwrap_or_default().to_owned(),
            columns: row.try_get(6)?,
            carries,
            constraint: row.try_get::<_, bool>(10)?.then_some(deferred(row.try_get(11)?, row.try_get(12)?)),
            clustered: row.try_get(13)?,
            replica_identity: row.try_get(14)?,
            comment: row.try_get(15)?,
            constraint_comment: row.try_get(16)?,
            tablespace: row.try_get(17)?,
            statistics: statistics
                .chunks_exact(2)
                .filter_map(|two| Some((*two.first()?, *two.last()?)))
                .collect(),
            name,
        });
        Ok(())
    }
}

impl Link {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let letter = |text: String| text.chars().next().unwrap_or('a');
        Ok(Self {
            name: row.try_get(1)?,
            to: row.try_get(2)?,
            columns: row.try_get(3)?,
            references: row.try_get(4)?,
            not_null: row.try_get(5)?,
            definition: row.try_get(6)?,
            on_update: letter(row.try_get(7)?),
            on_delete: letter(row.try_get(8)?),
            sets: row.try_get(9)?,
            full: row.try_get::<_, String>(10)? == "f",
            deferred: deferred(row.try_get(11)?, row.try_get(12)?),
            validated: row.try_get(13)?,
            comment: row.try_get(14)?,
        })
    }

    /// Its columns with those they reference.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(String::as_str).zip(self.references.iter().map(String::as_str))
    }

    /// Whether it can't point across tenants.
    pub(super) fn carries(&self, tenant: &str) -> bool {
        self.pairs().any(|pair| pair == (tenant, tenant))
    }

    /// Why it can't carry the tenant's column, where the table it is of and the one it points at do.
    pub(super) fn refused(&self, root: &str, tenant: &str) -> Option<String> {
        let of_both = format!("make it ({tenant}, ...) REFERENCES ... ({tenant}, ...)");
        let why = if matches!(self.on_update, 'n' | 'd') {
            format!(
                "takes {tenant} away with ON UPDATE SET, where Postgres knows no list of columns: change that"
            )
        } else if matches!(self.on_delete, 'n' | 'd')
            && (self.columns == [tenant] || self.sets.iter().any(|column| column == tenant))
        {
            format!("takes {tenant} away with ON DELETE SET: change that")
        } else if self.full && self.columns.len() > 1 && !self.not_null {
            format!(
                "is MATCH FULL over columns that may be NULL, and {tenant} never is: make it MATCH SIMPLE, with a CHECK"
            )
        } else if self.pairs().any(|(here, there)| here != tenant && there == tenant) {
            format!("points at a {tenant} by another column: {of_both}")
        } else if self.pairs().any(|(here, there)| here == tenant && there != tenant)
            && (self.columns.len() > 1 || self.to != root)
        {
            format!("points from {tenant} at another column: {of_both}")
        } else {
            return None;
        };
        Some(format!("its foreign key {} {why}", self.name))
    }
}

/// How Postgres writes when a constraint is looked at.
fn deferred(deferrable: bool, initially: bool) -> &'static str {
    match (deferrable, initially) {
        (false, _) => "",
        (true, false) => " DEFERRABLE",
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
    }
}
