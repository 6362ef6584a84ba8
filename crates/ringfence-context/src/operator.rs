//! Operators: people and programs that run the plane. They have no tenant, and so no way into one (SYSTEMS X-01).
//!
//! An operator is a name with roles and any number of tokens: two tokens of one name are one operator, whatever either
//! is used for. What a role may do is one table, [`OperatorRole::may`], without a row for "everything else".

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    id::Subject,
    key::{base64url, random, sha256},
    refusal::{Layer, Reason, Refusal},
    secret::Secret,
};

/// What an operator is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorRole {
    /// Runs the plane: every duty.
    Admin,
    /// Writes and proposes policies.
    PolicyAuthor,
    /// Approves what others propose.
    PolicyReviewer,
    /// Sees, and changes nothing.
    Auditor,
    /// An application's: it asks the policy service for decisions and nothing else.
    DecisionsOnly,
}

/// What has to be done, by somebody who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Tenants, users, clients, access keys, operators.
    Operate,
    /// Seeing tenants' policies, their history, and what became of requests.
    Read,
    /// Seeing who changed a tenant's users, clients, keys and the place of its policies.
    Audit,
    /// Writing policies, and proposing them.
    Author,
    /// Approving and rejecting proposals.
    Review,
    /// Putting into effect what was approved.
    Publish,
    /// Asking for decisions.
    Decide,
}

impl OperatorRole {
    /// Every role.
    pub const ALL: &'static [Self] =
        &[Self::Admin, Self::PolicyAuthor, Self::PolicyReviewer, Self::Auditor, Self::DecisionsOnly];

    /// Whether it may do this.
    pub const fn may(self, duty: Duty) -> bool {
        match self {
            Self::Admin => true,
            Self::PolicyAuthor => matches!(duty, Duty::Read | Duty::Author | Duty::Publish | Duty::Decide),
            Self::PolicyReviewer => matches!(duty, Duty::Read | Duty::Review | Duty::Publish | Duty::Decide),
            Self::Auditor => matches!(duty, Duty::Read | Duty::Audit),
            Self::DecisionsOnly => matches!(duty, Duty::Decide),
        }
    }
}

/// A proved operator. It holds no tenant and can't become a `TenantContext`.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    operator: Subject,
    roles: BTreeSet<OperatorRole>,
}

/// What is kept of an operator. Of its tokens, hashes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// Who.
    pub operator: Subject,
    /// SHA-256 of each token, base64url. An operator without any has ended; its name is not used again.
    #[serde(alias = "token_hash", deserialize_with = "one_or_several")]
    pub token_hashes: Vec<String>,
    /// What it is there for. Records from before there were roles are of administrators.
    #[serde(default = "admin")]
    pub roles: BTreeSet<OperatorRole>,
}

fn admin() -> BTreeSet<OperatorRole> {
    BTreeSet::from([OperatorRole::Admin])
}

fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Hashes {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Hashes::deserialize(from)? {
        Hashes::One(hash) => vec![hash],
        Hashes::Several(hashes) => hashes,
    })
}

impl OperatorRecord {
    /// Makes an operator with a token of 256 random bits; only its hash is kept.
    ///
    /// # Errors
    /// A refusal with [`Reason::Internal`] where the system gives no randomness.
    pub fn issue(
        operator: Subject,
        roles: BTreeSet<OperatorRole>,
    ) -> Result<(Self, Secret<String>), Refusal> {
        let mut record = Self { operator, token_hashes: Vec::new(), roles };
        let token = record.token_add()?;
        Ok((record, token))
    }

    /// Makes another token of the same operator.
    ///
    /// # Errors
    /// As [`OperatorRecord::issue`].
    pub fn token_add(&mut self) -> Result<Secret<String>, Refusal> {
        let bytes =
            random::<32>().map_err(|_| Refusal::new(Layer::Identity, Reason::Internal, "no randomness"))?;
        let token = format!("rfo_{}", base64url(&bytes));
        self.token_hashes.push(hash(&token));
        Ok(Secret::new(token))
    }
}

impl OperatorContext {
    /// Recognises an operator by the token presented.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`] where no record matches.
    pub fn authenticate(token: &str, records: &[OperatorRecord]) -> Result<Self, Refusal> {
        // Hashes are compared, so the time taken says nothing about a valid token.
        let hash = hash(token);
        records
            .iter()
            .find(|record| record.token_hashes.contains(&hash))
            .map(|record| Self { operator: record.operator.clone(), roles: record.roles.clone() })
            .ok_or(Refusal::new(Layer::Identity, Reason::TokenInvalid, "no such operator token"))
    }

    /// Who.
    pub fn operator(&self) -> &Subject {
        &self.operator
    }

    /// Goes on only with a role that may do this.
    ///
    /// # Errors
    /// [`Reason::RoleMissing`].
    pub fn require(&self, duty: Duty) -> Result<(), Refusal> {
        if self.roles.iter().any(|role| role.may(duty)) {
            return Ok(());
        }
        Err(Refusal::new(Layer::Identity, Reason::RoleMissing, "no role of the operator has this duty"))
    }
}

fn hash(token: &str) -> String {
    base64url(&sha256(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob(role: OperatorRole) -> (OperatorRecord, Secret<String>) {
        OperatorRecord::issue(Subject::new("bob").unwrap(), BTreeSet::from([role])).unwrap()
    }

    #[test]
    fn two_tokens_of_one_operator_are_one_operator() {
        let (mut record, first) = bob(OperatorRole::PolicyAuthor);
        let second = record.token_add().unwrap();
        assert_ne!(first.reveal(), second.reveal());
        for token in [&first, &second] {
            let context = OperatorContext::authenticate(token.reveal(), std::slice::from_ref(&record));
            assert_eq!(context.unwrap().operator().as_str(), "bob");
        }
        record.token_hashes.clear();
        for token in [first.reveal().as_str(), "", "rfo_"] {
            assert!(OperatorContext::authenticate(token, std::slice::from_ref(&record)).is_err());
        }
    }

    #[test]
    fn a_role_has_its_own_duties_and_no_others() {
        use Duty::{Audit, Author, Decide, Operate, Publish, Read, Review};
        let all = [Operate, Read, Audit, Author, Review, Publish, Decide];
        let check = |role: OperatorRole, expected: &[Duty]| {
            let (record, token) = bob(role);
            let context = OperatorContext::authenticate(token.reveal(), &[record]).unwrap();
            for duty in all {
                let allowed = context.require(duty).map_err(|refusal| refusal.reason);
                let expected = expected.contains(&duty).then_some(()).ok_or(Reason::RoleMissing);
                assert_eq!(allowed, expected, "{role:?} {duty:?}");
            }
        };
        check(OperatorRole::Admin, &all);
        check(OperatorRole::PolicyAuthor, &[Read, Author, Publish, Decide]);
        check(OperatorRole::PolicyReviewer, &[Read, Review, Publish, Decide]);
        check(OperatorRole::Auditor, &[Read, Audit]);
        check(OperatorRole::DecisionsOnly, &[Decide]);
    }

    #[test]
    fn a_record_from_before_there_were_roles_is_an_administrators() {
        let old = r#"{"operator":"operator","token_hash":"abc"}"#;
        let record: OperatorRecord = serde_json::from_str(old).unwrap();
        assert_eq!(record.token_hashes, ["abc"]);
        assert_eq!(record.roles, admin());
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<OperatorRecord>(&text).unwrap().token_hashes, ["abc"]);
    }
}
