//! Who: a pool of users per tenant, sign-in, issuers and their keys, the pre-token hook, token exchange, revocation.
//!
//! Guarantees: a user exists in one pool and signs in there only; what a token says of its tenant comes from the
//! membership record, authenticated under that tenant's key, and never from a client; without that record, or without
//! the store, there is no token. Everything here fails closed.
//!
//! Two halves. [`Pools`] and [`Directory`] are the state: who exists, and (in memory, for every request) which issuers
//! are believed. [`Issuer`] and [`http`] are the service: OpenID Connect Core, RFC 6749 with PKCE (RFC 7636), RFC 8414,
//! RFC 8693, RFC 7009, RFC 9068, RFC 9207.

pub mod attempts;
pub mod client;
pub mod code;
pub mod directory;
pub mod error;
pub mod exchange;
pub mod hook;
pub mod http;
pub mod issuer;
pub mod job;
pub mod membership;
pub mod password;
pub mod pool;
pub mod redirect;
pub mod revocation;
pub mod ticket;
pub mod user;
pub mod verdict;

pub use client::{Client, ClientKind};
pub use directory::{Addresses, Directory};
pub use error::IdentityError;
pub use exchange::{ExchangeCredential, ExchangeDatabaseToken};
pub use hook::{HookClaims, MembershipHook, PreTokenHook};
pub use http::{Identity, router};
pub use issuer::{Issuer, Minted};
pub use membership::Membership;
pub use password::Passwords;
pub use pool::{Pool, Pools};
pub use user::{NewUser, User};
pub use verdict::TracingRecord;
