//! Bodies of the policy service's operations, signed by a tenant: the first byte chooses the operation.
//!
//! `$store` in a body stands for the tenant's serving store, which has another id in every run.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::World;

static WORLD: LazyLock<World> = LazyLock::new(World::start);

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

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let operation = OPERATIONS[usize::from(*first) % OPERATIONS.len()];
    match std::str::from_utf8(body) {
        Ok(text) => WORLD.signed(operation, text.replace("$store", &WORLD.store).as_bytes()),
        Err(_) => WORLD.signed(operation, body),
    };
});
