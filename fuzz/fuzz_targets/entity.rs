//! Stored entities in JSON, and a question about them behind each.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::World;

static WORLD: LazyLock<World> = LazyLock::new(World::start);

const QUESTION: &[u8] = br#"{
  "subject": { "type": "User", "id": "u-1" },
  "action": { "name": "ViewSummary" },
  "resource": { "type": "Document", "id": "d" }
}"#;

fuzz_target!(|input: &[u8]| {
    WORLD.entity_put(input);
    let answer = WORLD.ask("evaluation", QUESTION);
    assert!(answer["decision"].is_boolean(), "{answer}");
});
