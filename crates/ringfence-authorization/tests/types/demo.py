# Written by `ringfence policy types`; what is changed here is lost.
# From the schema of the tenant "acme", SHA-256 f3194afe9c34406bfa3d48962ea6cad2c738b7f94c8101b660c46cfa90ceea0e.
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, FrozenSet, Mapping, Optional


# The id of a `Ledger::Account`.
@dataclass(frozen=True)
class AccountId:
    value: str


AccountId_TYPE = "Ledger::Account"


# The id of a `Ledger::Beneficiary`.
@dataclass(frozen=True)
class BeneficiaryId:
    value: str


BeneficiaryId_TYPE = "Ledger::Beneficiary"


# The id of a `Ledger::Book`.
@dataclass(frozen=True)
class BookId:
    value: str


BookId_TYPE = "Ledger::Book"


# The id of a `Ledger::Client`.
@dataclass(frozen=True)
class ClientId:
    value: str


ClientId_TYPE = "Ledger::Client"


# The id of a `Ledger::Payment`.
@dataclass(frozen=True)
class PaymentId:
    value: str


PaymentId_TYPE = "Ledger::Payment"


# The id of a `Ledger::Role`.
@dataclass(frozen=True)
class RoleId:
    value: str


RoleId_TYPE = "Ledger::Role"


# The id of a `Ledger::User`.
@dataclass(frozen=True)
class UserId:
    value: str


UserId_TYPE = "Ledger::User"


# An action: `Ledger::Action`.
class Action(Enum):
    CONNECT_DATABASE = "ConnectDatabase"
    CREATE_ACCOUNT = "CreateAccount"
    CREATE_BENEFICIARY = "CreateBeneficiary"
    CREATE_PAYMENT = "CreatePayment"
    CREATE_PAYMENT_BATCH = "CreatePaymentBatch"
    LIST_ACCOUNTS = "ListAccounts"
    LIST_BENEFICIARIES = "ListBeneficiaries"
    LIST_PAYMENTS = "ListPayments"
    REFUND_PAYMENT = "RefundPayment"
    VIEW_PAYMENT = "ViewPayment"
    VIEW_REPORT = "ViewReport"


Action_TYPE = "Ledger::Action"


# The attributes of a `Ledger::Account`.
@dataclass(frozen=True, kw_only=True)
class AccountAttributes:
    created_by: Optional[str] = None
    tenant: str
    KEYS: ClassVar[Mapping[str, str]] = {"created_by": "created_by", "tenant": "tenant"}


# The attributes of a `Ledger::Beneficiary`.
@dataclass(frozen=True, kw_only=True)
class BeneficiaryAttributes:
    created_by: Optional[str] = None
    tenant: str
    KEYS: ClassVar[Mapping[str, str]] = {"created_by": "created_by", "tenant": "tenant"}


# The attributes of a `Ledger::Book`.
@dataclass(frozen=True, kw_only=True)
class BookAttributes:
    tenant: str
    KEYS: ClassVar[Mapping[str, str]] = {"tenant": "tenant"}


# The attributes of a `Ledger::Client`.
@dataclass(frozen=True, kw_only=True)
class ClientAttributes:
    subject: str
    tenant: str
    KEYS: ClassVar[Mapping[str, str]] = {"subject": "subject", "tenant": "tenant"}


# The attributes of a `Ledger::Payment`.
@dataclass(frozen=True, kw_only=True)
class PaymentAttributes:
    amount: Optional[int] = None
    created_by: Optional[str] = None
    status: Optional[str] = None
    tenant: str
    KEYS: ClassVar[Mapping[str, str]] = {"amount": "amount", "created_by": "created_by", "status": "status", "tenant": "tenant"}


# The attributes of a `Ledger::User`.
@dataclass(frozen=True, kw_only=True)
class UserAttributes:
    subject: str
    tenant: str
    KEYS: ClassVar[Mapping[str, str]] = {"subject": "subject", "tenant": "tenant"}


# What a request says beside principal, action and resource.
@dataclass(frozen=True, kw_only=True)
class CreatePaymentContext:
    amount: Optional[int] = None
    KEYS: ClassVar[Mapping[str, str]] = {"amount": "amount"}


# What a request says beside principal, action and resource.
@dataclass(frozen=True, kw_only=True)
class CreatePaymentBatchContext:
    amount: Optional[int] = None
    KEYS: ClassVar[Mapping[str, str]] = {"amount": "amount"}
