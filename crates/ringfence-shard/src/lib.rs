//! Shuffle sharding: each tenant uses a few of many workers, its shard, so that what one tenant breaks few others feel, and hardly
//! anybody loses all.
//!
//! - [`Shuffle`]: a shard from a seed and the workers there are, without any state: the same on every node, spread over zones, and
//!   when a worker comes or goes at most one worker of each shard changes.
//! - [`Bounded`]: shards that are searched for, no two of which have more than so many workers in common.
//! - [`LookBack`]: where a tenant was lately, for who reads what it left there.
//! - [`Containment`]: how slowly workers that a tenant kills are made up for by others.
//! - [`blast`]: what a failure reaches, as predicted and as it is.
//!
//! Sources: C. MacCárthaigh, "Workload isolation using shuffle-sharding" (Amazon Builders' Library); D. G. Thaler and C. V. Ravishankar,
//! "Using name-based mappings to increase hit rates" (IEEE/ACM Transactions on Networking 6(1), 1998), for rendezvous hashing.

pub mod blast;
mod bounded;
mod containment;
mod look_back;
mod shuffle;
mod workers;

pub use self::{
    bounded::{Bounded, NoRoom},
    containment::Containment,
    look_back::LookBack,
    shuffle::{Seed, Shuffle, Size},
    workers::{Twice, Worker, Workers},
};
