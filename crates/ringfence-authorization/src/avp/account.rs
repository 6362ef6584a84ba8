//! Accounts: whose stores and aliases there are, and who asks.
//!
//! Every tenant is an account, and the plane is one: an operator's own. A tenant's caller reaches its own account and no
//! other. An operator's caller has the plane's account for itself and reaches a tenant's store by its id, which is
//! unique on the plane; which tenant that is says a record sealed under the plane's key, and the store says it again.

use ringfence_context::{
    TenantId,
    id::{StoreId, Subject},
};
use ringfence_store::Scope;

use crate::govern::Author;

/// Whose something is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Account {
    /// The plane's own.
    Plane,
    /// One tenant's.
    Tenant(TenantId),
}

/// Who asks. Whether that is true was checked where the request came in.
#[derive(Debug, Clone)]
pub enum Caller {
    /// An operator.
    Operator(Subject),
    /// Whoever holds a key of this tenant.
    Tenant(TenantId),
}

impl Caller {
    /// The account its own stores and aliases are in.
    pub fn account(&self) -> Account {
        match self {
            Self::Operator(_) => Account::Plane,
            Self::Tenant(tenant) => Account::Tenant(tenant.clone()),
        }
    }
}

impl From<&Caller> for Author {
    fn from(caller: &Caller) -> Self {
        match caller {
            Caller::Operator(name) => Self::Operator(name.clone()),
            Caller::Tenant(tenant) => Self::Tenant(tenant.clone()),
        }
    }
}

impl Account {
    /// Where its records are.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Plane => Scope::Plane,
            Self::Tenant(tenant) => Scope::Tenant(tenant.clone()),
        }
    }

    /// The tenant, if it is one.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Plane => None,
            Self::Tenant(tenant) => Some(tenant),
        }
    }

    /// Its spelling in an ARN: the tenant's id, or nothing, which is no tenant's id.
    pub fn name(&self) -> &str {
        self.tenant().map_or("", TenantId::as_str)
    }

    /// The ARN of one of its stores.
    pub fn store_arn(&self, store: &StoreId) -> String {
        format!("arn:aws:verifiedpermissions::{}:policy-store/{store}", self.name())
    }

    /// The ARN of one of its aliases; the alias's name says what it is.
    pub fn alias_arn(&self, alias: &str) -> String {
        format!("arn:aws:verifiedpermissions::{}:{alias}", self.name())
    }
}

/// The account's name and the store's id in a store's ARN.
pub(crate) fn store_of_arn(arn: &str) -> Option<(&str, &str)> {
    let rest = arn.strip_prefix("arn:aws:verifiedpermissions::")?;
    let (account, resource) = rest.split_once(':')?;
    Some((account, resource.strip_prefix("policy-store/")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_reads_back() {
        let store = StoreId::new("PSabc").unwrap();
        for account in [Account::Plane, Account::Tenant(TenantId::new("acme").unwrap())] {
            assert_eq!(store_of_arn(&account.store_arn(&store)), Some((account.name(), "PSabc")));
        }
        for bad in
            ["", "PSabc", "arn:aws:s3::acme:policy-store/PSabc", "arn:aws:verifiedpermissions::acme:x/PSabc"]
        {
            assert_eq!(store_of_arn(bad), None, "{bad}");
        }
    }
}
