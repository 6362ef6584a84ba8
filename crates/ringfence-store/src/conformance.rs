//! The definition of a store: whatever passes [`all`] is one.
//!
//! Give it an empty store. Each check works in a scope of its own; a failed check panics with what it found.

use std::{collections::BTreeMap, sync::Arc};

use ringfence_context::TenantId;

use crate::{
    error::StoreError,
    faulty::splitmix,
    record::{Change, Expect, ID_BYTES, Kind, RecordKey, Revision, Scope, VALUE_BYTES},
    store::Store,
};

type Outcome = Result<(), StoreError>;

const KIND: Kind = Kind::new("thing");
const OTHER: Kind = Kind::new("other_thing");

/// Runs every check.
///
/// # Errors
/// What the store answers where it should not.
pub async fn all(store: Arc<dyn Store>) -> Outcome {
    assert_eq!(store.revision().await?, 0, "the suite wants an empty store");
    reads_what_was_written(&*store).await?;
    keeps_scopes_and_kinds_apart(&*store).await?;
    makes_all_changes_or_none(&*store).await?;
    expects(&*store).await?;
    lists_in_byte_order_page_by_page(&*store).await?;
    feeds_whole_revisions(&*store).await?;
    refuses_out_of_bounds(&*store).await?;
    loses_no_concurrent_update(&store).await?;
    shows_revisions_in_order(&store).await?;
    agrees_with_a_model(&*store, 7).await
}

fn scope(name: &'static str) -> Result<Scope, StoreError> {
    TenantId::new(name).map(Scope::Tenant).map_err(|_| StoreError::Invalid("scope of a check"))
}

fn put(scope: &Scope, id: &str, value: &str) -> Change {
    Change {
        key: RecordKey::new(scope.clone(), KIND, id),
        expect: Expect::Any,
        value: Some(value.as_bytes().to_vec()),
    }
}

fn delete(scope: &Scope, id: &str) -> Change {
    Change { value: None, ..put(scope, id, "") }
}

fn is_conflict<T>(outcome: &Result<T, StoreError>, of: Kind) -> bool {
    matches!(outcome, Err(StoreError::Conflict { kind }) if *kind == of)
}

async fn value(store: &dyn Store, scope: &Scope, id: &str) -> Result<Option<String>, StoreError> {
    let found = store.get(&RecordKey::new(scope.clone(), KIND, id)).await?;
    Ok(found.map(|record| String::from_utf8_lossy(&record.value).into_owned()))
}

async fn ids(
    store: &dyn Store,
    scope: &Scope,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let records = store.list(scope, KIND.as_str(), after, limit).await?;
    Ok(records.into_iter().map(|record| record.key.id).collect())
}

async fn reads_what_was_written(store: &dyn Store) -> Outcome {
    let scope = scope("written")?;
    assert_eq!(value(store, &scope, "a").await?, None);
    let first = store.commit(vec![put(&scope, "a", "one")]).await?;
    assert_eq!(value(store, &scope, "a").await?.as_deref(), Some("one"));
    let second = store.commit(vec![put(&scope, "a", "two"), put(&scope, "b", "")]).await?;
    assert_eq!(second, first + 1);
    assert_eq!(store.revision().await?, second);
    let record = store.get(&RecordKey::new(scope.clone(), KIND, "a")).await?;
    assert_eq!(record.map(|record| (record.value, record.revision)), Some((b"two".to_vec(), second)));
    assert_eq!(value(store, &scope, "b").await?.as_deref(), Some(""), "an empty value is a value");
    store.commit(vec![delete(&scope, "a")]).await?;
    assert_eq!(value(store, &scope, "a").await?, None);
    assert_eq!(ids(store, &scope, None, 10).await?, ["b"]);
    Ok(())
}

async fn keeps_scopes_and_kinds_apart(store: &dyn Store) -> Outcome {
    let (one, two) = (scope("one")?, scope("two")?);
    let mut other = put(&one, "x", "other kind");
    other.key = RecordKey::new(one.clone(), OTHER, "x");
    store.commit(vec![put(&one, "x", "of one"), put(&two, "x", "of two"), other]).await?;
    assert_eq!(value(store, &one, "x").await?.as_deref(), Some("of one"));
    assert_eq!(value(store, &two, "x").await?.as_deref(), Some("of two"));
    assert_eq!(value(store, &Scope::Plane, "x").await?, None);
    assert_eq!(store.list(&one, KIND.as_str(), None, 10).await?.len(), 1);
    assert_eq!(store.list(&Scope::Plane, KIND.as_str(), None, 10).await?.len(), 0);
    Ok(())
}

async fn makes_all_changes_or_none(store: &dyn Store) -> Outcome {
    let scope = scope("atomic")?;
    let before = store.commit(vec![put(&scope, "a", "old")]).await?;
    let wrong = Change { expect: Expect::Absent, ..put(&scope, "a", "new") };
    let outcome =
        store.commit(vec![put(&scope, "b", "new"), delete(&scope, "a"), put(&scope, "c", "new")]).await;
    assert_eq!(outcome, Ok(before + 1));
    store.commit(vec![put(&scope, "a", "old")]).await?;
    let outcome = store.commit(vec![put(&scope, "d", "new"), wrong, delete(&scope, "b")]).await;
    assert!(is_conflict(&outcome, KIND), "{outcome:?}");
    assert_eq!(ids(store, &scope, None, 10).await?, ["a", "b", "c"]);
    assert_eq!(store.revision().await?, before + 2, "a refused commit uses no revision");
    Ok(())
}

async fn expects(store: &dyn Store) -> Outcome {
    let scope = scope("expects")?;
    let expecting = |expect| Change { expect, ..put(&scope, "a", "v") };
    let at = store.commit(vec![expecting(Expect::Absent)]).await?;
    for wrong in [Expect::Absent, Expect::Revision(at - 1), Expect::Revision(at + 1), Expect::Revision(0)] {
        let outcome = store.commit(vec![expecting(wrong)]).await;
        assert!(is_conflict(&outcome, KIND), "{wrong:?}: {outcome:?}");
    }
    let at = store.commit(vec![expecting(Expect::Revision(at))]).await?;
    store.commit(vec![Change { expect: Expect::Revision(at), ..delete(&scope, "a") }]).await?;
    let outcome = store.commit(vec![expecting(Expect::Revision(at + 1))]).await;
    assert!(is_conflict(&outcome, KIND), "a deleted record has no revision: {outcome:?}");
    store.commit(vec![expecting(Expect::Absent)]).await?;
    Ok(())
}

async fn lists_in_byte_order_page_by_page(store: &dyn Store) -> Outcome {
    let scope = scope("listed")?;
    let sorted = ["A", "B", "Z", "a", "a-b", "a.b", "a_b", "aa", "b", "é", "日本"];
    store.commit(sorted.iter().rev().map(|id| put(&scope, id, id)).collect()).await?;
    assert_eq!(ids(store, &scope, None, 100).await?, sorted);
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = ids(store, &scope, after.as_deref(), 3).await?;
        let Some(last) = page.last().cloned() else { break };
        assert!(page.len() <= 3);
        seen.extend(page);
        after = Some(last);
    }
    assert_eq!(seen, sorted);
    Ok(())
}

async fn feeds_whole_revisions(store: &dyn Store) -> Outcome {
    let scope = scope("feed")?;
    let start = store.revision().await?;
    store.commit(vec![put(&scope, "a", "1"), put(&scope, "b", "1"), put(&scope, "c", "1")]).await?;
    store.commit(vec![put(&scope, "d", "1"), delete(&scope, "b")]).await?;
    let names = |changes: Vec<(Revision, RecordKey)>| -> Vec<(Revision, String)> {
        changes.into_iter().map(|(revision, key)| (revision - start, key.id)).collect()
    };
    let expected = |list: &[(Revision, &str)]| -> Vec<(Revision, String)> {
        list.iter().map(|(revision, id)| (*revision, (*id).to_owned())).collect()
    };
    let all = names(store.changes(start, 100).await?);
    assert_eq!(
        all,
        expected(&[(1, "a"), (1, "c"), (2, "b"), (2, "d")]),
        "each record's latest change, deletions too"
    );
    assert_eq!(
        names(store.changes(start, 1).await?),
        expected(&[(1, "a"), (1, "c")]),
        "a revision is not cut"
    );
    assert_eq!(names(store.changes(start + 1, 1).await?), expected(&[(2, "b"), (2, "d")]));
    assert!(store.changes(start + 2, 10).await?.is_empty());
    assert!(store.changes(Revision::MAX, 10).await?.is_empty());
    Ok(())
}

async fn refuses_out_of_bounds(store: &dyn Store) -> Outcome {
    let scope = scope("bounds")?;
    let long = "x".repeat(ID_BYTES + 1);
    let large = Change { value: Some(vec![0; VALUE_BYTES + 1]), ..put(&scope, "a", "") };
    let mut kind = put(&scope, "a", "");
    kind.key.kind = "Not A Kind".to_owned();
    let before = store.revision().await?;
    for wrong in [
        vec![],
        vec![put(&scope, "", "")],
        vec![put(&scope, &long, "")],
        vec![put(&scope, "nul\0", "")],
        vec![large],
        vec![kind],
        vec![put(&scope, "a", "1"), put(&scope, "a", "2")],
    ] {
        let outcome = store.commit(wrong).await;
        assert!(matches!(outcome, Err(StoreError::Invalid(_))), "{outcome:?}");
    }
    assert_eq!(store.revision().await?, before);
    let largest = Change { value: Some(vec![7; VALUE_BYTES]), ..put(&scope, &"x".repeat(ID_BYTES), "") };
    store.commit(vec![largest]).await?;
    Ok(())
}

async fn loses_no_concurrent_update(store: &Arc<dyn Store>) -> Outcome {
    const TASKS: u64 = 4;
    const ROUNDS: u64 = 10;
    let scope = scope("counter")?;
    store.commit(vec![put(&scope, "n", "0")]).await?;
    let count = |store: Arc<dyn Store>, scope: Scope| async move {
        let mut done = 0;
        while done < ROUNDS {
            let key = RecordKey::new(scope.clone(), KIND, "n");
            let Some(found) = store.get(&key).await? else { return Err(StoreError::Invalid("lost")) };
            let n: u64 = String::from_utf8_lossy(&found.value).parse().unwrap_or_default();
            let next = put(&scope, "n", &(n + 1).to_string());
            match store.commit(vec![Change { expect: Expect::Revision(found.revision), ..next }]).await {
                Ok(_) => done += 1,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(count(store.clone(), scope.clone()))).collect();
    for task in tasks {
        task.await.map_err(|_| StoreError::Invalid("a check panicked"))??;
    }
    assert_eq!(value(&**store, &scope, "n").await?, Some((TASKS * ROUNDS).to_string()));
    // Two commits of one new record: one of them is told, and told of a conflict.
    let absent = || Change { expect: Expect::Absent, ..put(&scope, "new", "v") };
    let (one, two) = tokio::join!(store.commit(vec![absent()]), store.commit(vec![absent()]));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert!(is_conflict(&one, KIND) || is_conflict(&two, KIND), "{one:?} {two:?}");
    Ok(())
}

async fn shows_revisions_in_order(store: &Arc<dyn Store>) -> Outcome {
    const TASKS: u64 = 4;
    const EACH: u64 = 10;
    let scope = scope("order")?;
    let start = store.revision().await?;
    let write = |store: Arc<dyn Store>, scope: Scope, task: u64| async move {
        for n in 0..EACH {
            store.commit(vec![put(&scope, &format!("{task}-{n}"), "v")]).await?;
        }
        Ok::<_, StoreError>(())
    };
    let tasks: Vec<_> =
        (0..TASKS).map(|task| tokio::spawn(write(store.clone(), scope.clone(), task))).collect();
    let mut at = start;
    while at < start + TASKS * EACH {
        for (revision, _) in store.changes(at, 5).await? {
            assert_eq!(revision, at + 1, "a later revision became visible before an earlier one");
            at = revision;
        }
    }
    for task in tasks {
        task.await.map_err(|_| StoreError::Invalid("a check panicked"))??;
    }
    Ok(())
}

/// Commits drawn from `seed`, on the store and on a map: both must answer alike throughout.
///
/// # Errors
/// What the store answers where it should not.
pub async fn agrees_with_a_model(store: &dyn Store, seed: u64) -> Outcome {
    let scope = scope("model")?;
    let start = store.revision().await?;
    let mut model: BTreeMap<String, (Option<Vec<u8>>, Revision)> = BTreeMap::new();
    let mut at = start;
    for step in 0..120_u64 {
        let draw = |n: u64, below: u64| splitmix(seed.wrapping_mul(1_000_003) + step * 100 + n) % below;
        let mut changes = BTreeMap::new();
        for n in 0..=draw(0, 3) {
            let id = format!("k{}", draw(10 + n, 6));
            let live = model.get(&id).and_then(|(value, revision)| value.as_ref().map(|_| *revision));
            let expect = match (draw(20 + n, 4), live) {
                (0, _) => Expect::Absent,
                (1, Some(revision)) => Expect::Revision(revision),
                (2, _) => Expect::Revision(start + draw(30 + n, 50)),
                _ => Expect::Any,
            };
            let value = (draw(40 + n, 4) > 0).then(|| vec![u8::try_from(step).unwrap_or(255); 3]);
            let admitted = expect.admits(live);
            changes.insert(id.clone(), (Change { expect, value, ..put(&scope, &id, "") }, admitted));
        }
        let fits = changes.values().all(|(_, admitted)| *admitted);
        let outcome = store.commit(changes.values().map(|(change, _)| change.clone()).collect()).await;
        if fits {
            at += 1;
            assert_eq!(outcome, Ok(at), "seed {seed}, step {step}");
            model.extend(changes.into_iter().map(|(id, (change, _))| (id, (change.value, at))));
        } else {
            assert!(is_conflict(&outcome, KIND), "seed {seed}, step {step}: {outcome:?}");
        }
        let live: Vec<_> = model
            .iter()
            .filter_map(|(id, (value, revision))| Some((id.clone(), value.clone()?, *revision)))
            .collect();
        let listed = store.list(&scope, KIND.as_str(), None, 100).await?;
        let listed: Vec<_> = listed.into_iter().map(|r| (r.key.id, r.value, r.revision)).collect();
        assert_eq!(listed, live, "seed {seed}, step {step}");
    }
    let mut expected: Vec<_> = model.into_iter().map(|(id, (_, revision))| (revision, id)).collect();
    expected.sort();
    let fed = store.changes(start, 1000).await?;
    assert_eq!(fed.into_iter().map(|(revision, key)| (revision, key.id)).collect::<Vec<_>>(), expected);
    Ok(())
}
