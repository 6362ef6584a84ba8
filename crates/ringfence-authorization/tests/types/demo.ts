// Written by `ringfence policy types`; what is changed here is lost.
// From the schema of the tenant "acme", SHA-256 f3194afe9c34406bfa3d48962ea6cad2c738b7f94c8101b660c46cfa90ceea0e.

/** The id of a `Ledger::Account`. */
export type AccountId = string & { readonly __type: "Ledger::Account" };
export const AccountId = (text: string): AccountId => text as AccountId;
export const AccountIdType = "Ledger::Account";

/** The id of a `Ledger::Beneficiary`. */
export type BeneficiaryId = string & { readonly __type: "Ledger::Beneficiary" };
export const BeneficiaryId = (text: string): BeneficiaryId => text as BeneficiaryId;
export const BeneficiaryIdType = "Ledger::Beneficiary";

/** The id of a `Ledger::Book`. */
export type BookId = string & { readonly __type: "Ledger::Book" };
export const BookId = (text: string): BookId => text as BookId;
export const BookIdType = "Ledger::Book";

/** The id of a `Ledger::Client`. */
export type ClientId = string & { readonly __type: "Ledger::Client" };
export const ClientId = (text: string): ClientId => text as ClientId;
export const ClientIdType = "Ledger::Client";

/** The id of a `Ledger::Payment`. */
export type PaymentId = string & { readonly __type: "Ledger::Payment" };
export const PaymentId = (text: string): PaymentId => text as PaymentId;
export const PaymentIdType = "Ledger::Payment";

/** The id of a `Ledger::Role`. */
export type RoleId = string & { readonly __type: "Ledger::Role" };
export const RoleId = (text: string): RoleId => text as RoleId;
export const RoleIdType = "Ledger::Role";

/** The id of a `Ledger::User`. */
export type UserId = string & { readonly __type: "Ledger::User" };
export const UserId = (text: string): UserId => text as UserId;
export const UserIdType = "Ledger::User";

/** An action: `Ledger::Action`. */
export const Action = {
  ConnectDatabase: "ConnectDatabase",
  CreateAccount: "CreateAccount",
  CreateBeneficiary: "CreateBeneficiary",
  CreatePayment: "CreatePayment",
  CreatePaymentBatch: "CreatePaymentBatch",
  ListAccounts: "ListAccounts",
  ListBeneficiaries: "ListBeneficiaries",
  ListPayments: "ListPayments",
  RefundPayment: "RefundPayment",
  ViewPayment: "ViewPayment",
  ViewReport: "ViewReport",
} as const;
export type Action = (typeof Action)[keyof typeof Action];
export const ActionType = "Ledger::Action";

/** The attributes of a `Ledger::Account`. */
export interface AccountAttributes {
  readonly "created_by"?: string;
  readonly "tenant": string;
}

/** The attributes of a `Ledger::Beneficiary`. */
export interface BeneficiaryAttributes {
  readonly "created_by"?: string;
  readonly "tenant": string;
}

/** The attributes of a `Ledger::Book`. */
export interface BookAttributes {
  readonly "tenant": string;
}

/** The attributes of a `Ledger::Client`. */
export interface ClientAttributes {
  readonly "subject": string;
  readonly "tenant": string;
}

/** The attributes of a `Ledger::Payment`. */
export interface PaymentAttributes {
  readonly "amount"?: number;
  readonly "created_by"?: string;
  readonly "status"?: string;
  readonly "tenant": string;
}

/** The attributes of a `Ledger::User`. */
export interface UserAttributes {
  readonly "subject": string;
  readonly "tenant": string;
}

/** What a request says beside principal, action and resource. */
export interface CreatePaymentContext {
  readonly "amount"?: number;
}

/** What a request says beside principal, action and resource. */
export interface CreatePaymentBatchContext {
  readonly "amount"?: number;
}
