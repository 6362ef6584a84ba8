//! A permit nobody gave.
fn forge(context: ringfence_context::TenantContext) -> ringfence_context::Permit {
    ringfence_context::Permit { context, action: "RefundPayment".to_owned() }
}
fn main() {}
