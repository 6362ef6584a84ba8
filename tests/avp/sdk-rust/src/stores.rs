//! Policy stores, their tags and aliases, and what another account sees of them.

use aws_sdk_verifiedpermissions::{
    operation::{
        create_policy_store::CreatePolicyStoreError, delete_policy_store::DeletePolicyStoreError,
        get_policy_store::GetPolicyStoreError, tag_resource::TagResourceError,
    },
    types::{AliasState, DeletionMode, DeletionProtection, ResourceType, ValidationMode, ValidationSettings},
};

use crate::world::{Outcome, World};

const ALIAS: &str = "policy-store-alias/photos-rust";

fn settings(mode: ValidationMode) -> Outcome<ValidationSettings> {
    Ok(ValidationSettings::builder().mode(mode).build()?)
}

/// A store, made once by a token; gives its id.
pub async fn made(world: &World) -> Outcome<String> {
    let create = |mode, tags: &'static str| {
        Outcome::Ok(
            world
                .calls("CreatePolicyStore")
                .create_policy_store()
                .validation_settings(settings(mode)?)
                .description("photos")
                .deletion_protection(DeletionProtection::Enabled)
                .tags("team", tags)
                .client_token("photos-rust-1"),
        )
    };
    let first = create(ValidationMode::Strict, "media")?.send().await?;
    let again = create(ValidationMode::Strict, "media")?.send().await?;
    world.equal(again.policy_store_id(), first.policy_store_id())?;
    match world.refused(create(ValidationMode::Off, "media")?.send().await)? {
        CreatePolicyStoreError::ConflictException(error) => {
            world.check(!error.message().is_empty(), "a message")?
        }
        other => return Err(format!("not a conflict: {other:?}").into()),
    }
    let store = first.policy_store_id().to_owned();
    world.check(first.created_date().secs() > 1_700_000_000, "a time the SDK reads")?;
    let shown =
        world.calls("GetPolicyStore").get_policy_store().policy_store_id(&store).tags(true).send().await?;
    world.equal(shown.validation_settings().map(ValidationSettings::mode), Some(&ValidationMode::Strict))?;
    world.equal(shown.description(), Some("photos"))?;
    world.equal(shown.deletion_protection(), Some(&DeletionProtection::Enabled))?;
    world.equal(shown.tags().and_then(|tags| tags.get("team")).map(String::as_str), Some("media"))?;
    let update = world.calls("UpdatePolicyStore").update_policy_store().policy_store_id(&store);
    update.validation_settings(settings(ValidationMode::Strict)?).description("more photos").send().await?;
    tags(world, first.arn()).await?;
    aliases(world, &store).await?;
    let mut listed =
        world.calls("ListPolicyStores").list_policy_stores().max_results(1).into_paginator().items().send();
    let mut ids = Vec::new();
    while let Some(item) = listed.next().await {
        ids.push(item?.policy_store_id().to_owned());
    }
    world.check(ids.contains(&store) && ids.len() >= 2, "listed, page by page")?;
    world.check(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1), "each once")?;
    Ok(store)
}

async fn tags(world: &World, arn: &str) -> Outcome<()> {
    world.calls("TagResource").tag_resource().resource_arn(arn).tags("stage", "test").send().await?;
    let listed = world.calls("ListTagsForResource").list_tags_for_resource().resource_arn(arn).send().await?;
    world.equal(listed.tags().map(|tags| tags.len()), Some(2))?;
    world.calls("UntagResource").untag_resource().resource_arn(arn).tag_keys("stage").send().await?;
    let mut many = world.own.tag_resource().resource_arn(arn);
    for number in 0..50 {
        many = many.tags(format!("tag-{number}"), "x");
    }
    match world.refused(many.send().await)? {
        TagResourceError::TooManyTagsException(error) => world.equal(error.resource_name(), Some(arn)),
        other => Err(format!("not too many tags: {other:?}").into()),
    }
}

async fn aliases(world: &World, store: &str) -> Outcome<()> {
    let create = world.calls("CreatePolicyStoreAlias").create_policy_store_alias();
    create.alias_name(ALIAS).policy_store_id(store).send().await?;
    let shown = world.calls("GetPolicyStoreAlias").get_policy_store_alias().alias_name(ALIAS).send().await?;
    world.equal((shown.policy_store_id(), shown.state()), (store, &AliasState::Active))?;
    let by_alias = world.own.get_policy_store().policy_store_id(ALIAS).send().await?;
    world.equal(by_alias.policy_store_id(), store)?;
    let listed = world.calls("ListPolicyStoreAliases").list_policy_store_aliases().send().await?;
    world.check(listed.policy_store_aliases().iter().any(|item| item.alias_name() == ALIAS), "listed")?;
    let delete = || world.calls("DeletePolicyStoreAlias").delete_policy_store_alias().alias_name(ALIAS);
    delete().deletion_mode(DeletionMode::SoftDelete).send().await?;
    let pending = world.own.get_policy_store_alias().alias_name(ALIAS).send().await?;
    world.equal(pending.state(), &AliasState::PendingDeletion)?;
    delete().deletion_mode(DeletionMode::HardDelete).send().await?;
    Ok(())
}

/// Another tenant's client sees of a store what it sees of one that never was.
pub async fn foreign(world: &World, store: &str) -> Outcome<()> {
    let mut told = Vec::new();
    for id in [store, "PS00000000000000000000000000000000"] {
        match world.refused(world.other.get_policy_store().policy_store_id(id).send().await)? {
            GetPolicyStoreError::ResourceNotFoundException(error) => {
                world
                    .equal((error.resource_id(), error.resource_type()), (id, &ResourceType::PolicyStore))?;
                told.push(error.message().to_owned());
            }
            other => return Err(format!("not absent: {other:?}").into()),
        }
    }
    world.check(told.windows(2).all(|pair| pair[0] == pair[1]), "the same words")
}

/// A store goes when its protection was taken away.
pub async fn gone(world: &World, store: &str) -> Outcome<()> {
    let delete = || world.calls("DeletePolicyStore").delete_policy_store().policy_store_id(store);
    match world.refused(delete().send().await)? {
        DeletePolicyStoreError::InvalidStateException(error) => {
            world.check(!error.message().is_empty(), "a message")?
        }
        other => return Err(format!("not protected: {other:?}").into()),
    }
    let serving = world.tenant["policy_store_id"].as_str().ok_or("no serving store")?;
    let kept = world.own.delete_policy_store().policy_store_id(serving).send().await;
    world.check(
        matches!(world.refused(kept)?, DeletePolicyStoreError::InvalidStateException(_)),
        "what serves is kept",
    )?;
    let update = world.own.update_policy_store().policy_store_id(store);
    let update = update.validation_settings(settings(ValidationMode::Strict)?);
    update.deletion_protection(DeletionProtection::Disabled).send().await?;
    delete().send().await?;
    let absent = world.refused(world.own.get_policy_store().policy_store_id(store).send().await)?;
    world.check(matches!(absent, GetPolicyStoreError::ResourceNotFoundException(_)), "gone")
}
