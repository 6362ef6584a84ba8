# Written by `ringfence policy types`; what is changed here is lost.
# From the schema of the tenant "acme", SHA-256 89ef5b4395a357972b46e5a7f082feca1c71a1e2c61fa7e3bd1333a675c9dc55.
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, FrozenSet, Mapping, Optional


# The id of a `Shop::Colour`.
class ColourId(Enum):
    RED = "red"
    DEEP_RED = "deep red"
    DEEP_RED_2 = "deep-red"


ColourId_TYPE = "Shop::Colour"


# The id of a `Shop::Item`.
@dataclass(frozen=True)
class ItemId:
    value: str


ItemId_TYPE = "Shop::Item"


# The id of a `Shop::Team`.
# A part of the house.
@dataclass(frozen=True)
class TeamId:
    value: str


TeamId_TYPE = "Shop::Team"


# The id of a `Shop::User`.
# Who buys.
# Comes from the pool.
# owner: identity
@dataclass(frozen=True)
class UserId:
    value: str


UserId_TYPE = "Shop::User"


# An action: `Shop::Action`.
class Action(Enum):
    # Takes it home.
    BUY = "buy"
    # Takes it home.
    BUY_TWICE = "buy:twice"
    VIEW = "view"


Action_TYPE = "Shop::Action"


# Cedar's `ipaddr`, as it spells it.
@dataclass(frozen=True)
class IpAddress:
    value: str


# Cedar's `decimal`, as it spells it.
@dataclass(frozen=True)
class Decimal:
    value: str


# Cedar's `datetime`, as it spells it.
@dataclass(frozen=True)
class Datetime:
    value: str


# Cedar's `duration`, as it spells it.
@dataclass(frozen=True)
class Duration:
    value: str


@dataclass(frozen=True, kw_only=True)
class Money:
    amount: Decimal
    currency: str
    KEYS: ClassVar[Mapping[str, str]] = {"amount": "amount", "currency": "currency"}


# The attributes of a `Shop::Item`.
@dataclass(frozen=True, kw_only=True)
class ItemAttributes:
    colour: ColourId
    price: Money
    KEYS: ClassVar[Mapping[str, str]] = {"colour": "colour", "price": "price"}


@dataclass(frozen=True, kw_only=True)
class UserAttributesHomeAt:
    x: int
    y: int
    KEYS: ClassVar[Mapping[str, str]] = {"x": "x", "y": "y"}


@dataclass(frozen=True, kw_only=True)
class UserAttributesHome:
    at: UserAttributesHomeAt
    street: str
    zip_code: Optional[str] = None
    KEYS: ClassVar[Mapping[str, str]] = {"at": "at", "street": "street", "zip_code": "zip code"}


# The attributes of a `Shop::User`.
@dataclass(frozen=True, kw_only=True)
class UserAttributes:
    active: bool
    age: Optional[int] = None
    born: Optional[Datetime] = None
    created_by: Optional[str] = None
    # The same word, spelled otherwise.
    created_by_2: Optional[str] = None
    friends: Optional[FrozenSet[UserId]] = None
    from_2: IpAddress
    home: UserAttributesHome
    limit: Money
    name: str
    others: FrozenSet[str]
    patience: Duration
    type_2: str
    KEYS: ClassVar[Mapping[str, str]] = {"active": "active", "age": "age", "born": "born", "created_by": "created-by", "created_by_2": "created_by", "friends": "friends", "from_2": "from", "home": "home", "limit": "limit", "name": "name", "others": "others", "patience": "patience", "type_2": "type"}


# What a request says beside principal, action and resource.
@dataclass(frozen=True, kw_only=True)
class BuyContext:
    paid: Money
    via: Optional[FrozenSet[IpAddress]] = None
    KEYS: ClassVar[Mapping[str, str]] = {"paid": "paid", "via": "via"}


# What a request says beside principal, action and resource.
@dataclass(frozen=True, kw_only=True)
class BuyTwiceContext:
    paid: Money
    via: Optional[FrozenSet[IpAddress]] = None
    KEYS: ClassVar[Mapping[str, str]] = {"paid": "paid", "via": "via"}


# The tags of a `Shop::User`.
UserTags = Mapping[str, FrozenSet[Money]]
