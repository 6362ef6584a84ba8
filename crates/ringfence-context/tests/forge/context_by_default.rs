//! A context out of nothing.
fn main() {
    let _ = <ringfence_context::TenantContext as Default>::default();
}
