//! A context, read from JSON.
fn main() {
    let _: ringfence_context::TenantContext = serde_json::from_str("{}").unwrap();
}
