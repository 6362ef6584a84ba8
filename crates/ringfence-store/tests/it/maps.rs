//! The record of who changed the maps: one commit with what it is about, and attacks on it by whoever can seal.

use std::sync::Arc;

use ringfence_context::{Author, By, ChangeReason, Secret, TenantId, UnixTime, id::Subject, limits};
use ringfence_store::{
    Draft, Expect, Kind, MapEntry, MapStep, MasterKey, Records, Scope, SqliteStore, Store, StoreError,
    chain::numbered,
    maps::{MAP_ENTRY, MAP_HISTORY},
};

const NOTE: Kind = Kind::new("note");

async fn records(dir: &tempfile::TempDir) -> Records {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("state")).await.unwrap());
    Records::new(store, MasterKey::from_bytes(Secret::new(vec![1; 32])).unwrap())
}

async fn tenant(records: &Records, name: &str) -> TenantId {
    let tenant = TenantId::new(name).unwrap();
    records.tenant_add(&tenant).await.unwrap();
    tenant
}

fn by(name: &str) -> By {
    let who = Author::Operator(Subject::new(name).unwrap());
    let why = Some(ChangeReason::new("ticket 7").unwrap());
    By { who, why, at: UnixTime::from_seconds(1_800_000_000) }
}

fn step(key: &str) -> MapStep {
    MapStep::KeyMade { key: key.to_owned() }
}

fn note(tenant: &TenantId, id: &str) -> Vec<Draft> {
    vec![Draft::put(&Scope::from(tenant), NOTE, id, &id).unwrap().expect(Expect::Absent)]
}

#[tokio::test]
async fn reject_policy_page() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(&dir).await;
    let acme = tenant(&records, "acme").await;
    let most = u64::from(limits::POLICY_PAGE);
    let numbers = async |after| -> Vec<u64> {
        records.map_list(&acme, after).await.unwrap().into_iter().map(|entry| entry.number).collect()
    };
    for number in 1..=most {
        records.map_commit(&acme, vec![], &step(&format!("k{number}")), &by("ann")).await.unwrap();
    }
    assert_eq!(numbers(0).await, (1..=most).collect::<Vec<_>>());
    records.map_commit(&acme, vec![], &step("one more"), &by("ann")).await.unwrap();
    assert_eq!(numbers(0).await, (1..=most).collect::<Vec<_>>());
    assert_eq!(numbers(most).await, [most + 1]);
}

fn tampered(outcome: Result<Vec<MapEntry>, StoreError>, attack: &str) {
    assert!(matches!(&outcome, Err(StoreError::Tampered { .. })), "{attack}: {outcome:?}");
}

#[tokio::test]
async fn a_change_and_its_entry_are_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(&dir).await;
    let acme = tenant(&records, "acme").await;
    let before = records.revision().await.unwrap();
    records.map_commit(&acme, note(&acme, "a"), &step("k1"), &by("ann")).await.unwrap();
    assert_eq!(records.revision().await.unwrap(), before + 1);
    // The note is there already: neither another nor an entry is written.
    let again = records.map_commit(&acme, note(&acme, "a"), &step("k2"), &by("ann")).await;
    assert!(matches!(again, Err(StoreError::Conflict { kind }) if kind == "note"));
    let entries = records.map_list(&acme, 0).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].number, &entries[0].step), (1, &step("k1")));
    assert_eq!((&entries[0].who, &entries[0].reason), (&by("ann").who, &by("ann").why));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_all_come_to_be_and_each_has_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(&dir).await;
    let acme = tenant(&records, "acme").await;
    let mut changes = tokio::task::JoinSet::new();
    for at in 0..12 {
        let (records, acme) = (records.clone(), acme.clone());
        changes.spawn(async move {
            let key = format!("k{at}");
            records.map_commit(&acme, note(&acme, &key), &step(&key), &by("ann")).await.unwrap();
        });
    }
    changes.join_all().await;
    let entries = records.map_list(&acme, 0).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    assert_eq!(records.map_list(&acme, 9).await.unwrap(), entries[9..]);
}

#[tokio::test]
async fn x15_a_record_of_the_maps_that_was_rewritten_or_cut_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(&dir).await;
    for attack in ["rewritten", "last-rewritten", "gap", "cut", "all-cut", "head-gone", "head-back", "moved"]
    {
        let victim = tenant(&records, &format!("t-{attack}")).await;
        let scope = Scope::from(&victim);
        let mut heads = Vec::new();
        for key in ["a", "b", "c"] {
            records.map_commit(&victim, note(&victim, key), &step(key), &by("ann")).await.unwrap();
            let head = records.get::<serde_json::Value>(&scope, MAP_HISTORY, "current").await.unwrap();
            heads.push(head.unwrap().value);
        }
        let entries = records.map_list(&victim, 0).await.unwrap();
        let put = |entry: &MapEntry| Draft::put(&scope, MAP_ENTRY, &numbered(entry.number), entry).unwrap();
        let gone = |number: u64| Draft::delete(&scope, MAP_ENTRY, &numbered(number));
        let drafts = match attack {
            "rewritten" => vec![put(&MapEntry { who: Author::Plane, ..entries[1].clone() })],
            "last-rewritten" => vec![put(&MapEntry { reason: None, ..entries[2].clone() })],
            "gap" => vec![gone(2)],
            "cut" => vec![gone(3)],
            "all-cut" => vec![gone(1), gone(2), gone(3)],
            "head-gone" => vec![Draft::delete(&scope, MAP_HISTORY, "current")],
            "head-back" => vec![Draft::put(&scope, MAP_HISTORY, "current", &heads[0]).unwrap()],
            _ => {
                let other = TenantId::new("t-rewritten").unwrap();
                vec![put(&MapEntry { tenant: other, ..entries[0].clone() })]
            }
        };
        records.commit(drafts).await.unwrap();
        tampered(records.map_list(&victim, 0).await, attack);
        // And nothing further is written over what is not whole.
        if ["head-gone", "head-back"].contains(&attack) {
            let next = records.map_commit(&victim, note(&victim, "d"), &step("d"), &by("ann")).await;
            assert!(matches!(next, Err(StoreError::Unavailable { .. })), "{attack}: {next:?}");
        }
    }
}

#[tokio::test]
async fn the_record_of_the_maps_goes_with_its_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(&dir).await;
    let acme = tenant(&records, "acme").await;
    records.map_commit(&acme, note(&acme, "a"), &step("a"), &by("ann")).await.unwrap();
    records.tenant_shred(&acme).await.unwrap();
    assert_eq!(records.map_list(&acme, 0).await, Err(StoreError::TenantUnknown));
    let never = TenantId::new("never").unwrap();
    assert_eq!(records.map_list(&never, 0).await, Err(StoreError::TenantUnknown));
}
