//! Identity sources, as they are configured and shown.

use ringfence_context::id::StoreId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::avp::{
    record::SourceRecord,
    time::{Moment, iso},
};

/// Where identities come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Configuration {
    CognitoUserPoolConfiguration(Cognito),
    OpenIdConnectConfiguration(OpenIdConnect),
}

/// An Amazon Cognito user pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cognito {
    pub(crate) user_pool_arn: String,
    #[serde(default)]
    pub(crate) client_ids: Vec<String>,
    /// Derived from the ARN; no input has it.
    #[serde(default)]
    pub(crate) issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group_configuration: Option<CognitoGroups>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CognitoGroups {
    pub(crate) group_entity_type: String,
}

/// An OpenID Connect provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenIdConnect {
    pub(crate) issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entity_id_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group_configuration: Option<Groups>,
    pub(crate) token_selection: TokenSelection,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Groups {
    pub(crate) group_claim: String,
    pub(crate) group_entity_type: String,
}

/// Which kind of token is believed, and for whom it must be meant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TokenSelection {
    #[serde(rename_all = "camelCase")]
    AccessTokenOnly {
        #[serde(skip_serializing_if = "Option::is_none")]
        principal_id_claim: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        audiences: Vec<String>,
    },
    #[serde(rename_all = "camelCase")]
    IdentityTokenOnly {
        #[serde(skip_serializing_if = "Option::is_none")]
        principal_id_claim: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        client_ids: Vec<String>,
    },
}

/// An identity source, as its change answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceAnswer {
    #[serde(serialize_with = "iso")]
    created_date: Moment,
    identity_source_id: String,
    #[serde(serialize_with = "iso")]
    last_updated_date: Moment,
    policy_store_id: StoreId,
}

/// An identity source, as it is shown and listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceShown {
    #[serde(flatten)]
    answer: SourceAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    principal_entity_type: String,
    configuration: Configuration,
}

impl Configuration {
    /// The issuer whose tokens it is about.
    pub(crate) fn issuer(&self) -> &str {
        match self {
            Self::CognitoUserPoolConfiguration(cognito) => &cognito.issuer,
            Self::OpenIdConnectConfiguration(oidc) => &oidc.issuer,
        }
    }

    /// The type of groups, if there are any.
    pub(crate) fn group_type(&self) -> Option<&str> {
        match self {
            Self::CognitoUserPoolConfiguration(cognito) => {
                cognito.group_configuration.as_ref().map(|groups| groups.group_entity_type.as_str())
            }
            Self::OpenIdConnectConfiguration(oidc) => {
                oidc.group_configuration.as_ref().map(|groups| groups.group_entity_type.as_str())
            }
        }
    }

    /// The same with what follows from it: a Cognito pool's issuer.
    pub(crate) fn whole(mut self) -> Self {
        if let Self::CognitoUserPoolConfiguration(cognito) = &mut self {
            let parts: Vec<&str> = cognito.user_pool_arn.split([':', '/']).collect();
            let (region, pool) = (parts.get(3), parts.last());
            cognito.issuer = format!(
                "https://cognito-idp.{}.amazonaws.com/{}",
                region.copied().unwrap_or_default(),
                pool.copied().unwrap_or_default()
            );
        }
        self
    }
}

impl Cognito {
    /// The pool's id, which is what ids of its users and groups begin with.
    pub(crate) fn pool(&self) -> &str {
        self.user_pool_arn.rsplit('/').next().unwrap_or_default()
    }
}

impl SourceAnswer {
    /// A source of this store.
    pub(crate) fn new(store: &StoreId, id: &str, source: &SourceRecord) -> Self {
        Self {
            created_date: source.created,
            identity_source_id: id.to_owned(),
            last_updated_date: source.updated,
            policy_store_id: store.clone(),
        }
    }
}

impl SourceShown {
    /// A source of this store.
    pub(crate) fn new(store: &StoreId, id: &str, source: &SourceRecord) -> Self {
        let details = match &source.configuration {
            // The form before there were other providers, which the model still lists.
            Configuration::CognitoUserPoolConfiguration(cognito) => Some(json!({
                "clientIds": cognito.client_ids,
                "userPoolArn": cognito.user_pool_arn,
                "discoveryUrl": format!("{}/.well-known/openid-configuration", cognito.issuer),
                "openIdIssuer": "COGNITO",
            })),
            Configuration::OpenIdConnectConfiguration(_) => None,
        };
        Self {
            answer: SourceAnswer::new(store, id, source),
            details,
            principal_entity_type: source.principal_type.clone(),
            configuration: source.configuration.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cognito_pool_says_its_issuer() {
        let input = json!({ "cognitoUserPoolConfiguration": {
            "userPoolArn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_1a2b3c4d5",
        } });
        let configuration: Configuration = serde_json::from_value(input).unwrap();
        let issuer = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_1a2b3c4d5";
        assert_eq!(configuration.whole().issuer(), issuer);
    }
}
