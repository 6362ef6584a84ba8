//! Bodies of the policy service's operations, signed by a tenant: the first byte chooses the operation.
//!
//! `$store` in a body stands for the tenant's serving store, which has another id in every run.

use crate::World;

const OPERATIONS: [&str; 34] = [
    "BatchGetPolicy",
    "BatchIsAuthorized",
    "BatchIsAuthorizedWithToken",
    "CreateIdentitySource",
    "CreatePolicy",
    "CreatePolicyStore",
    "CreatePolicyStoreAlias",
    "CreatePolicyTemplate",
    "DeleteIdentitySource",
    "DeletePolicy",
    "DeletePolicyStore",
    "DeletePolicyStoreAlias",
    "DeletePolicyTemplate",
    "GetIdentitySource",
    "GetPolicy",
    "GetPolicyStore",
    "GetPolicyStoreAlias",
    "GetPolicyTemplate",
    "GetSchema",
    "IsAuthorized",
    "IsAuthorizedWithToken",
    "ListIdentitySources",
    "ListPolicies",
    "ListPolicyStoreAliases",
    "ListPolicyStores",
    "ListPolicyTemplates",
    "ListTagsForResource",
    "PutSchema",
    "TagResource",
    "UntagResource",
    "UpdateIdentitySource",
    "UpdatePolicy",
    "UpdatePolicyStore",
    "UpdatePolicyTemplate",
];

/// Feeds one.
pub fn run(world: &World, input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let operation = OPERATIONS[usize::from(*first) % OPERATIONS.len()];
    match std::str::from_utf8(body) {
        Ok(text) => world.signed(operation, text.replace("$store", &world.store).as_bytes()),
        Err(_) => world.signed(operation, body),
    };
}
