//! The definition of a store.
