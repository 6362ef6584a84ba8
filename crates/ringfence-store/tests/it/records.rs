//! Records against someone who can write to the database, and the tenant's key against everyone once shredded.

use std::sync::Arc;

use ringfence_context::{Layer, Reason, Secret, TenantId};
use ringfence_store::{
    Change, Draft, Expect, Kind, MasterKey, Record, RecordKey, Records, Scope, SqliteStore, Store, StoreError,
};

const NOTE: Kind = Kind::new("note");
const OTHER: Kind = Kind::new("other_note");

struct Bench {
    records: Records,
    store: Arc<dyn Store>,
    _dir: tempfile::TempDir,
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn scope(name: &str) -> Scope {
    Scope::Tenant(tenant(name))
}

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes(Secret::new(vec![byte; 32])).unwrap()
}

async fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("state")).await.unwrap());
    let records = Records::new(store.clone(), master(1));
    for name in ["acme", "globex"] {
        records.tenant_add(&tenant(name)).await.unwrap();
    }
    Bench { records, store, _dir: dir }
}

impl Bench {
    async fn put(&self, scope: &Scope, id: &str, text: &str) {
        self.records.commit(vec![Draft::put(scope, NOTE, id, &text).unwrap()]).await.unwrap();
    }

    async fn get(&self, scope: &Scope, id: &str) -> Result<Option<String>, StoreError> {
        Ok(self.records.get::<String>(scope, NOTE, id).await?.map(|stored| stored.value))
    }

    async fn raw(&self, scope: &Scope, kind: Kind, id: &str) -> Record {
        self.store.get(&RecordKey::new(scope.clone(), kind, id)).await.unwrap().unwrap()
    }

    async fn plant(&self, scope: &Scope, kind: Kind, id: &str, value: Vec<u8>) {
        let key = RecordKey::new(scope.clone(), kind, id);
        self.store.commit(vec![Change { key, expect: Expect::Any, value: Some(value) }]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_put_is_read_listed_and_deleted_and_the_database_holds_none_of_it() {
    let bench = bench().await;
    for at in [scope("acme"), Scope::Plane] {
        bench.put(&at, "a", "confidential").await;
        bench.put(&at, "b", "also").await;
        assert_eq!(bench.get(&at, "a").await.unwrap().as_deref(), Some("confidential"));
        let listed = bench.records.list::<String>(&at, NOTE, Some("a"), 10).await.unwrap();
        assert_eq!(
            listed.iter().map(|(id, note)| (id.as_str(), note.value.as_str())).collect::<Vec<_>>(),
            [("b", "also")]
        );
        let raw = bench.raw(&at, NOTE, "a").await.value;
        assert!(!raw.windows(4).any(|window| window == b"conf"), "the value is stored in the clear");
        bench.records.commit(vec![Draft::delete(&at, NOTE, "a")]).await.unwrap();
        assert_eq!(bench.get(&at, "a").await, Ok(None));
    }
}

#[tokio::test]
async fn x16_a_record_moved_to_another_tenant_kind_or_id_is_refused() {
    let bench = bench().await;
    bench.put(&scope("acme"), "a", "of acme").await;
    let value = bench.raw(&scope("acme"), NOTE, "a").await.value;
    for (to, kind, id) in [
        (scope("globex"), NOTE, "a"),
        (Scope::Plane, NOTE, "a"),
        (scope("acme"), OTHER, "a"),
        (scope("acme"), NOTE, "b"),
    ] {
        bench.plant(&to, kind, id, value.clone()).await;
        let refused = bench.records.get::<String>(&to, kind, id).await.unwrap_err();
        assert_eq!(refused, StoreError::Tampered { kind: kind.to_string() });
        assert!(bench.records.list::<String>(&to, kind, None, 10).await.is_err());
    }
    assert_eq!(bench.get(&scope("acme"), "a").await.unwrap().as_deref(), Some("of acme"));
}

#[tokio::test]
async fn x16_an_edited_record_is_refused_and_the_client_is_told_nothing() {
    let bench = bench().await;
    bench.put(&scope("acme"), "a", "clerk").await;
    let value = bench.raw(&scope("acme"), NOTE, "a").await.value;
    for at in 0..value.len() {
        let mut edited = value.clone();
        edited[at] ^= 1;
        bench.plant(&scope("acme"), NOTE, "a", edited).await;
        let refused = bench.get(&scope("acme"), "a").await.unwrap_err();
        assert_eq!(refused.refusal(Layer::Identity).reason, Reason::Internal, "byte {at}");
    }
    bench.plant(&scope("acme"), NOTE, "a", b"\"clerk\"".to_vec()).await;
    assert!(bench.get(&scope("acme"), "a").await.is_err(), "plain text is not a record");
}

#[tokio::test]
async fn x16_swapped_tenant_keys_are_refused() {
    let bench = bench().await;
    bench.put(&scope("acme"), "a", "of acme").await;
    let key = const { Kind::new("tenant_record_key") };
    let of_globex = bench.raw(&Scope::Plane, key, "globex").await.value;
    bench.plant(&Scope::Plane, key, "acme", of_globex).await;
    let refused = bench.get(&scope("acme"), "a").await.unwrap_err();
    assert_eq!(refused, StoreError::Tampered { kind: key.to_string() });
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    let bench = bench().await;
    bench.put(&Scope::Plane, "a", "of the plane").await;
    let other = Records::new(bench.store.clone(), master(2));
    for at in [Scope::Plane, scope("acme")] {
        let refused = other.get::<String>(&at, NOTE, "a").await.unwrap_err();
        assert!(matches!(refused, StoreError::Tampered { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_shredded_tenant_is_unreadable_everywhere_and_its_id_is_not_used_again() {
    let bench = bench().await;
    let other_node = Records::new(bench.store.clone(), master(1));
    bench.put(&scope("acme"), "a", "of acme").await;
    bench.put(&scope("globex"), "a", "of globex").await;
    bench.records.tenant_shred(&tenant("acme")).await.unwrap();
    for records in [&bench.records, &other_node] {
        let refused = records.get::<String>(&scope("acme"), NOTE, "a").await.unwrap_err();
        assert_eq!(refused, StoreError::TenantUnknown);
        let draft = Draft::put(&scope("acme"), NOTE, "b", &"late").unwrap();
        assert_eq!(records.commit(vec![draft]).await, Err(StoreError::TenantUnknown));
    }
    assert_eq!(bench.records.tenant_add(&tenant("acme")).await, Err(StoreError::TenantExists));
    assert_eq!(bench.records.tenant_add(&tenant("globex")).await, Err(StoreError::TenantExists));
    let together = [tenant("initech"), tenant("acme")];
    assert_eq!(bench.records.tenants_add(&together).await, Err(StoreError::TenantExists));
    assert_eq!(
        bench.get(&scope("initech"), "a").await,
        Err(StoreError::TenantUnknown),
        "none of them was added"
    );
    assert_eq!(bench.records.tenant_shred(&tenant("never")).await, Err(StoreError::TenantUnknown));
    assert_eq!(bench.get(&scope("globex"), "a").await.unwrap().as_deref(), Some("of globex"));
}

#[tokio::test]
async fn a_commit_over_two_tenants_conflicts_as_a_whole() {
    let bench = bench().await;
    bench.put(&scope("acme"), "a", "old").await;
    let drafts = || {
        let absent = Draft::put(&scope("acme"), NOTE, "a", &"new").unwrap().expect(Expect::Absent);
        vec![Draft::put(&scope("globex"), NOTE, "a", &"new").unwrap(), absent]
    };
    assert_eq!(bench.records.commit(drafts()).await, Err(StoreError::Conflict { kind: NOTE.to_string() }));
    assert_eq!(bench.get(&scope("globex"), "a").await, Ok(None));
}

#[tokio::test]
async fn a_subscriber_is_woken_by_its_own_and_by_other_processes_commits() {
    let bench = bench().await;
    let other_process = Records::new(bench.store.clone(), master(1));
    let mut woken = bench.records.subscribe();
    bench.put(&Scope::Plane, "a", "here").await;
    let here = bench.records.revision().await.unwrap();
    woken.wait_for(|revision| *revision >= here).await.unwrap();
    let there =
        other_process.commit(vec![Draft::put(&Scope::Plane, NOTE, "a", &"there").unwrap()]).await.unwrap();
    assert_eq!(there, here + 1);
    woken.wait_for(|revision| *revision >= there).await.unwrap();
    let changed = bench.records.changes(here, 10).await.unwrap();
    assert_eq!(changed[0].1, RecordKey::new(Scope::Plane, NOTE, "a"));
}
