// Written by `ringfence policy types`; what is changed here is lost.
// From the schema of the tenant "acme", SHA-256 89ef5b4395a357972b46e5a7f082feca1c71a1e2c61fa7e3bd1333a675c9dc55.

/** The id of a `Shop::Colour`. */
export const ColourId = {
  Red: "red",
  DeepRed: "deep red",
  DeepRed2: "deep-red",
} as const;
export type ColourId = (typeof ColourId)[keyof typeof ColourId];
export const ColourIdType = "Shop::Colour";

/** The id of a `Shop::Item`. */
export type ItemId = string & { readonly __type: "Shop::Item" };
export const ItemId = (text: string): ItemId => text as ItemId;
export const ItemIdType = "Shop::Item";

/**
 * The id of a `Shop::Team`.
 * A part of the house.
 */
export type TeamId = string & { readonly __type: "Shop::Team" };
export const TeamId = (text: string): TeamId => text as TeamId;
export const TeamIdType = "Shop::Team";

/**
 * The id of a `Shop::User`.
 * Who buys.
 * Comes from the pool.
 * owner: identity
 */
export type UserId = string & { readonly __type: "Shop::User" };
export const UserId = (text: string): UserId => text as UserId;
export const UserIdType = "Shop::User";

/** The tags of a `Shop::User`. */
export type UserTags = Readonly<Record<string, ReadonlyArray<Money>>>;

/** An action: `Shop::Action`. */
export const Action = {
  /** Takes it home. */
  Buy: "buy",
  /** Takes it home. */
  BuyTwice: "buy:twice",
  View: "view",
} as const;
export type Action = (typeof Action)[keyof typeof Action];
export const ActionType = "Shop::Action";

/** Cedar's `ipaddr`, as it spells it. */
export type IpAddress = string & { readonly __type: "ipaddr" };
export const IpAddress = (text: string): IpAddress => text as IpAddress;

/** Cedar's `decimal`, as it spells it. */
export type Decimal = string & { readonly __type: "decimal" };
export const Decimal = (text: string): Decimal => text as Decimal;

/** Cedar's `datetime`, as it spells it. */
export type Datetime = string & { readonly __type: "datetime" };
export const Datetime = (text: string): Datetime => text as Datetime;

/** Cedar's `duration`, as it spells it. */
export type Duration = string & { readonly __type: "duration" };
export const Duration = (text: string): Duration => text as Duration;

export interface Money {
  readonly "amount": Decimal;
  readonly "currency": string;
}

/** The attributes of a `Shop::Item`. */
export interface ItemAttributes {
  readonly "colour": ColourId;
  readonly "price": Money;
}

export interface UserAttributesHomeAt {
  readonly "x": number;
  readonly "y": number;
}

export interface UserAttributesHome {
  readonly "at": UserAttributesHomeAt;
  readonly "street": string;
  readonly "zip code"?: string;
}

/** The attributes of a `Shop::User`. */
export interface UserAttributes {
  readonly "active": boolean;
  readonly "age"?: number;
  readonly "born"?: Datetime;
  readonly "created-by"?: string;
  /** The same word, spelled otherwise. */
  readonly "created_by"?: string;
  readonly "friends"?: ReadonlyArray<UserId>;
  readonly "from": IpAddress;
  readonly "home": UserAttributesHome;
  readonly "limit": Money;
  readonly "name": string;
  readonly "others": ReadonlyArray<string>;
  readonly "patience": Duration;
  readonly "type": string;
}

/** What a request says beside principal, action and resource. */
export interface BuyContext {
  readonly "paid": Money;
  readonly "via"?: ReadonlyArray<IpAddress>;
}

/** What a request says beside principal, action and resource. */
export interface BuyTwiceContext {
  readonly "paid": Money;
  readonly "via"?: ReadonlyArray<IpAddress>;
}
