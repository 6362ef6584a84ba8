//! Migrations of one database: whole or not at all, in order, and past whoever holds a lock.

use std::{fs, path::Path};

use ringfence_guard::{
    SchemaName,
    migrate::{MigrateError, Migration, applied, migrate},
};

use crate::fixture::{World, ask};

fn write(folder: &Path, files: &[(&str, &str)]) -> Vec<Migration> {
    for (name, sql) in files {
        fs::write(folder.join(name), sql).unwrap();
    }
    Migration::read(folder).unwrap()
}

#[tokio::test]
async fn a_migration_is_whole_or_not_there() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let mut client = world.superuser().await;
    let files = write(
        folder.path(),
        &[
            (
                "1_notes.sql",
                "CREATE TABLE notes (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id));
                SELECT ringfence.protect('notes');",
            ),
            ("2_index.sql", "-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS by_id ON notes (id)"),
            ("3_wrong.sql", "CREATE TABLE half (id int); SELECT 1 / 0;"),
        ],
    );
    let mut told = Vec::new();
    let failed = migrate(&mut client, &SchemaName::public(), &files, |file| told.push(file.version))
        .await
        .unwrap_err();
    assert!(matches!(&failed, MigrateError::Postgres(error) if error.to_string().contains("db error")));
    assert!(!failed.is_passing() && failed.to_string().contains("division by zero"), "{failed}");
    assert_eq!(told, [1, 2, 3]);
    let state = "SELECT to_regclass('half') IS NULL, to_regclass('by_id') IS NOT NULL";
    assert_eq!(ask(&world.superuser().await, state).await.unwrap(), "t|t");
    let had = applied(&client, &SchemaName::public()).await.unwrap();
    assert_eq!(had.iter().map(|had| had.version).collect::<Vec<_>>(), [1, 2]);

    // What was never run may be changed. It goes on from there, and a second time there is nothing to do.
    let files = write(folder.path(), &[("3_wrong.sql", "CREATE TABLE half (id int)")]);
    let mut other = world.superuser().await;
    assert_eq!(migrate(&mut other, &SchemaName::public(), &files, |_| ()).await.unwrap(), 1);
    assert_eq!(migrate(&mut other, &SchemaName::public(), &files, |_| ()).await.unwrap(), 0);
    let changed = write(folder.path(), &[("1_notes.sql", "SELECT 1")]);
    assert!(matches!(
        migrate(&mut other, &SchemaName::public(), &changed, |_| ()).await,
        Err(MigrateError::Changed(_))
    ));
    // The application sees nothing of the record.
    let (acme, _) = world.as_acme().await;
    assert_eq!(crate::fixture::fails(&acme, "SELECT * FROM ringfence.migration").await, "42501");
}

#[tokio::test]
async fn who_holds_a_table_is_not_waited_for_for_ever() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let files = write(folder.path(), &[("1_more.sql", "ALTER TABLE accounts ADD COLUMN more int")]);
    let (acme, _) = world.as_acme().await;
    ask(&acme, "SELECT count(*) FROM accounts").await.unwrap();
    let mut client = world.superuser().await;
    let failed = migrate(&mut client, &SchemaName::public(), &files, |_| ()).await.unwrap_err();
    assert!(failed.is_passing(), "{failed}");
    acme.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        migrate(&mut world.superuser().await, &SchemaName::public(), &files, |_| ()).await.unwrap(),
        1
    );
}
