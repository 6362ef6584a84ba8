//! Policies made to hurt whoever reads, proves or decides by them. The plane answers each, and lives.

use std::fs;

use crate::{program::scratch, session::Plane};

const WHEN: &str = "permit (principal, action == Ledger::Action::\"ViewPayment\", resource) when {
    principal.tenant == resource.tenant && resource has amount && ";

/// Ten kilobytes that are thousands of levels deep would overflow a thread's stack; a sum of conditionals takes more memory than
/// there is when it is translated for the solver.
#[test]
fn what_is_deep_or_grows_is_refused_and_the_plane_lives() {
    let plane = Plane::shared();
    plane.json(&["tenant", "create", "bomber"]);
    let deep = |open: &str, close: &str| format!("{}true{}", open.repeat(4_800), close.repeat(4_800));
    for (name, condition, expected) in [
        ("brackets", deep("(", ")"), "nested too deeply"),
        ("sets", deep("[", "]"), "nested too deeply"),
        ("conditionals", format!("{}true", "if true then false else ".repeat(400)), "nested too deeply"),
        (
            "sums",
            format!("{}1 < 3", "(if resource.amount < 3 then 1 else 2) + ".repeat(60)),
            "the proof took",
        ),
    ] {
        let file = scratch("bombs").join("bomb.cedar");
        fs::write(&file, format!("{WHEN}{condition} }};")).unwrap();
        let file = file.display().to_string();
        let refused = plane.command(&["policy", "put", name, &file, "--tenant", "bomber"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(expected), "{name}: {said}");
    }
    let listed = plane.json(&["policy", "list", "--tenant", "bomber"]);
    assert!(listed["policies"]["sums"].is_null() && listed["policies"].is_object(), "{listed}");
}
