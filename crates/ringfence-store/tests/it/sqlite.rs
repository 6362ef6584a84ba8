//! The SQLite driver, and what a person sees when its file is damaged or the disk is full.

use std::{fs, sync::Arc};

use ringfence_store::{Change, Expect, Kind, RecordKey, Scope, SqliteStore, Store, StoreError, conformance};

fn put(id: &str, value: Vec<u8>) -> Change {
    let key = RecordKey::new(Scope::Plane, const { Kind::new("thing") }, id);
    Change { key, expect: Expect::Any, value: Some(value) }
}

#[tokio::test(flavor = "multi_thread")]
async fn is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("state")).await.unwrap();
    conformance::all(Arc::new(store)).await.unwrap();
}

#[tokio::test]
async fn commits_and_changes_agree_with_a_map_whatever_the_seed() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("state")).await.unwrap();
        conformance::agrees_with_a_model(&store, seed).await.unwrap();
    }
}

#[tokio::test]
async fn state_survives_and_two_openings_agree() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let revision = SqliteStore::open(&path).await.unwrap().commit(vec![put("a", vec![1])]).await.unwrap();
    let (one, two) = (SqliteStore::open(&path).await.unwrap(), SqliteStore::open(&path).await.unwrap());
    assert_eq!(one.revision().await, Ok(revision));
    two.commit(vec![put("a", vec![2])]).await.unwrap();
    assert_eq!(one.get(&put("a", vec![]).key).await.unwrap().unwrap().value, [2]);
}

#[tokio::test]
async fn a_damaged_file_is_one_clear_error_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let store = SqliteStore::open(&path).await.unwrap();
    store.commit((0..200).map(|n| put(&format!("{n}"), vec![9; 500])).collect()).await.unwrap();
    store.close().await;
    let whole = fs::read(&path).unwrap();
    let overwritten = |from: usize, len: usize| {
        let mut bytes = whole.clone();
        bytes[from..from + len].fill(0xa5);
        bytes
    };
    for damaged in
        [b"not a database at all, just text".repeat(40), overwritten(0, 100), overwritten(8192, 4096)]
    {
        let path = dir.path().join("damaged");
        fs::write(&path, &damaged).unwrap();
        let error = SqliteStore::open(&path).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{text}");
        assert!(text.contains("damaged") && text.contains("restore") && text.contains("/damaged"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_later_versions_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    SqliteStore::open(&path).await.unwrap().close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("INSERT INTO plane_schema (version) VALUES (99)").execute(&pool).await.unwrap();
    pool.close().await;
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let store = SqliteStore::open_bounded(&path, 40).await.unwrap();
    let before = store.commit(vec![put("a", vec![1; 100])]).await.unwrap();
    let large = vec![put("a", vec![2; 100]), put("b", vec![3; 500_000])];
    assert_eq!(store.commit(large).await, Err(StoreError::Full));
    assert_eq!(store.revision().await, Ok(before));
    assert_eq!(store.get(&put("a", vec![]).key).await.unwrap().unwrap().value, [1; 100]);
    store.commit(vec![put("a", vec![4; 100])]).await.expect("small commits still fit");
    store.close().await;
    let again = SqliteStore::open(&path).await.unwrap();
    assert_eq!(again.get(&put("b", vec![]).key).await, Ok(None));
    again.commit(vec![put("b", vec![3; 500_000])]).await.expect("there is room again");
}
