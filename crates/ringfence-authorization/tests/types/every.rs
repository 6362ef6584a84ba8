//! Written by `ringfence policy types`; what is changed here is lost.
//! From the schema of the tenant "acme", SHA-256 89ef5b4395a357972b46e5a7f082feca1c71a1e2c61fa7e3bd1333a675c9dc55.

/// The id of a `Shop::Colour`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColourId {
    /// `red`.
    Red,
    /// `deep red`.
    DeepRed,
    /// `deep-red`.
    DeepRed2,
}

impl ColourId {
    /// The entity type.
    pub const TYPE: &'static str = "Shop::Colour";

    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Red, Self::DeepRed, Self::DeepRed2];

    /// Its id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::DeepRed => "deep red",
            Self::DeepRed2 => "deep-red",
        }
    }
}

/// The id of a `Shop::Item`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(String);

impl ItemId {
    /// The entity type.
    pub const TYPE: &'static str = "Shop::Item";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Shop::Team`.
/// A part of the house.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TeamId(String);

impl TeamId {
    /// The entity type.
    pub const TYPE: &'static str = "Shop::Team";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Shop::User`.
/// Who buys.
/// Comes from the pool.
/// owner: identity
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

impl UserId {
    /// The entity type.
    pub const TYPE: &'static str = "Shop::User";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tags of a `Shop::User`.
pub type UserTags = std::collections::BTreeMap<String, std::collections::BTreeSet<Money>>;

/// An action: `Shop::Action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `buy`.
    /// Takes it home.
    Buy,
    /// `buy:twice`.
    /// Takes it home.
    BuyTwice,
    /// `view`.
    View,
}

impl Action {
    /// The entity type.
    pub const TYPE: &'static str = "Shop::Action";

    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Buy, Self::BuyTwice, Self::View];

    /// Its id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::BuyTwice => "buy:twice",
            Self::View => "view",
        }
    }
}

/// Cedar's `ipaddr`, as it spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpAddress(pub String);

/// Cedar's `decimal`, as it spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(pub String);

/// Cedar's `datetime`, as it spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datetime(pub String);

/// Cedar's `duration`, as it spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub String);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    /// `amount`.
    pub amount: Decimal,
    /// `currency`.
    pub currency: String,
}

/// The attributes of a `Shop::Item`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemAttributes {
    /// `colour`.
    pub colour: ColourId,
    /// `price`.
    pub price: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserAttributesHomeAt {
    /// `x`.
    pub x: i64,
    /// `y`.
    pub y: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserAttributesHome {
    /// `at`.
    pub at: UserAttributesHomeAt,
    /// `street`.
    pub street: String,
    /// `zip code`.
    pub zip_code: Option<String>,
}

/// The attributes of a `Shop::User`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserAttributes {
    /// `active`.
    pub active: bool,
    /// `age`.
    pub age: Option<i64>,
    /// `born`.
    pub born: Option<Datetime>,
    /// `created-by`.
    pub created_by: Option<String>,
    /// `created_by`.
    /// The same word, spelled otherwise.
    pub created_by_2: Option<String>,
    /// `friends`.
    pub friends: Option<std::collections::BTreeSet<UserId>>,
    /// `from`.
    pub from: IpAddress,
    /// `home`.
    pub home: UserAttributesHome,
    /// `limit`.
    pub limit: Money,
    /// `name`.
    pub name: String,
    /// `others`.
    pub others: std::collections::BTreeSet<String>,
    /// `patience`.
    pub patience: Duration,
    /// `type`.
    pub type_2: String,
}

/// What a request says beside principal, action and resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuyContext {
    /// `paid`.
    pub paid: Money,
    /// `via`.
    pub via: Option<std::collections::BTreeSet<IpAddress>>,
}

/// What a request says beside principal, action and resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuyTwiceContext {
    /// `paid`.
    pub paid: Money,
    /// `via`.
    pub via: Option<std::collections::BTreeSet<IpAddress>>,
}
