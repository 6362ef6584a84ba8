//! Users of one pool. A user exists under one tenant's key, so a user of one pool is nobody in another.
//!
//! Found by name through a record whose id is an HMAC of the name under the pool's key: ids outlive records, and a name
//! is personal.

use ringfence_context::{
    By, Secret, TenantId,
    id::{Role, Subject},
    key,
};
use ringfence_store::{Draft, Expect, Kind, MapStep, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};

use crate::{
    error::IdentityError,
    membership::Membership,
    password::Passwords,
    pool::{Pool, Pools, check_display_name, exists},
    revocation,
};

const USER: Kind = Kind::new("user");
const USERNAME: Kind = Kind::new("username");

/// Every user's id starts so, and no client's id does: a machine is told from a user by its id.
pub(crate) const PREFIX: &str = "u-";

/// Longest user name, in bytes.
pub const USERNAME_BYTES: usize = 120;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Its id: the `sub` of its tokens.
    pub id: Subject,
    /// What it signs in with; lower case.
    pub username: String,
    /// Shown to people.
    pub display_name: String,
    /// Whether it may not sign in.
    pub disabled: bool,
    password: String,
}

/// A user to be made.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// What it signs in with.
    pub username: &'a str,
    /// Shown to people.
    pub display_name: &'a str,
    /// Its first password.
    pub password: Secret<String>,
    /// Its roles in this tenant.
    pub roles: Vec<Role>,
}

impl User {
    pub(crate) fn password_hash(&self) -> &str {
        &self.password
    }
}

impl Pools {
    /// Makes a user of this pool, with its membership, all or nothing; says its id.
    ///
    /// # Errors
    /// [`IdentityError::Exists`], [`IdentityError::Invalid`].
    pub async fn user_create(
        &self,
        tenant: &TenantId,
        new: NewUser<'_>,
        passwords: &Passwords,
        by: &By,
    ) -> Result<Subject, IdentityError> {
        let username = username(new.username).ok_or(IdentityError::Invalid(
            "a user name is 1 to 120 bytes of printable text without spaces at its ends",
        ))?;
        check_display_name(new.display_name)?;
        let pool = self.pool_get(tenant).await?;
        let id = Subject::new(&format!("{PREFIX}{}", key::base64url(&key::random::<12>()?)))
            .map_err(|_| IdentityError::Invalid("user id"))?;
        let user = User {
            id: id.clone(),
            display_name: new.display_name.to_owned(),
            disabled: false,
            password: passwords.hash(&new.password).await?,
            username,
        };
        let membership = Membership { user: id.clone(), tenant: tenant.clone(), roles: new.roles };
        let scope = Scope::from(tenant);
        let by_name = Draft::put(&scope, USERNAME, &name_id(&pool, &user.username), &id)?;
        let drafts = vec![
            Draft::put(&scope, USER, id.as_str(), &user)?.expect(Expect::Absent),
            by_name.expect(Expect::Absent),
            membership.draft()?,
        ];
        let Membership { roles, .. } = membership;
        let step = MapStep::UserMade { user: id.clone(), name: user.username, roles };
        exists("user", self.records.map_commit(tenant, drafts, &step, by).await)?;
        Ok(id)
    }

    /// The user of this id.
    ///
    /// # Errors
    /// [`IdentityError::Missing`]; [`StoreError::Tampered`] where the record does not authenticate.
    pub async fn user_get(&self, tenant: &TenantId, id: &Subject) -> Result<User, IdentityError> {
        Ok(self.user_stored(tenant, id).await?.value)
    }

    /// The user of this name, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] where name and user do not agree.
    pub async fn user_by_name(&self, tenant: &TenantId, name: &str) -> Result<Option<User>, IdentityError> {
        let pool = self.pool_get(tenant).await?;
        let Some(name) = username(name) else { return Ok(None) };
        let found = self.records.get::<Subject>(&tenant.into(), USERNAME, &name_id(&pool, &name)).await?;
        let Some(found) = found else { return Ok(None) };
        let user = self.user_get(tenant, &found.value).await?;
        if user.username != name {
            return Err(StoreError::Tampered { kind: USERNAME.to_string() }.into());
        }
        Ok(Some(user))
    }

    /// Users by ascending id, those after `after`, at most `limit`.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn user_list(
        &self,
        tenant: &TenantId,
        after: Option<&Subject>,
        limit: u32,
    ) -> Result<Vec<User>, IdentityError> {
        let after = after.map(Subject::as_str);
        let listed = self.records.list::<User>(&tenant.into(), USER, after, limit).await?;
        Ok(listed.into_iter().map(|(_, stored)| stored.value).collect())
    }

    /// Keeps a user from signing in, and ends its tokens.
    ///
    /// # Errors
    /// As [`Pools::user_get`].
    pub async fn user_disable(&self, tenant: &TenantId, id: &Subject, by: &By) -> Result<(), IdentityError> {
        let step = MapStep::UserDisabled { user: id.clone() };
        let also = revocation::of_subject(tenant, id, by.at)?;
        self.user_change(tenant, id, Some(also), (step, by), |user| user.disabled = true).await
    }

    /// Lets a user sign in again.
    ///
    /// # Errors
    /// As [`Pools::user_get`].
    pub async fn user_enable(&self, tenant: &TenantId, id: &Subject, by: &By) -> Result<(), IdentityError> {
        let step = MapStep::UserEnabled { user: id.clone() };
        let also = revocation::end_of_subject(tenant, id);
        self.user_change(tenant, id, Some(also), (step, by), |user| user.disabled = false).await
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// As [`Pools::user_get`]; [`IdentityError::Invalid`] where it is too short or too long.
    pub async fn user_password(
        &self,
        tenant: &TenantId,
        id: &Subject,
        password: &Secret<String>,
        passwords: &Passwords,
        by: &By,
    ) -> Result<(), IdentityError> {
        let hash = passwords.hash(password).await?;
        let step = MapStep::PasswordChanged { user: id.clone() };
        self.user_change(tenant, id, None, (step, by), |user| user.password = hash).await
    }

    async fn user_stored(&self, tenant: &TenantId, id: &Subject) -> Result<Stored<User>, IdentityError> {
        let stored = self.records.get::<User>(&tenant.into(), USER, id.as_str()).await?;
        stored.ok_or(IdentityError::Missing("user"))
    }

    async fn user_change(
        &self,
        tenant: &TenantId,
        id: &Subject,
        also: Option<Draft>,
        (step, by): (MapStep, &By),
        change: impl FnOnce(&mut User) + Send,
    ) -> Result<(), IdentityError> {
        let Stored { mut value, revision } = self.user_stored(tenant, id).await?;
        change(&mut value);
        let draft = Draft::put(&tenant.into(), USER, id.as_str(), &value)?;
        let mut drafts = vec![draft.expect(Expect::Revision(revision))];
        drafts.extend(also);
        self.records.map_commit(tenant, drafts, &step, by).await?;
        Ok(())
    }
}

/// A user name as it is compared: lower case, printable, bounded.
pub(crate) fn username(name: &str) -> Option<String> {
    let fits = (1..=USERNAME_BYTES).contains(&name.len());
    let plain = name.trim() == name && !name.chars().any(char::is_control);
    (fits && plain).then(|| name.to_lowercase())
}

fn name_id(pool: &Pool, username: &str) -> String {
    key::base64url(&pool.key_for("username").tag(&[username.as_bytes()]))
}
