//! Client tokens: a creation that is sent again is not done again.
//!
//! For eight hours the account remembers, for each operation and token, a hash of the other parameters and the answer.
//! The same again gets the same answer; other parameters get a conflict. What is remembered is written in the same commit
//! as what was created.

use ringfence_context::{
    UnixTime,
    key::{base64url, sha256},
};
use ringfence_store::{Draft, Expect, Kind, Records};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    avp::{
        account::Account,
        error::{AvpError, Outcome},
    },
    page::canonical,
};

const CLIENT_TOKEN: Kind = Kind::new("avp_client_token");

/// How long a client token is remembered, in seconds.
const REMEMBERED_SECONDS: u64 = 8 * 3600;

/// Expired ones forgotten with each new one, so that they do not add up.
const FORGET: u32 = 32;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// SHA-256 of the other parameters, base64url.
    parameters: String,
    answer: Value,
    /// In seconds since the epoch.
    until: u64,
}

/// What is known of a client token.
pub(crate) enum Once {
    /// It was done: this was the answer.
    Done(Value),
    /// It is to be done.
    Todo(Todo),
}

/// What must be written with what is done. Without a client token, nothing.
#[derive(Default)]
pub(crate) struct Todo(Option<Place>);

struct Place {
    account: Account,
    id: String,
    parameters: String,
    expect: Expect,
    expired: Vec<String>,
    until: u64,
}

impl Once {
    /// Looks a creation up by its client token.
    ///
    /// # Errors
    /// A conflict where the token was used with other parameters.
    pub(crate) async fn begin(
        records: &Records,
        account: &Account,
        operation: &str,
        input: &Value,
        now: UnixTime,
    ) -> Outcome<Self> {
        let Some(token) = input.get("clientToken").and_then(Value::as_str) else {
            return Ok(Self::Todo(Todo::default()));
        };
        let id = format!("{operation}/{}", base64url(&sha256(token.as_bytes())));
        let parameters = parameters(input);
        let scope = account.scope();
        let mut expect = Expect::Absent;
        if let Some(found) = records.get::<Remembered>(&scope, CLIENT_TOKEN, &id).await? {
            if found.value.until > now.seconds() {
                return match found.value {
                    Remembered { parameters: then, answer, .. } if then == parameters => {
                        Ok(Self::Done(answer))
                    }
                    _ => Err(AvpError::Conflict {
                        message: "This client token was used with other parameters.".to_owned(),
                        resources: Vec::new(),
                    }),
                };
            }
            expect = Expect::Revision(found.revision);
        }
        let listed = records.list::<Remembered>(&scope, CLIENT_TOKEN, Some(&id), FORGET).await?;
        let expired = listed.into_iter().filter(|(_, entry)| entry.value.until <= now.seconds());
        Ok(Self::Todo(Todo(Some(Place {
            account: account.clone(),
            expired: expired.map(|(id, _)| id).collect(),
            id,
            parameters,
            expect,
            until: now.seconds().saturating_add(REMEMBERED_SECONDS),
        }))))
    }
}

impl Todo {
    /// The records that remember the answer.
    pub(crate) fn drafts(self, answer: &Value) -> Outcome<Vec<Draft>> {
        let Some(Place { account, id, parameters, expect, expired, until }) = self.0 else {
            return Ok(Vec::new());
        };
        let scope = account.scope();
        let remembered = Remembered { parameters, answer: answer.clone(), until };
        let mut drafts = vec![Draft::put(&scope, CLIENT_TOKEN, &id, &remembered)?.expect(expect)];
        drafts.extend(expired.iter().map(|id| Draft::delete(&scope, CLIENT_TOKEN, id)));
        Ok(drafts)
    }
}

fn parameters(input: &Value) -> String {
    let mut others = input.clone();
    if let Some(members) = others.as_object_mut() {
        members.shift_remove("clientToken");
    }
    base64url(&sha256(canonical(&others).as_bytes()))
}
