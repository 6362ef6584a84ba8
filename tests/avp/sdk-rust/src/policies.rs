//! Schema, policies, templates, and lists of them in pages.

use aws_sdk_verifiedpermissions::{
    error::ProvideErrorMetadata,
    operation::{
        create_policy::CreatePolicyError, get_policy::GetPolicyError, list_policies::ListPoliciesError,
        put_schema::PutSchemaError,
    },
    types::{
        BatchGetPolicyErrorCode, BatchGetPolicyInputItem, EntityReference, PolicyDefinition, PolicyEffect,
        PolicyFilter, PolicyType, SchemaDefinition, StaticPolicyDefinition, TemplateLinkedPolicyDefinition,
        UpdatePolicyDefinition, UpdateStaticPolicyDefinition,
    },
};

use crate::world::{Outcome, World, entity};

const SCHEMA: &str = r#"{"Photos": {
  "entityTypes": {
    "User": {"memberOfTypes": ["Group"]}, "Group": {}, "Album": {},
    "Photo": {"memberOfTypes": ["Album"], "shape": {"type": "Record", "attributes": {
      "private": {"type": "Boolean", "required": false}}}}},
  "actions": {
    "view": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Photo"]}},
    "edit": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Photo"]}}}}}"#;

const VIEW: &str =
    r#"permit (principal in Photos::Group::"family", action == Photos::Action::"view", resource);"#;

const PRIVATE: &str = "forbid (principal, action, resource is Photos::Photo) when { resource has private && resource.private };";

const SHARE: &str =
    r#"permit (principal == ?principal, action == Photos::Action::"edit", resource in ?resource);"#;

/// The ids of a static policy that permits and of one that forbids.
pub struct Made {
    /// Permits.
    pub view: String,
    /// Forbids.
    pub private: String,
}

fn fixed(statement: &str) -> Outcome<PolicyDefinition> {
    Ok(PolicyDefinition::Static(
        StaticPolicyDefinition::builder().statement(statement).description("one").build()?,
    ))
}

/// A schema is put and shown; what is none is refused with where.
pub async fn schema(world: &World, store: &str) -> Outcome<()> {
    let put = |json: &str| {
        let definition = SchemaDefinition::CedarJson(json.to_owned());
        world.calls("PutSchema").put_schema().policy_store_id(store).definition(definition)
    };
    world.equal(put(SCHEMA).send().await?.namespaces(), ["Photos".to_owned()].as_slice())?;
    let shown = world.calls("GetSchema").get_schema().policy_store_id(store).send().await?;
    world.equal(shown.schema(), SCHEMA)?;
    match world.refused(put(r#"{"Photos": {"entityTypes": 1}}"#).send().await)? {
        PutSchemaError::ValidationException(error) => {
            world.equal(error.field_list().first().map(|field| field.path()), Some("definition.cedarJson"))
        }
        other => Err(format!("not invalid: {other:?}").into()),
    }
}

/// Static policies: made once by a token, shown, changed, batched, deleted.
pub async fn policies(world: &World, store: &str) -> Outcome<Made> {
    let create = |statement: &str, token: &str| {
        let create = world.calls("CreatePolicy").create_policy().policy_store_id(store);
        Outcome::Ok(create.definition(fixed(statement)?).client_token(token))
    };
    let view = create(VIEW, "view-1")?.send().await?;
    world.equal((view.policy_type(), view.effect()), (&PolicyType::Static, Some(&PolicyEffect::Permit)))?;
    world.equal(create(VIEW, "view-1")?.send().await?.policy_id(), view.policy_id())?;
    match world.refused(create(PRIVATE, "view-1")?.send().await)? {
        CreatePolicyError::ConflictException(_) => {}
        other => return Err(format!("not a conflict: {other:?}").into()),
    }
    for bad in ["permit (principal, action, resource) when { principal.unknown };", "permit(", SHARE] {
        let refused = world.refused(create(bad, "bad")?.send().await)?;
        world.check(matches!(refused, CreatePolicyError::ValidationException(_)), bad)?;
    }
    let private = create(PRIVATE, "private-1")?.send().await?;
    let update = UpdateStaticPolicyDefinition::builder().statement(PRIVATE).description("two").build()?;
    let changed = world.calls("UpdatePolicy").update_policy().policy_store_id(store);
    changed
        .policy_id(private.policy_id())
        .definition(UpdatePolicyDefinition::Static(update))
        .name("name/private")
        .send()
        .await?;
    let get = |id: &str| world.calls("GetPolicy").get_policy().policy_store_id(store).policy_id(id);
    let shown = get("name/private").send().await?;
    world.equal(shown.policy_id(), private.policy_id())?;
    let item = |id: &str| BatchGetPolicyInputItem::builder().policy_store_id(store).policy_id(id).build();
    let batch = world.calls("BatchGetPolicy").batch_get_policy();
    let batch = batch.requests(item(view.policy_id())?).requests(item("SPnone")?).send().await?;
    world.equal((batch.results().len(), batch.errors().len()), (1, 1))?;
    world.equal(
        batch.errors().first().map(|error| error.code()),
        Some(&BatchGetPolicyErrorCode::PolicyNotFound),
    )?;
    let spare = create(VIEW, "spare-1")?.send().await?;
    let delete = world.calls("DeletePolicy").delete_policy().policy_store_id(store);
    delete.policy_id(spare.policy_id()).send().await?;
    let absent = world.refused(get(spare.policy_id()).send().await)?;
    world.check(matches!(absent, GetPolicyError::ResourceNotFoundException(_)), "deleted")?;
    Ok(Made { view: view.policy_id().to_owned(), private: private.policy_id().to_owned() })
}

/// Templates, and the policies linked to them.
pub async fn templates(world: &World, store: &str) -> Outcome<()> {
    let create = world.calls("CreatePolicyTemplate").create_policy_template().policy_store_id(store);
    let template = create.statement(SHARE).description("share").send().await?;
    let id = template.policy_template_id();
    let linked = TemplateLinkedPolicyDefinition::builder()
        .policy_template_id(id)
        .principal(entity("User", "bob")?)
        .resource(entity("Album", "summer")?)
        .build()?;
    let create = world.own.create_policy().policy_store_id(store);
    let link = create.definition(PolicyDefinition::TemplateLinked(linked)).send().await?;
    world.equal(link.policy_type(), &PolicyType::TemplateLinked)?;
    world.equal(link.principal().map(|entity| entity.entity_id()), Some("bob"))?;
    let update = world.calls("UpdatePolicyTemplate").update_policy_template().policy_store_id(store);
    update.policy_template_id(id).statement(SHARE).description("shared").send().await?;
    let get = world.calls("GetPolicyTemplate").get_policy_template().policy_store_id(store);
    world.equal(get.policy_template_id(id).send().await?.description(), Some("shared"))?;
    let listed =
        world.calls("ListPolicyTemplates").list_policy_templates().policy_store_id(store).send().await?;
    world.equal(listed.policy_templates().len(), 1)?;
    let create = world.own.create_policy_template().policy_store_id(store);
    let spare = create.statement("permit (principal == ?principal, action, resource);").send().await?;
    let delete = world.calls("DeletePolicyTemplate").delete_policy_template().policy_store_id(store);
    delete.policy_template_id(spare.policy_template_id()).send().await?;
    Ok(())
}

/// Policies in pages, filtered, and page tokens that are no others'.
pub async fn pages(world: &World, store: &str) -> Outcome<()> {
    let list = || world.calls("ListPolicies").list_policies().policy_store_id(store);
    let mut pages = list().into_paginator().page_size(1).send();
    let (mut ids, mut count, mut token) = (Vec::new(), 0, None);
    while let Some(page) = pages.next().await {
        let page = page?;
        ids.extend(page.policies().iter().map(|policy| policy.policy_id().to_owned()));
        token = token.or(page.next_token().map(str::to_owned));
        count += 1;
    }
    world.equal((ids.len(), count >= 3), (3, true))?;
    let bob = PolicyFilter::builder().principal(EntityReference::Identifier(entity("User", "bob")?)).build();
    world.equal(list().filter(bob.clone()).send().await?.policies().len(), 1)?;
    let token = token.ok_or("no page token")?;
    let forged: String = token.chars().rev().collect();
    for (filter, token) in [(None, forged), (Some(bob), token)] {
        let refused = world.refused(list().set_filter(filter).next_token(token).send().await)?;
        world.check(matches!(refused, ListPoliciesError::ValidationException(_)), "another page token")?;
        world.equal(refused.code(), Some("ValidationException"))?;
    }
    Ok(())
}
