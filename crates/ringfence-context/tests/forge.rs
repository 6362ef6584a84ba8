//! Attempts to forge a proof. Each file in `forge/` is such an attempt, and must not compile.

#[test]
fn a_proof_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/forge/*.rs");
}
