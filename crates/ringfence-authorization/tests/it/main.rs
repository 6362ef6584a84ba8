//! The policy engine against Cedar itself, and the stores against their state.

mod agreement;
mod corpus;
