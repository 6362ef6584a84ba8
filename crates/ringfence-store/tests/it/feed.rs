//! Following the change feed: told in order, at least once, and again where it could not be applied.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use ringfence_context::Secret;
use ringfence_store::{
    Answer, Draft, Kind, MasterKey, Records, Scope, SqliteStore, Store, StoreError,
    feed::{Apply, Follower, Follows, News},
};

const NOTE: Kind = Kind::new("note");

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Told {
    news: Mutex<Vec<Vec<String>>>,
    fails: AtomicBool,
}

impl Apply for Told {
    fn apply<'a>(&'a self, news: &'a News) -> Answer<'a, ()> {
        Box::pin(async move {
            if self.fails.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable { cause: "told to fail".to_owned() });
            }
            let ids = match news {
                News::Everything => vec!["everything".to_owned()],
                News::Changed(keys) => keys.iter().map(|key| key.id.clone()).collect(),
            };
            self.news.lock().unwrap().push(ids);
            Ok(())
        })
    }
}

impl Told {
    fn take(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.news.lock().unwrap())
    }
}

struct Bench {
    records: Records,
    follower: Arc<Follower<Told>>,
    dir: tempfile::TempDir,
}

async fn open(path: &std::path::Path) -> Records {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path).await.unwrap());
    Records::new(store, MasterKey::from_bytes(Secret::new(vec![1; 32])).unwrap())
}

async fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let records = open(&dir.path().join("state")).await;
    let follower = Follower::begin(records.clone(), Told::default()).await.unwrap();
    Bench { records, follower, dir }
}

async fn put(records: &Records, id: &str) -> u64 {
    records.commit(vec![Draft::put(&Scope::Plane, NOTE, id, &"x").unwrap()]).await.unwrap()
}

#[tokio::test]
async fn cv25_changes_are_told_in_order_and_again_where_they_could_not_be_applied() {
    let bench = bench().await;
    let kept = bench.follower.kept();
    assert_eq!(kept.take(), [["everything"]]);
    for id in ["b", "a", "b"] {
        put(&bench.records, id).await;
    }
    kept.fails.store(true, Ordering::SeqCst);
    bench.follower.catch_up().await.unwrap_err();
    assert_eq!(bench.follower.reached(), 0, "what could not be applied is not reached");
    kept.fails.store(false, Ordering::SeqCst);
    let late = put(&bench.records, "c").await;
    bench.follower.catch_up().await.unwrap();
    assert_eq!(kept.take(), [["a", "b", "c"]], "by their latest change");
    assert_eq!(bench.follower.reached(), late);
    bench.follower.catch_up().await.unwrap();
    assert_eq!(kept.take(), [Vec::<String>::new()], "nothing new, and that is confirmed");
}

#[tokio::test]
async fn an_older_state_put_back_is_told_as_everything() {
    let bench = bench().await;
    let path = bench.dir.path().join("state");
    for number in 0..5 {
        put(&bench.records, &number.to_string()).await;
    }
    bench.follower.catch_up().await.unwrap();
    bench.follower.kept().take();
    // What a backup of the first revision looks like.
    let url = format!("sqlite://{}", path.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("DELETE FROM plane_record WHERE revision > 1").execute(&pool).await.unwrap();
    sqlx::query("UPDATE plane_revision SET revision = 1").execute(&pool).await.unwrap();
    bench.follower.catch_up().await.unwrap();
    assert_eq!(bench.follower.kept().take(), [["everything"]]);
    assert_eq!(bench.follower.reached(), 1);
}

#[tokio::test]
async fn a_follower_is_woken_by_other_processes_commits() {
    let bench = bench().await;
    let other = open(&bench.dir.path().join("state")).await;
    tokio::spawn(Arc::clone(&bench.follower).follow());
    let revision = put(&other, "there").await;
    while bench.follower.reached() < revision {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!(bench.follower.kept().take().concat().contains(&"there".to_owned()));
}
