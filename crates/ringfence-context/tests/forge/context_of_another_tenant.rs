//! A proved context, turned to another tenant.
fn forge(mut context: ringfence_context::TenantContext, tenant: ringfence_context::TenantId) {
    context.claims.tenant_id = tenant;
}
fn main() {}
