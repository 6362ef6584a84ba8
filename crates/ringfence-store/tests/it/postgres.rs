//! The Postgres driver, against a real cluster.

use std::sync::Arc;

use ringfence_context::Secret;
use ringfence_store::{
    Change, Expect, Kind, MasterKey, PostgresStore, RecordKey, Records, Scope, Store, StoreError, conformance,
};

use crate::cluster::Cluster;

const KIND: Kind = Kind::new("thing");

#[tokio::test(flavor = "multi_thread")]
async fn is_a_store() {
    let cluster = Cluster::start();
    let store = PostgresStore::open(&cluster.url()).await.unwrap();
    conformance::all(Arc::new(store)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_migrate_once_and_survive_a_restart_of_postgres() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let (one, two) = tokio::join!(PostgresStore::open(&url), PostgresStore::open(&url));
    let (one, two) = (one.unwrap(), two.unwrap());
    conformance::agrees_with_a_model(&one, 11).await.unwrap();
    let revision = two.revision().await.unwrap();
    cluster.down();
    assert!(matches!(one.revision().await, Err(StoreError::Unavailable { .. })));
    cluster.up();
    assert_eq!(one.revision().await, Ok(revision));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_told_to_whoever_listens_and_found_by_who_was_not_told() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let (here, there) = (PostgresStore::open(&url).await.unwrap(), PostgresStore::open(&url).await.unwrap());
    let put = |id: &str| {
        let key = RecordKey::new(Scope::Plane, KIND, id);
        vec![Change { key, expect: Expect::Any, value: Some(vec![1]) }]
    };
    let mut listener = here.listen().await.unwrap().unwrap();
    for id in ["a", "b", "c"] {
        let revision = there.commit(put(id)).await.unwrap();
        listener.told().await.unwrap();
        assert_eq!(here.revision().await.unwrap(), revision, "told after it can be read");
    }
    // Records are woken by it, and without it too.
    let master = || MasterKey::from_bytes(Secret::new(vec![1; 32])).unwrap();
    let records = Records::new(Arc::new(here), master());
    let mut woken = records.subscribe();
    let revision = there.commit(put("d")).await.unwrap();
    woken.wait_for(|seen| *seen >= revision).await.unwrap();
    cluster.down();
    cluster.up();
    let revision = loop {
        if let Ok(revision) = there.commit(put("e")).await {
            break revision;
        }
    };
    woken.wait_for(|seen| *seen >= revision).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_none_and_one_nobody_answers_at() {
    let wrong = PostgresStore::open(&Secret::new("mysql://nowhere".to_owned())).await.unwrap_err();
    assert!(matches!(wrong, StoreError::Invalid(_)), "{wrong}");
    let dir = tempfile::tempdir().unwrap();
    let url = Secret::new(format!("postgres://u:hunter2@localhost/db?host={}", dir.path().display()));
    let silent = PostgresStore::open(&url).await.unwrap_err();
    assert!(matches!(silent, StoreError::Unavailable { .. }), "{silent}");
    assert!(!silent.to_string().contains("hunter2"), "{silent}");
}
