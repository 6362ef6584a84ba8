//! What stands in a move's way, each found by its name.

use ringfence_guard::{
    Cluster,
    tenant_move::{Hindrance, MoveError, Side, Start},
};

use super::ground::Ground;
use crate::fixture::{World, cluster_settings, connect, scratch};

/// Where what is done, what takes it back, and as what it is found.
const CASES: [(&str, &str, &str, &str); 12] = [
    (
        "shared",
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey",
        "ALTER TABLE notes ADD PRIMARY KEY (tenant_id, n)",
        "NoPrimaryKey",
    ),
    (
        "shared",
        "ALTER TABLE notes REPLICA IDENTITY NOTHING",
        "ALTER TABLE notes REPLICA IDENTITY DEFAULT",
        "Identity",
    ),
    ("shared", "ALTER TABLE notes SET UNLOGGED", "ALTER TABLE notes SET LOGGED", "Unlogged"),
    ("shared", "CREATE TABLE child () INHERITS (notes)", "DROP TABLE child", "Partitioned"),
    ("own", "ALTER TABLE notes RENAME TO notices", "ALTER TABLE notices RENAME TO notes", "TableMissing"),
    (
        "own",
        "ALTER TABLE notes RENAME body TO text",
        "ALTER TABLE notes RENAME text TO body",
        "ColumnMissing",
    ),
    (
        "own",
        "ALTER TABLE notes ALTER body TYPE varchar(10)",
        "ALTER TABLE notes ALTER body TYPE text",
        "TypeDiffers",
    ),
    ("own", "ALTER TABLE notes ADD needed int NOT NULL", "ALTER TABLE notes DROP needed", "ColumnExtra"),
    (
        "own",
        "ALTER TABLE items ALTER twice DROP EXPRESSION",
        "ALTER TABLE items DROP twice, ADD twice int GENERATED ALWAYS AS (id * 2) STORED",
        "Generated",
    ),
    (
        "own",
        "INSERT INTO items (tenant_id, id, code) VALUES ('acme', 1, 'a')",
        "DELETE FROM items",
        "RowsAtTarget",
    ),
    (
        "own",
        "CREATE TABLE kinds (body text PRIMARY KEY); ALTER TABLE notes ADD CONSTRAINT kind FOREIGN KEY (body) REFERENCES kinds",
        "ALTER TABLE notes DROP CONSTRAINT kind; DROP TABLE kinds",
        "ReferenceMissing",
    ),
    (
        "own",
        "ALTER TABLE ringfence.tenant_move RENAME TO away",
        "ALTER TABLE ringfence.away RENAME TO tenant_move",
        "NotInstalled",
    ),
];

fn name(hindrance: &Hindrance) -> String {
    format!("{hindrance:?}").split([' ', '{']).next().unwrap().to_owned()
}

async fn found(ground: &Ground) -> Vec<Hindrance> {
    ground.out().hindrances(Start::Copy).await.unwrap()
}

#[tokio::test]
async fn each_hindrance_is_found_and_nothing_is_made() {
    let ground = Ground::new().await;
    assert_eq!(found(&ground).await, []);
    for (place, make, undo, expected) in CASES {
        let client = if place == "own" { &ground.own } else { &ground.shared };
        client.batch_execute(make).await.unwrap();
        let hindrances = found(&ground).await;
        assert_eq!(hindrances.iter().map(name).collect::<Vec<_>>(), [expected], "{make}");
        let refused = ground.out().prepare(Start::Copy).await;
        assert!(matches!(refused, Err(MoveError::Hindered(hindrance)) if hindrance == hindrances[0]));
        client.batch_execute(undo).await.unwrap();
    }
    // The whole old row is enough, and so is another key with the tenant in it.
    let whole = "ALTER TABLE notes REPLICA IDENTITY FULL; ALTER TABLE items REPLICA IDENTITY USING INDEX items_tenant_id_code_key";
    ground.shared.batch_execute(whole).await.unwrap();
    assert_eq!(found(&ground).await, []);
    // Reference rows that are there are no hindrance.
    let kinds = "CREATE TABLE kinds (body text PRIMARY KEY); INSERT INTO kinds VALUES (E'tab\\tline\\n\\\\');
        ALTER TABLE notes ADD CONSTRAINT kind FOREIGN KEY (body) REFERENCES kinds";
    ground.own.batch_execute(kinds).await.unwrap();
    assert_eq!(found(&ground).await, []);
}

#[tokio::test]
async fn places_and_roles_that_do_not_fit_are_found() {
    let ground = Ground::new().await;
    let nowhere = ground.route("same", ground.shared_site(), ground.shared_site());
    assert_eq!(nowhere.hindrances(Start::Copy).await.unwrap(), [Hindrance::SamePlace]);
    let mut empty = ground.shared_site();
    empty.schema = "ringfence".to_owned();
    let nothing = ground.route("empty", empty, ground.own_site()).hindrances(Start::Copy).await.unwrap();
    assert_eq!(nothing, [Hindrance::NothingProtected { schema: "ringfence".to_owned() }]);

    let mut weak = ground.own_site();
    weak.config.user(ground.world.role.as_str());
    let barred = ground.route("weak", ground.shared_site(), weak.clone());
    let expected = [Hindrance::ReplicationRole { side: Side::Target }];
    assert_eq!(barred.hindrances(Start::Copy).await.unwrap(), expected);
    let grant = format!("GRANT SET ON PARAMETER session_replication_role TO {0}", ground.world.role);
    ground.own.batch_execute(&grant).await.unwrap();
    let barred = barred.hindrances(Start::Copy).await;
    let named = |hindrances: Vec<Hindrance>| hindrances.contains(&Hindrance::Role { side: Side::Target });
    assert!(barred.as_ref().is_ok_and(|found| named(found.clone())), "{barred:?}");

    // A slot of the name that is another's.
    let slot = format!("SELECT pg_create_logical_replication_slot('{}', 'test_decoding')", ground.out().name);
    if ground.shared.batch_execute(&slot).await.is_err() {
        let physical = slot.replace("logical", "physical").replace(", 'test_decoding'", "");
        ground.shared.batch_execute(&physical).await.unwrap();
    }
    assert_eq!(found(&ground).await.iter().map(name).collect::<Vec<_>>(), ["NameTaken"]);
    ground.out().forget().await.unwrap();
    let drop = format!("SELECT pg_drop_replication_slot('{}')", ground.out().name);
    ground.shared.batch_execute(&drop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_wal_can_not_be_decoded_is_found() {
    let folder = scratch("replica");
    let cluster = Cluster::start(cluster_settings(folder.clone())).await.unwrap();
    let admin = connect(&cluster.admin("postgres")).await.unwrap();
    admin.batch_execute("ALTER SYSTEM SET wal_level = 'replica'").await.unwrap();
    admin.batch_execute("ALTER SYSTEM SET max_replication_slots = 0").await.unwrap();
    drop(admin);
    cluster.stop().await.unwrap();
    let cluster = Cluster::start(cluster_settings(folder)).await.unwrap();
    let world = World::on(&cluster).await;
    let ground = Ground::on(world).await;
    let expected = [Hindrance::WalLevel { found: "replica".to_owned() }, Hindrance::NoSlot { slots: 0 }];
    assert_eq!(found(&ground).await, expected);
    assert!(expected[0].to_string().contains("logical"));
    drop(ground);
    cluster.stop().await.unwrap();
}
