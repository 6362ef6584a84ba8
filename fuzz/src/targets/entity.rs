//! Stored entities in JSON, and a question about them behind each.

use crate::World;

const QUESTION: &[u8] = br#"{
  "subject": { "type": "User", "id": "u-1" },
  "action": { "name": "ViewSummary" },
  "resource": { "type": "Document", "id": "d" }
}"#;

/// Feeds one.
///
/// # Panics
/// Where the question behind it is not decided.
pub fn run(world: &World, input: &[u8]) {
    world.entity_put(input);
    let answer = world.ask("evaluation", QUESTION);
    assert!(answer["decision"].is_boolean(), "{answer}");
}
