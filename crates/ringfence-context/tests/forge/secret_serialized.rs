//! A secret, sent somewhere.
fn main() {
    let _ = serde_json::to_string(&ringfence_context::Secret::new("s".to_owned()));
}
