//! The configuration files of a managed cluster, written anew at each start.
//!
//! They say who may connect (the operating system vouches, or a password that the guard derives), and keep tenants' literals out of
//! everything that outlives a statement: the log and the activity view. The WAL can be decoded, so that tenants can be moved;
//! slots are not for the application's role, which may not replicate (`sql/roles.sql`).

use std::path::Path;

use super::{Durability, MAX_CONNECTIONS, PORT, SUPERUSER, os_user::OsUsers};
use crate::role::RoleName;

/// `postgresql.conf`.
pub(super) fn postgresql_conf(socket_folder: &Path, durability: Durability) -> String {
    let socket_folder = socket_folder.display().to_string().replace('\'', "''");
    let mut text = format!(
        "# Written by Ringfence at each start; changes here are lost.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
port = {PORT}
cluster_name = 'ringfence'
max_connections = {MAX_CONNECTIONS}
max_prepared_transactions = 0
# A tenant is moved by what its rows' changes leave in the WAL, through a slot for each move (tenant_move.rs).
wal_level = logical
max_replication_slots = 32
shared_buffers = 32MB
jit = off
password_encryption = scram-sha-256
# One tenant must not read what another is asking.
track_activities = off
# No literal of any tenant in the log: LOG and above leaves out ERROR, whose texts quote values.
log_destination = 'stderr'
logging_collector = off
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = none
log_duration = off
log_min_duration_statement = -1
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_line_prefix = '%m [%p] '
log_timezone = 'UTC'
timezone = 'UTC'
lc_messages = 'C'
"
    );
    if durability == Durability::Test {
        text.push_str("fsync = off\nfull_page_writes = off\n");
    }
    text
}

/// `pg_hba.conf`: the socket, for whom the operating system names; and for the login roles of tenants, which have a password
/// each that only the guard knows.
pub(super) fn pg_hba_conf(roles: &[RoleName]) -> String {
    let named: Vec<&str> = std::iter::once(SUPERUSER).chain(roles.iter().map(RoleName::as_str)).collect();
    format!(
        "# Written by Ringfence at each start; changes here are lost.
local all {} peer map=ringfence
local all all scram-sha-256
",
        named.join(",")
    )
}

/// `pg_ident.conf`: the user that runs Ringfence and the one that runs Postgres may be any of our roles.
pub(super) fn pg_ident_conf(users: &OsUsers, roles: &[RoleName]) -> String {
    let mut text = "# Written by Ringfence at each start; changes here are lost.\n".to_owned();
    let mut os_names = vec![users.ours.name.as_str(), users.postgres.name.as_str()];
    os_names.dedup();
    for os_name in os_names {
        for role in std::iter::once(SUPERUSER).chain(roles.iter().map(RoleName::as_str)) {
            text.push_str(&format!("ringfence \"{os_name}\" \"{role}\"\n"));
        }
    }
    text
}
