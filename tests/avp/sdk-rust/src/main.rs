//! The policy service, with the AWS SDK for Rust, against a demo that runs: every operation, its typed answers, its typed
//! errors, its pages.
//!
//! usage: ringfence-avp-sdk <demo.json>
//!
//! It fails where something does not hold. It prints how many operations were called and how many checks held.

mod decisions;
mod policies;
mod stores;
mod world;

use std::process::ExitCode;

use world::{Outcome, World};

/// As many as the service model has.
const OPERATIONS: usize = 34;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Outcome<String> {
    let path = std::env::args().nth(1).ok_or("usage: ringfence-avp-sdk <demo.json>")?;
    let world = World::read(&path)?;
    let store = stores::made(&world).await?;
    policies::schema(&world, &store).await?;
    let made = policies::policies(&world, &store).await?;
    policies::templates(&world, &store).await?;
    policies::pages(&world, &store).await?;
    decisions::decisions(&world, &store, &made).await?;
    decisions::sources(&world, &store).await?;
    stores::foreign(&world, &store).await?;
    stores::gone(&world, &store).await?;
    let called = world.called();
    if called.len() != OPERATIONS {
        return Err(format!("{} of {OPERATIONS} operations were called: {called:?}", called.len()).into());
    }
    Ok(format!("{} operations, {} checks", called.len(), world.checks()))
}
