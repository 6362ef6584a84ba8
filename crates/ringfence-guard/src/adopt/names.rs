//! What names say where no constraint does.

/// Tables that frameworks keep for themselves.
const OF_FRAMEWORKS: [&str; 20] = [
    "schema_migrations",
    "ar_internal_metadata",
    "django_migrations",
    "django_content_type",
    "django_admin_log",
    "django_session",
    "auth_permission",
    "alembic_version",
    "flyway_schema_history",
    "databasechangelog",
    "databasechangeloglock",
    "knex_migrations",
    "knex_migrations_lock",
    "_prisma_migrations",
    "_sqlx_migrations",
    "__diesel_schema_migrations",
    "goose_db_version",
    "delayed_jobs",
    "message_bus",
    "spatial_ref_sys",
];

/// How the names of queues' and caches' own tables begin.
const OF_QUEUES: [&str; 8] = [
    "que_",
    "good_job",
    "solid_queue_",
    "solid_cache_",
    "solid_cable_",
    "oban_",
    "graphile_worker",
    "celery_",
];

/// Whether a table is a framework's or a queue's own.
pub(super) fn of_a_framework(table: &str) -> bool {
    OF_FRAMEWORKS.contains(&table) || OF_QUEUES.iter().any(|begins| table.starts_with(begins))
}

/// The name of a table without its schema and quotes.
pub(super) fn bare(table: &str) -> &str {
    table.rsplit('.').next().unwrap_or(table).trim_matches('"')
}

/// Whether `table` may be what English calls many of `one`; or one, where a schema names tables so.
pub(super) fn many(table: &str, one: &str) -> bool {
    let irregular = [("person", "people"), ("child", "children"), ("datum", "data"), ("medium", "media")];
    let ends = |one: &str, many: &str| {
        let stem = one.strip_suffix('y').map(|stem| format!("{stem}ies"));
        many == one
            || many == format!("{one}s")
            || many == format!("{one}es")
            || Some(many.to_owned()) == stem
    };
    ends(one, table)
        || irregular.iter().any(|(is_one, are_many)| {
            one.strip_suffix(is_one).is_some_and(|before| table == format!("{before}{are_many}"))
        })
}

/// What a column named so points at: `invoice` for `invoice_id`, `invoiceId` and `invoice_uuid`.
pub(super) fn pointed_at(column: &str) -> Option<&str> {
    ["_id", "_uuid", "Id", "_fk"]
        .iter()
        .find_map(|end| column.strip_suffix(end))
        .filter(|one| !one.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_one() {
        for (table, one) in [
            ("invoices", "invoice"),
            ("companies", "company"),
            ("addresses", "address"),
            ("people", "person"),
            ("sales_people", "sales_person"),
            ("account", "account"),
            ("boxes", "box"),
        ] {
            assert!(many(table, one), "{table} of {one}");
        }
        assert!(!many("invoices", "voice") && !many("users", "use"));
    }

    #[test]
    fn a_frameworks_own() {
        assert!(
            of_a_framework("que_jobs") && of_a_framework("schema_migrations") && of_a_framework("good_jobs")
        );
        assert!(!of_a_framework("schema_migrations_of_birds") && !of_a_framework("queues"));
    }
}
