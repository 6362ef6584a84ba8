//! A job, written down.
fn forge(claims: ringfence_context::JobClaims) -> ringfence_context::Job {
    ringfence_context::Job { claims }
}
fn main() {}
