//! The fault-injecting store: repeatable by its seed, and never a half-made commit.

use ringfence_store::{
    Change, Expect, Kind, RecordKey, Scope, SqliteStore, Store, StoreError, faulty::FaultyStore,
};

const KIND: Kind = Kind::new("thing");

async fn run(seed: u64) -> (Vec<bool>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let store = FaultyStore::new(SqliteStore::open(&dir.path().join("state")).await.unwrap(), seed, 300);
    let mut answers = Vec::new();
    for n in 0..40 {
        let put = |id: &str| Change {
            key: RecordKey::new(Scope::Plane, KIND, id),
            expect: Expect::Any,
            value: Some(vec![n]),
        };
        answers.push(store.commit(vec![put("a"), put("b")]).await.is_ok());
    }
    let inner = SqliteStore::open(&dir.path().join("state")).await.unwrap();
    let listed = inner.list(&Scope::Plane, KIND.as_str(), None, 10).await.unwrap();
    assert_eq!(listed[0].value, listed[1].value, "seed {seed}: both records or none");
    (answers, inner.revision().await.unwrap())
}

#[tokio::test]
async fn a_seed_repeats_its_run_and_no_commit_is_half_made() {
    let (answers, revision) = run(3).await;
    assert_eq!(run(3).await, (answers.clone(), revision));
    assert_ne!(run(4).await.0, answers);
    let acknowledged = answers.iter().filter(|ok| **ok).count() as u64;
    assert!(acknowledged < 40 && acknowledged > 0);
    assert!(revision > acknowledged, "some commits happened whose answer was lost");
}

#[tokio::test]
async fn down_is_down_until_it_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = FaultyStore::new(SqliteStore::open(&dir.path().join("state")).await.unwrap(), 1, 0);
    store.set_down(true);
    assert!(matches!(store.revision().await, Err(StoreError::Unavailable { .. })));
    store.set_down(false);
    assert_eq!(store.revision().await, Ok(0));
}
