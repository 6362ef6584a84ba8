//! Who asks, and what is counted.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    error::Error,
    fmt::Debug,
};

use aws_sdk_verifiedpermissions::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::SdkError,
    types::{ActionIdentifier, EntityIdentifier},
};
use serde_json::Value;

/// What a step ends in.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Two tenants' clients of one demo.
pub struct World {
    /// The first tenant's.
    pub own: Client,
    /// Another tenant's.
    pub other: Client,
    /// The first tenant.
    pub tenant: Value,
    called: RefCell<BTreeSet<&'static str>>,
    checks: Cell<usize>,
}

impl World {
    /// Reads a demo.
    pub fn read(path: &str) -> Outcome<Self> {
        let demo: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let tenants = demo["tenants"].as_array().ok_or("no tenants")?;
        let (own, other) = (tenants.first().ok_or("no tenant")?, tenants.get(1).ok_or("one tenant only")?);
        let api = demo["api"].as_str().ok_or("no api")?;
        Ok(Self {
            own: client(api, &own["access_key"])?,
            other: client(api, &other["access_key"])?,
            tenant: own.clone(),
            called: RefCell::default(),
            checks: Cell::default(),
        })
    }

    /// Notes that an operation was called.
    pub fn calls(&self, operation: &'static str) -> &Client {
        self.called.borrow_mut().insert(operation);
        &self.own
    }

    /// The operations that were called.
    pub fn called(&self) -> Vec<&'static str> {
        self.called.borrow().iter().copied().collect()
    }

    /// How many checks held.
    pub fn checks(&self) -> usize {
        self.checks.get()
    }

    /// Something that must hold.
    pub fn check(&self, holds: bool, what: &str) -> Outcome<()> {
        self.checks.set(self.checks.get() + 1);
        if holds { Ok(()) } else { Err(what.into()) }
    }

    /// Two things that must be equal.
    pub fn equal<T: PartialEq + Debug>(&self, found: T, wanted: T) -> Outcome<()> {
        self.check(found == wanted, &format!("{found:?} is not {wanted:?}"))
    }

    /// The service's error of a call that must be refused.
    pub fn refused<T: Debug, E: Error + 'static, R: Debug>(
        &self,
        answer: Result<T, SdkError<E, R>>,
    ) -> Outcome<E> {
        self.checks.set(self.checks.get() + 1);
        match answer {
            Err(SdkError::ServiceError(error)) => Ok(error.into_err()),
            other => Err(format!("not an error of the service: {other:?}").into()),
        }
    }
}

fn client(api: &str, key: &Value) -> Outcome<Client> {
    let text = |name: &str| key[name].as_str().ok_or("no access key");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(api)
        .credentials_provider(Credentials::new(text("id")?, text("secret")?, None, None, "demo"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Ok(Client::from_conf(config))
}

/// An entity of the photo store.
pub fn entity(kind: &str, id: &str) -> Outcome<EntityIdentifier> {
    Ok(EntityIdentifier::builder().entity_type(format!("Photos::{kind}")).entity_id(id).build()?)
}

/// An action of the photo store.
pub fn action(id: &str) -> Outcome<ActionIdentifier> {
    Ok(ActionIdentifier::builder().action_type("Photos::Action").action_id(id).build()?)
}
