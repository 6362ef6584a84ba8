//! A schema that is in a file (`structure.sql`, `pg_dump --schema-only`), in a Postgres of its own for as long as it is looked at.
//!
//! It guarantees that nothing the file says reaches further than that Postgres, which is private and gone afterwards: it runs
//! as a role with no powers, and what `psql` would take for itself (`\!` runs programs) is left out. Rows in it are, too.

use std::path::PathBuf;

use tokio_postgres::{Client, error::ErrorPosition};

use crate::{
    cluster::{Binaries, Cluster, ClusterError, ClusterSettings, Durability, SUPERUSER},
    connect,
    role::RoleName,
};

/// Role and database.
const STRUCTURE: &str = "structure";

/// So many types that are not there are taken as text.
const MOST_TYPES: usize = 50;

/// A schema from a file. Dropping it stops its Postgres.
#[derive(Debug)]
pub struct Structure {
    cluster: Cluster,
    left_out: Vec<String>,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    /// Its Postgres can't run.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Postgres does not take it.
    #[error(
        "line {line}: {message}: what the file needs must be in it, or in an extension that is installed here"
    )]
    Sql {
        /// Counted from 1.
        line: usize,
        /// What Postgres says.
        message: String,
    },
    /// Postgres refused.
    #[error("{}", match .0.as_db_error() { Some(db) => db.message().to_owned(), None => .0.to_string() })]
    Postgres(#[from] tokio_postgres::Error),
}

/// What of a file is run, line by line as the file has it, and the extensions it asks for.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    sql: String,
    extensions: Vec<(String, Option<String>)>,
}

impl Read {
    /// What says who owns and may what is left out: there is one role here. Lines stay where they are.
    fn of(text: &str) -> Self {
        const LEFT_OUT: [&str; 9] = [
            "\\",
            "GRANT ",
            "REVOKE ",
            "SET SESSION AUTHORIZATION",
            "SET ROLE",
            "SET transaction_timeout",
            "ALTER DEFAULT PRIVILEGES",
            "COMMENT ON EXTENSION",
            "CREATE SCHEMA public;",
        ];
        let mut read = Self { sql: String::with_capacity(text.len()), extensions: Vec::new() };
        let mut rows = false;
        for line in text.lines() {
            let owner = line.starts_with("ALTER ") && line.contains(" OWNER TO ") && line.ends_with(';');
            if rows {
                rows = line != "\\.";
            } else if let Some(rest) = line.strip_prefix("CREATE EXTENSION ") {
                let words: Vec<&str> = rest.trim_end_matches(';').split_whitespace().collect();
                let words = words.strip_prefix(&["IF", "NOT", "EXISTS"]).unwrap_or(&words);
                let schema = words.iter().skip_while(|word| **word != "SCHEMA").nth(1);
                let unquoted = |name: &&str| name.trim_matches('"').to_owned();
                if let Some(name) = words.first() {
                    read.extensions.push((unquoted(name), schema.map(unquoted)));
                }
            } else if line.starts_with("COPY ") && line.ends_with(" FROM stdin;") {
                rows = true;
            } else if !owner && !LEFT_OUT.iter().any(|begins| line.starts_with(begins)) {
                read.sql.push_str(line);
            }
            read.sql.push('\n');
        }
        // An extension's schema is there before the file's first line.
        for schema in read.extensions.iter().filter_map(|(_, schema)| schema.as_deref()) {
            for made in [format!("\nCREATE SCHEMA {schema};\n"), format!("\nCREATE SCHEMA \"{schema}\";\n")] {
                read.sql = read.sql.replace(&made, "\n\n");
            }
        }
        read
    }
}

impl Structure {
    /// Starts a Postgres in `folder`, which is its own, and runs what `text` says.
    ///
    /// # Errors
    /// [`StructureError`].
    pub async fn load(text: &str, folder: PathBuf, binaries: Binaries) -> Result<Self, StructureError> {
        let roles = RoleName::new(STRUCTURE).into_iter().collect();
        let settings = ClusterSettings { folder, binaries, roles, durability: Durability::Test };
        let cluster = Cluster::start(settings).await?;
        let (root, read) = (connect(&cluster.admin(SUPERUSER), None).await?, Read::of(text));
        root.batch_execute(&format!("CREATE ROLE {STRUCTURE} LOGIN")).await?;
        let mut types: Vec<String> = Vec::new();
        loop {
            let left_out = prepare(&cluster, &root, &read, &types).await?;
            let owner = connect(cluster.admin(STRUCTURE).user(STRUCTURE), None).await?;
            let Err(error) = owner.batch_execute(&read.sql).await else {
                // Whoever looks for the application's role is not to take it for one.
                root.batch_execute(&format!("ALTER ROLE {STRUCTURE} NOLOGIN")).await?;
                return Ok(Self { cluster, left_out });
            };
            match missing_type(&error) {
                Some(name) if types.len() < MOST_TYPES && !types.contains(&name) => types.push(name),
                _ => return Err(at_line(&read.sql, error)),
            }
        }
    }

    /// What the file asked for and was not to be had.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Connects as its superuser.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        connect(&self.cluster.admin(STRUCTURE), None).await
    }

    /// Stops its Postgres.
    ///
    /// # Errors
    /// [`ClusterError::WillNotStop`].
    pub async fn stop(self) -> Result<(), ClusterError> {
        self.cluster.stop().await
    }
}

/// An empty database with the extensions that are installed here and the types that are not.
async fn prepare(
    cluster: &Cluster,
    root: &Client,
    read: &Read,
    types: &[String],
) -> Result<Vec<String>, tokio_postgres::Error> {
    root.batch_execute(&format!("DROP DATABASE IF EXISTS {STRUCTURE} WITH (FORCE)")).await?;
    root.batch_execute(&format!("CREATE DATABASE {STRUCTURE} OWNER {STRUCTURE} TEMPLATE template0")).await?;
    let inside = connect(&cluster.admin(STRUCTURE), None).await?;
    inside.batch_execute(&format!("GRANT ALL ON SCHEMA public TO {STRUCTURE}")).await?;
    let mut left_out = Vec::new();
    for (name, schema) in &read.extensions {
        let quote = "SELECT quote_ident($1), quote_ident($2)";
        let row = inside.query_one(quote, &[name, &schema.as_deref().unwrap_or("public")]).await?;
        let (name, schema): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        inside
            .batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {STRUCTURE}"))
            .await?;
        let create = format!("CREATE EXTENSION IF NOT EXISTS {name} SCHEMA {schema} CASCADE");
        if inside.batch_execute(&create).await.is_err() {
            left_out.push(format!("extension {name}"));
        }
    }
    let owner = connect(cluster.admin(STRUCTURE).user(STRUCTURE), None).await?;
    for name in types {
        let quoted = owner.query_one("SELECT quote_ident($1)", &[name]).await?;
        let quoted: &str = quoted.try_get(0)?;
        owner.batch_execute(&format!("CREATE DOMAIN public.{quoted} AS text")).await?;
        left_out.push(format!("type {name}, taken as text"));
    }
    Ok(left_out)
}

/// The type that is not there, if that is what is wrong and it would be in `public`.
fn missing_type(error: &tokio_postgres::Error) -> Option<String> {
    let message = error.as_db_error()?.message();
    let name = message.strip_prefix("type \"")?.strip_suffix("\" does not exist")?;
    let name = name.strip_prefix("public.").unwrap_or(name);
    (!name.contains('.')).then(|| name.trim_end_matches("[]").to_owned())
}

fn at_line(sql: &str, error: tokio_postgres::Error) -> StructureError {
    let Some(told) = error.as_db_error() else { return error.into() };
    let Some(ErrorPosition::Original(at)) = told.position() else {
        return StructureError::Sql { line: 1, message: told.message().to_owned() };
    };
    let before = sql.chars().take(usize::try_from(*at).unwrap_or(usize::MAX));
    let line = before.filter(|letter| *letter == '\n').count().saturating_add(1);
    StructureError::Sql { line, message: told.message().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run_of_a_file_and_what_is_not() {
        let text = "\\restrict x\nCREATE SCHEMA extensions;\nCREATE EXTENSION pgcrypto WITH SCHEMA extensions;\nCREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\n\
            CREATE TABLE t (\n    id int\n);\nALTER TABLE t OWNER TO boss;\nALTER TABLE t ADD x int;\n\
            COPY t (id) FROM stdin;\n1\nDROP TABLE t;\n\\.\nGRANT ALL ON t TO boss;\n\\! rm -r /\n";
        let read = Read::of(text);
        let extensions = [("pgcrypto", "extensions"), ("uuid-ossp", "public")];
        assert_eq!(
            read.extensions,
            extensions.map(|(name, schema)| (name.to_owned(), Some(schema.to_owned())))
        );
        let lines: Vec<&str> = read.sql.lines().collect();
        assert_eq!(lines.len(), text.lines().count(), "lines are counted as the file has them");
        let run: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(run, ["CREATE TABLE t (", "    id int", ");", "ALTER TABLE t ADD x int;"]);
    }
}
