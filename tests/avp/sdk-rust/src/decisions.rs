//! Decisions, one and in batches, with entities and with tokens; and where identities come from.

use aws_sdk_verifiedpermissions::{
    error::ProvideErrorMetadata,
    operation::is_authorized_with_token::IsAuthorizedWithTokenError,
    types::{
        AttributeValue, BatchIsAuthorizedInputItem, BatchIsAuthorizedWithTokenInputItem,
        CognitoUserPoolConfiguration, Configuration, ContextDefinition, Decision, EntitiesDefinition,
        EntityItem, IdentitySourceFilter, OpenIdConnectAccessTokenConfiguration, OpenIdConnectConfiguration,
        OpenIdConnectTokenSelection, UpdateCognitoUserPoolConfiguration, UpdateConfiguration,
    },
};

use crate::{
    policies::Made,
    world::{Outcome, World, action, entity},
};

fn entities(private: bool) -> Outcome<EntitiesDefinition> {
    let user = EntityItem::builder().identifier(entity("User", "ann")?).parents(entity("Group", "family")?);
    let photo = EntityItem::builder().identifier(entity("Photo", "p")?).parents(entity("Album", "summer")?);
    let photo = photo.attributes("private", AttributeValue::Boolean(private));
    Ok(EntitiesDefinition::EntityList(vec![user.build(), photo.build()]))
}

/// What is asked is answered, with the policies that determined it.
pub async fn decisions(world: &World, store: &str, made: &Made) -> Outcome<()> {
    let ask = async |who: &str, what: &str, private: bool| {
        let asked = world.calls("IsAuthorized").is_authorized().policy_store_id(store);
        let asked =
            asked.principal(entity("User", who)?).action(action(what)?).resource(entity("Photo", "p")?);
        let context =
            ContextDefinition::ContextMap([("mfa".to_owned(), AttributeValue::Boolean(true))].into());
        Outcome::Ok(asked.context(context).entities(entities(private)?).send().await?)
    };
    for (who, what, private, decision, by) in [
        ("ann", "view", false, Decision::Allow, Some(&made.view)),
        ("ann", "view", true, Decision::Deny, Some(&made.private)),
        ("ann", "edit", false, Decision::Deny, None),
        ("eve", "view", false, Decision::Deny, None),
    ] {
        let answer = ask(who, what, private).await?;
        world.equal(answer.decision(), &decision)?;
        let determining: Vec<&str> =
            answer.determining_policies().iter().map(|one| one.policy_id()).collect();
        world.equal(determining, by.map(String::as_str).into_iter().collect())?;
        world.check(answer.errors().is_empty(), "no policy fails")?;
    }
    world.equal(ask("bob", "edit", false).await?.decision(), &Decision::Allow)?;
    let item = |who: &str| {
        let item = BatchIsAuthorizedInputItem::builder().principal(entity("User", who)?);
        Outcome::Ok(item.action(action("view")?).resource(entity("Photo", "p")?).build())
    };
    let batch = world.calls("BatchIsAuthorized").batch_is_authorized().policy_store_id(store);
    let batch = batch.entities(entities(false)?).requests(item("ann")?).requests(item("eve")?).send().await?;
    let decided: Vec<&Decision> = batch.results().iter().map(|result| result.decision()).collect();
    world.equal(decided, vec![&Decision::Allow, &Decision::Deny])
}

/// Identity sources, and tokens that are of none of them.
pub async fn sources(world: &World, store: &str) -> Outcome<()> {
    let issuer = world.tenant["issuer"].as_str().ok_or("no issuer")?;
    let selection = OpenIdConnectAccessTokenConfiguration::builder().principal_id_claim("sub").build();
    let oidc = OpenIdConnectConfiguration::builder()
        .issuer(issuer)
        .token_selection(OpenIdConnectTokenSelection::AccessTokenOnly(selection))
        .build()?;
    let create = world.calls("CreateIdentitySource").create_identity_source().policy_store_id(store);
    let create = create.principal_entity_type("Photos::User");
    let made = create.configuration(Configuration::OpenIdConnectConfiguration(oidc)).send().await?;
    let id = made.identity_source_id();
    for token in ["eyJhbGciOiJub25lIn0.e30.AA", "a.b.c"] {
        let asked = world.calls("IsAuthorizedWithToken").is_authorized_with_token().policy_store_id(store);
        let asked = asked.access_token(token).action(action("view")?).resource(entity("Photo", "p")?);
        match world.refused(asked.send().await)? {
            IsAuthorizedWithTokenError::ValidationException(error) => {
                world.equal(error.field_list().first().map(|field| field.path()), Some("accessToken"))?;
            }
            other => return Err(format!("not refused: {other:?}").into()),
        }
    }
    let item = BatchIsAuthorizedWithTokenInputItem::builder().action(action("view")?);
    let batch = world.calls("BatchIsAuthorizedWithToken").batch_is_authorized_with_token();
    let batch = batch.policy_store_id(store).access_token("a.b.c").requests(item.build()).send().await;
    world.equal(world.refused(batch)?.code(), Some("ValidationException"))?;
    let pool = "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_1a2b3c4d5";
    let cognito = CognitoUserPoolConfiguration::builder().user_pool_arn(pool).build()?;
    let create = world.own.create_identity_source().policy_store_id(store);
    let second = create.configuration(Configuration::CognitoUserPoolConfiguration(cognito)).send().await;
    world.equal(world.refused(second)?.code(), Some("ServiceQuotaExceededException"))?;
    let cognito =
        UpdateCognitoUserPoolConfiguration::builder().user_pool_arn(pool).client_ids("web").build()?;
    let update = world.calls("UpdateIdentitySource").update_identity_source().policy_store_id(store);
    let update = update
        .identity_source_id(id)
        .update_configuration(UpdateConfiguration::CognitoUserPoolConfiguration(cognito));
    update.send().await?;
    let get = || {
        world.calls("GetIdentitySource").get_identity_source().policy_store_id(store).identity_source_id(id)
    };
    let shown = get().send().await?;
    world.equal(shown.principal_entity_type(), "Photos::User")?;
    let filter = IdentitySourceFilter::builder().principal_entity_type("Photos::User").build();
    let list = world.calls("ListIdentitySources").list_identity_sources().policy_store_id(store);
    let mut listed = list.filters(filter).into_paginator().items().send();
    let (first, more) = (listed.next().await.transpose()?, listed.next().await.is_some());
    world.equal((first.as_ref().map(|item| item.identity_source_id()), more), (Some(id), false))?;
    let delete = world.calls("DeleteIdentitySource").delete_identity_source().policy_store_id(store);
    delete.identity_source_id(id).send().await?;
    world.equal(world.refused(get().send().await)?.code(), Some("ResourceNotFoundException"))
}
