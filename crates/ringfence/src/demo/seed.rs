//! Making the demo's tenants, people and rows, over the API and through the gateway.

use http::{HeaderValue, Method, header};
use miette::{IntoDiagnostic, Result, miette};
use ringfence_context::key::{base64url, random};
use ringfence_control::api::authzen::DECISIONS;
use serde_json::{Value, json};

use super::{AccessKey, Demo, DemoClient, DemoTenant, DemoUser, Operator};
use crate::{
    call::{Caller, Running, bearer},
    sign_in::Issuer,
};

/// A tenant to be made.
struct NewTenant {
    id: &'static str,
    name: &'static str,
    currency: &'static str,
    /// User names, each with its role.
    users: [(&'static str, &'static str); 4],
}

/// Names repeat across tenants on purpose: pools are apart.
const TENANTS: &[NewTenant] = &[
    NewTenant {
        id: "acme",
        name: "Acme Corporation",
        currency: "USD",
        users: [("alice", "admin"), ("adam", "approver"), ("carla", "clerk"), ("victor", "viewer")],
    },
    NewTenant {
        id: "globex",
        name: "Globex",
        currency: "EUR",
        users: [("grace", "admin"), ("gus", "approver"), ("carla", "clerk"), ("vera", "viewer")],
    },
    NewTenant {
        id: "initech",
        name: "Initech",
        currency: "GBP",
        users: [("ines", "admin"), ("ivan", "approver"), ("cleo", "clerk"), ("victor", "viewer")],
    },
];

const MACHINE: &str = "billing-service";

const DECIDER: &str = "decision-client";

/// Makes everything, or what is missing of it.
pub(super) struct Seed<'a> {
    pub(super) caller: Caller,
    pub(super) running: &'a Running,
    pub(super) operator: String,
}

impl Seed<'_> {
    pub(super) async fn all(&self) -> Result<Demo> {
        let mut tenants = Vec::new();
        for new in TENANTS {
            tenants.push(self.tenant(new).await?);
        }
        Ok(Demo {
            gateway: self.running.base_url.clone(),
            api: format!("http://{}", self.running.api),
            guard: format!("postgres://{}/{}", self.running.guard, self.running.database),
            operator: Operator { token: self.operator.clone(), access_key: None },
            tenants,
        })
    }

    async fn tenant(&self, new: &NewTenant) -> Result<DemoTenant> {
        let NewTenant { id, name, currency, users } = new;
        let body = json!({ "id": id, "display_name": name, "tier": "standard" });
        let made = self.api(Method::POST, "/v1/tenants", body).await?;
        let text = |name: &str| made.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut people = Vec::new();
        for (username, role) in users {
            let password = base64url(&random::<12>().into_diagnostic()?);
            let body = json!({ "username": username, "password": password, "roles": [role] });
            self.api(Method::POST, &format!("/v1/tenants/{id}/users"), body).await?;
            people.push(DemoUser {
                username: (*username).to_owned(),
                password,
                roles: vec![(*role).to_owned()],
            });
        }
        let body = json!({ "client_id": MACHINE, "roles": ["service"] });
        let client = self.api(Method::POST, &format!("/v1/tenants/{id}/clients"), body).await?;
        let secret = client.get("client_secret").and_then(Value::as_str).unwrap_or_default().to_owned();
        let host = text("host");
        let payment = self.rows(id, &host, &secret, currency).await?;
        let client = DemoClient { client_id: MACHINE.to_owned(), client_secret: secret };
        Ok(DemoTenant {
            id: (*id).to_owned(),
            issuer: text("issuer"),
            host,
            users: people,
            client,
            payment,
            access_key: None,
            policy_store_id: String::new(),
            authzen: String::new(),
            decision_client: None,
        })
    }

    /// Access keys for the operator and each tenant, where each tenant's policies are and decides, and who may ask: what is
    /// missing of it.
    pub(super) async fn keys(&self, demo: &mut Demo) -> Result<()> {
        if demo.operator.access_key.is_none() {
            demo.operator.access_key = Some(self.key("/v1/access-keys").await?);
        }
        for tenant in &mut demo.tenants {
            let path = format!("/v1/tenants/{}", tenant.id);
            if tenant.access_key.is_none() {
                tenant.access_key = Some(self.key(&format!("{path}/access-keys")).await?);
            }
            let policies = self.api(Method::GET, &format!("{path}/policies"), json!({})).await?;
            let store = policies.get("policy_store_id").and_then(Value::as_str);
            tenant.policy_store_id = store.unwrap_or_default().to_owned();
            tenant.authzen = format!("{}/t/{}", demo.api, tenant.id);
            if tenant.decision_client.is_none() {
                let body = json!({ "client_id": DECIDER, "roles": [DECISIONS] });
                let client = self.api(Method::POST, &format!("{path}/clients"), body).await?;
                let secret = client.get("client_secret").and_then(Value::as_str).unwrap_or_default();
                tenant.decision_client =
                    Some(DemoClient { client_id: DECIDER.to_owned(), client_secret: secret.to_owned() });
            }
        }
        Ok(())
    }

    async fn key(&self, path: &str) -> Result<AccessKey> {
        let made = self.api(Method::POST, path, json!({})).await?;
        let text = |name: &str| made.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text("id"), text("secret")) {
            (Some(id), Some(secret)) => Ok(AccessKey { id, secret }),
            _ => Err(miette!("{path} gave no access key")),
        }
    }

    /// Books through the gateway, as the tenant's machine client; says one payment's id.
    async fn rows(&self, tenant: &str, host: &str, secret: &str, currency: &str) -> Result<String> {
        let issuer = Issuer { caller: &self.caller, running: self.running, tenant };
        let token = issuer.machine(MACHINE, secret).await?;
        let account = json!({ "name": format!("{tenant} operations"), "currency": currency });
        let account = self.book(host, &token, "/accounts", account).await?;
        let mut payment = String::new();
        for (name, country, amount) in
            [("Hooli", "US", 125_000), ("Umbrella", "DE", 89_900), ("Stark", "JP", 640_000)]
        {
            let iban = format!("{country}00{}", tenant.to_uppercase());
            let to = json!({ "name": name, "country": country, "iban": iban });
            let to = self.book(host, &token, "/beneficiaries", to).await?;
            let body = json!({
                "account_id": account, "beneficiary_id": to, "amount": amount, "currency": currency,
                "memo": format!("{tenant} pays {name}"),
            });
            payment = self.book(host, &token, "/payments", body).await?;
        }
        Ok(payment)
    }

    async fn book(&self, host: &str, token: &str, path: &str, body: Value) -> Result<String> {
        let mut headers = bearer(token)?;
        headers.insert(header::HOST, HeaderValue::from_str(host).into_diagnostic()?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer =
            self.caller.send(&self.running.gateway, Method::POST, path, headers, body.to_string()).await?;
        let booked = answer.json()?;
        let id = booked.get("id").and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| miette!("{path} was not booked"))
    }

    async fn api(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let mut headers = bearer(&self.operator)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.caller.send(&self.running.api, method, path, headers, body.to_string()).await?.json()
    }
}
