//! Operators on record: made, given further tokens, ended. A name that was ever used is never used again.

use std::collections::BTreeSet;

use ringfence_context::{
    Duty, OperatorRole, Secret, UnixTime, id::Subject, limits, operator::OperatorRecord,
};
use ringfence_store::{Draft, Expect, Kind, Records, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};

const OPERATOR: Kind = Kind::new("operator");

/// Most operators.
const OPERATORS: u32 = 500;

/// An operator as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// Name, hashes of tokens, roles.
    #[serde(flatten)]
    pub record: OperatorRecord,
    /// Who made it; the plane itself makes the first one.
    #[serde(default)]
    pub made_by: Option<Subject>,
    /// When, in seconds since the epoch.
    #[serde(default)]
    pub made_at: u64,
}

/// Why an operator could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is or was one of this name.
    #[error("the name is or was in use; names are never used again: choose another")]
    Exists,
    /// There is none.
    #[error("there is no operator of this name")]
    Missing,
    /// It would do nothing.
    #[error("name at least one role")]
    NoRole,
    /// Nobody would be left to run the plane.
    #[error("this is the only administrator: make another first")]
    LastAdmin,
    /// Too many.
    #[error("{0}")]
    Full(&'static str),
    /// The state refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All operators.
#[derive(Debug, Clone)]
pub struct Operators {
    records: Records,
}

impl Operators {
    /// The operators of this state.
    pub fn new(records: Records) -> Self {
        Self { records }
    }

    /// Every operator that has not ended.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn operator_list(&self) -> Result<Vec<Kept>, StoreError> {
        let listed = self.records.list::<Kept>(&Scope::Plane, OPERATOR, None, OPERATORS).await?;
        let all = listed.into_iter().map(|(_, stored)| stored.value);
        Ok(all.filter(|kept| !kept.record.token_hashes.is_empty()).collect())
    }

    /// What tokens are recognised by.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn operator_records(&self) -> Result<Vec<OperatorRecord>, StoreError> {
        Ok(self.operator_list().await?.into_iter().map(|kept| kept.record).collect())
    }

    /// Makes an operator; its token is told this once.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn operator_create(
        &self,
        name: Subject,
        roles: BTreeSet<OperatorRole>,
        made_by: Option<Subject>,
        now: UnixTime,
    ) -> Result<Secret<String>, OperatorError> {
        if roles.is_empty() {
            return Err(OperatorError::NoRole);
        }
        let there = self.records.list::<Kept>(&Scope::Plane, OPERATOR, None, OPERATORS).await?.len();
        if there >= usize::try_from(OPERATORS).unwrap_or(usize::MAX) {
            return Err(OperatorError::Full("there are or were 500 operators, and no more can be made"));
        }
        let (record, token) = issue(name, roles)?;
        let kept = Kept { record, made_by, made_at: now.seconds() };
        match self.write(&kept, Expect::Absent).await {
            Err(StoreError::Conflict { .. }) => Err(OperatorError::Exists),
            outcome => Ok(outcome.map(|()| token)?),
        }
    }

    /// Gives an operator another token. It is the same operator, whichever of its tokens it shows.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn operator_token(&self, name: &Subject) -> Result<Secret<String>, OperatorError> {
        let Stored { mut value, revision } = self.live(name).await?;
        if value.record.token_hashes.len() >= limits::OPERATOR_TOKENS {
            return Err(OperatorError::Full("the operator has 8 tokens already: end it and make another"));
        }
        let no_randomness = |_| StoreError::Invalid("the system's random source failed");
        let token = value.record.token_add().map_err(no_randomness)?;
        self.write(&value, Expect::Revision(revision)).await?;
        Ok(token)
    }

    /// Ends an operator: all its tokens and access keys are refused from the next request on.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn operator_end(&self, name: &Subject) -> Result<(), OperatorError> {
        let Stored { mut value, revision } = self.live(name).await?;
        let operates = |kept: &Kept| kept.record.roles.iter().any(|role| role.may(Duty::Operate));
        let others = self.operator_list().await?;
        if operates(&value) && !others.iter().any(|other| other.record.operator != *name && operates(other)) {
            return Err(OperatorError::LastAdmin);
        }
        value.record.token_hashes.clear();
        Ok(self.write(&value, Expect::Revision(revision)).await?)
    }

    /// Keeps the first operator's record; their token is known to nobody but them.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn operator_first(&self, record: OperatorRecord, now: UnixTime) -> Result<(), StoreError> {
        self.write(&Kept { record, made_by: None, made_at: now.seconds() }, Expect::Absent).await
    }

    async fn live(&self, name: &Subject) -> Result<Stored<Kept>, OperatorError> {
        let found = self.records.get::<Kept>(&Scope::Plane, OPERATOR, name.as_str()).await?;
        let live = found.filter(|found| {
            found.value.record.operator == *name && !found.value.record.token_hashes.is_empty()
        });
        live.ok_or(OperatorError::Missing)
    }

    async fn write(&self, kept: &Kept, expect: Expect) -> Result<(), StoreError> {
        let draft = Draft::put(&Scope::Plane, OPERATOR, kept.record.operator.as_str(), kept)?.expect(expect);
        self.records.commit(vec![draft]).await.map(drop)
    }
}

fn issue(
    name: Subject,
    roles: BTreeSet<OperatorRole>,
) -> Result<(OperatorRecord, Secret<String>), StoreError> {
    OperatorRecord::issue(name, roles).map_err(|_| StoreError::Invalid("the system's random source failed"))
}

/// The name of the operator made at the first start.
pub fn first_operator() -> Option<Subject> {
    Subject::new("operator").ok()
}

#[cfg(test)]
mod tests {
    use ringfence_context::OperatorContext;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    fn name(text: &str) -> Subject {
        Subject::new(text).unwrap()
    }

    async fn operators(dir: &tempfile::TempDir) -> Operators {
        Operators::new(Records::open_sqlite(dir.path()).await.unwrap())
    }

    #[tokio::test]
    async fn the_last_administrator_stays_and_names_are_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let all = operators(&dir).await;
        let role = |role| BTreeSet::from([role]);
        all.operator_create(name("ann"), role(OperatorRole::Admin), None, NOW).await.unwrap();
        all.operator_create(name("bob"), role(OperatorRole::PolicyAuthor), None, NOW).await.unwrap();
        assert!(matches!(all.operator_end(&name("ann")).await, Err(OperatorError::LastAdmin)));
        all.operator_create(name("carol"), role(OperatorRole::Admin), None, NOW).await.unwrap();
        all.operator_end(&name("ann")).await.unwrap();
        assert!(matches!(all.operator_end(&name("ann")).await, Err(OperatorError::Missing)));
        assert!(matches!(all.operator_token(&name("ann")).await, Err(OperatorError::Missing)));
        let again = all.operator_create(name("ann"), role(OperatorRole::Auditor), None, NOW).await;
        assert!(matches!(again, Err(OperatorError::Exists)));
        assert!(matches!(
            all.operator_create(name("dave"), BTreeSet::new(), None, NOW).await,
            Err(OperatorError::NoRole)
        ));
        let listed = all.operator_list().await.unwrap();
        assert_eq!(
            listed.iter().map(|kept| kept.record.operator.as_str()).collect::<Vec<_>>(),
            ["bob", "carol"]
        );
    }

    #[tokio::test]
    async fn reject_operator_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let all = operators(&dir).await;
        let roles = BTreeSet::from([OperatorRole::PolicyAuthor]);
        let mut tokens = vec![all.operator_create(name("ann"), roles, None, NOW).await.unwrap()];
        for _ in 1..limits::OPERATOR_TOKENS {
            tokens.push(all.operator_token(&name("ann")).await.unwrap());
        }
        assert!(matches!(all.operator_token(&name("ann")).await, Err(OperatorError::Full(_))));
        let records = all.operator_records().await.unwrap();
        for token in tokens {
            let known = OperatorContext::authenticate(token.reveal(), &records).unwrap();
            assert_eq!(known.operator(), &name("ann"));
        }
    }
}
