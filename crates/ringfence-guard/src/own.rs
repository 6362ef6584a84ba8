//! A login role, and if wanted a schema, that are one tenant's alone in a database that tenants share.
//!
//! It guarantees that a session of such a role is given to that tenant and to nobody else, and that this tenant is given no
//! session of another role: `context_set` asks `session_user`, which no ordinary role can change (Postgres' documentation of
//! `SET SESSION AUTHORIZATION`). To a schema of its own no other role has the way.
//!
//! One login role each, and not one that becomes every tenant's by `SET ROLE`: plans cached under the wrong role have leaked
//! four times (CVE-2016-2193, CVE-2023-2455, CVE-2024-10976, CVE-2026-14666), and a role's first `SET ROLE` reads all it is a
//! member of.

use postgres_protocol::password::scram_sha_256;
use ringfence_context::{Secret, TenantId, key::MacKey};
use tokio_postgres::Client;

use crate::role::{RoleName, SchemaName};

/// What is a tenant's own.
#[derive(Debug, Clone)]
pub struct Own {
    /// The role it logs in as.
    pub login: RoleName,
    /// The schema its tables are in; none: those all tenants share.
    pub schema: Option<SchemaName>,
}

impl Own {
    /// The login role's password, derived from the guard's key: nobody keeps it.
    pub fn password(&self, guard: &MacKey) -> Secret<String> {
        let tag = guard.derive("ringfence-login-v1").tag(&[self.login.as_str().as_bytes()]);
        Secret::new(ringfence_context::key::base64url(&tag))
    }

    /// Makes the role, with its password, and the schema; the role may do what `app` may. The tenant is served as before until
    /// it is [admitted](crate::install::tenant_admit) by this role. Idempotent, and all or nothing.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn put(
        &self,
        client: &Client,
        app: &RoleName,
        tenant: &TenantId,
        password: &Secret<String>,
    ) -> Result<(), tokio_postgres::Error> {
        let Self { login, schema } = self;
        // What Postgres keeps of it, so that no log of statements has the password (RFC 5803).
        let verifier = scram_sha_256(password.reveal().as_bytes());
        let named = schema.as_ref().map_or("NULL".to_owned(), |schema| format!("'{schema}'"));
        let mut sql = format!(
            "DO $body$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{login}') THEN
                    CREATE ROLE {login};
                END IF;
            END $body$;
            ALTER ROLE {login} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{verifier}';
            GRANT {app} TO {login};
            INSERT INTO ringfence.tenant_place (tenant_id, login, schema) VALUES ('{tenant}', '{login}', {named})
                ON CONFLICT (login) DO NOTHING;"
        );
        if let Some(schema) = schema {
            sql.push_str(&format!(
                "CREATE SCHEMA IF NOT EXISTS {schema};
                REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {app};
                GRANT USAGE ON SCHEMA {schema} TO {login};"
            ));
        }
        client.batch_execute(&sql).await
    }

    /// Removes the schema with all that is in it, the role, and what is known of either. Idempotent, and all or nothing.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn remove(&self, client: &Client, tenant: &TenantId) -> Result<(), tokio_postgres::Error> {
        let Self { login, schema } = self;
        let mut sql =
            format!("DELETE FROM ringfence.tenant_place WHERE tenant_id = '{tenant}' AND login = '{login}';");
        if let Some(schema) = schema {
            sql.push_str(&format!(
                "DELETE FROM ringfence.protected p USING pg_catalog.pg_class c
                    WHERE c.oid = p.relation AND c.relnamespace = to_regnamespace('{schema}');
                DELETE FROM ringfence.migration WHERE schema = '{schema}';
                DROP SCHEMA IF EXISTS {schema} CASCADE;"
            ));
        }
        sql.push_str(&format!(
            "DO $body$ BEGIN
                IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{login}') THEN
                    DROP OWNED BY {login};
                    DROP ROLE {login};
                END IF;
            END $body$;"
        ));
        client.batch_execute(&sql).await
    }
}
