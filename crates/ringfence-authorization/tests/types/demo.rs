//! Written by `ringfence policy types`; what is changed here is lost.
//! From the schema of the tenant "acme", SHA-256 f3194afe9c34406bfa3d48962ea6cad2c738b7f94c8101b660c46cfa90ceea0e.

/// The id of a `Ledger::Account`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::Account";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Ledger::Beneficiary`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BeneficiaryId(String);

impl BeneficiaryId {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::Beneficiary";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Ledger::Book`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookId(String);

impl BookId {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::Book";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Ledger::Client`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::Client";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Ledger::Payment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId(String);

impl PaymentId {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::Payment";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Ledger::Role`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(String);

impl RoleId {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::Role";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a `Ledger::User`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

impl UserId {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::User";

    /// The id of this spelling.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An action: `Ledger::Action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `ConnectDatabase`.
    ConnectDatabase,
    /// `CreateAccount`.
    CreateAccount,
    /// `CreateBeneficiary`.
    CreateBeneficiary,
    /// `CreatePayment`.
    CreatePayment,
    /// `CreatePaymentBatch`.
    CreatePaymentBatch,
    /// `ListAccounts`.
    ListAccounts,
    /// `ListBeneficiaries`.
    ListBeneficiaries,
    /// `ListPayments`.
    ListPayments,
    /// `RefundPayment`.
    RefundPayment,
    /// `ViewPayment`.
    ViewPayment,
    /// `ViewReport`.
    ViewReport,
}

impl Action {
    /// The entity type.
    pub const TYPE: &'static str = "Ledger::Action";

    /// Every one.
    pub const ALL: &'static [Self] = &[Self::ConnectDatabase, Self::CreateAccount, Self::CreateBeneficiary, Self::CreatePayment, Self::CreatePaymentBatch, Self::ListAccounts, Self::ListBeneficiaries, Self::ListPayments, Self::RefundPayment, Self::ViewPayment, Self::ViewReport];

    /// Its id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectDatabase => "ConnectDatabase",
            Self::CreateAccount => "CreateAccount",
            Self::CreateBeneficiary => "CreateBeneficiary",
            Self::CreatePayment => "CreatePayment",
            Self::CreatePaymentBatch => "CreatePaymentBatch",
            Self::ListAccounts => "ListAccounts",
            Self::ListBeneficiaries => "ListBeneficiaries",
            Self::ListPayments => "ListPayments",
            Self::RefundPayment => "RefundPayment",
            Self::ViewPayment => "ViewPayment",
            Self::ViewReport => "ViewReport",
        }
    }
}

/// The attributes of a `Ledger::Account`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountAttributes {
    /// `created_by`.
    pub created_by: Option<String>,
    /// `tenant`.
    pub tenant: String,
}

/// The attributes of a `Ledger::Beneficiary`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BeneficiaryAttributes {
    /// `created_by`.
    pub created_by: Option<String>,
    /// `tenant`.
    pub tenant: String,
}

/// The attributes of a `Ledger::Book`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookAttributes {
    /// `tenant`.
    pub tenant: String,
}

/// The attributes of a `Ledger::Client`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAttributes {
    /// `subject`.
    pub subject: String,
    /// `tenant`.
    pub tenant: String,
}

/// The attributes of a `Ledger::Payment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentAttributes {
    /// `amount`.
    pub amount: Option<i64>,
    /// `created_by`.
    pub created_by: Option<String>,
    /// `status`.
    pub status: Option<String>,
    /// `tenant`.
    pub tenant: String,
}

/// The attributes of a `Ledger::User`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserAttributes {
    /// `subject`.
    pub subject: String,
    /// `tenant`.
    pub tenant: String,
}

/// What a request says beside principal, action and resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CreatePaymentContext {
    /// `amount`.
    pub amount: Option<i64>,
}

/// What a request says beside principal, action and resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CreatePaymentBatchContext {
    /// `amount`.
    pub amount: Option<i64>,
}
