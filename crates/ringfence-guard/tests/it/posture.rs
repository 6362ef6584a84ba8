//! Row security that is not as installed: every context is refused, within two seconds.

use std::time::Duration;

use tokio::time::Instant;

use crate::fixture::{World, ask, connect, eventually, fails};

async fn check(change: &str, refused: bool) {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    world.admin.batch_execute(change).await.unwrap();
    let changed = Instant::now();
    if refused {
        // At the latest when the context is renewed.
        let refused =
            eventually(|| async { ask(&client, "SELECT count(*) FROM accounts").await.err() }).await.0;
        assert_eq!(refused, "RF004", "{change}");
        assert!(changed.elapsed() < Duration::from_millis(2500), "{change}: after {:?}", changed.elapsed());
        assert_eq!(fails(&client, "SELECT 1").await, "RF004", "{change}");
        // Protecting again repairs it, without a restart of anything.
        let repair = "SELECT ringfence.protect('accounts'), ringfence.protect('payments')";
        world.admin.batch_execute(repair).await.unwrap();
    }
    assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "3", "{change}");
}

#[tokio::test]
async fn row_security_switched_off_refuses_every_context() {
    check("ALTER TABLE payments DISABLE ROW LEVEL SECURITY", true).await;
    check("ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY", true).await;
}

#[tokio::test]
async fn a_policy_that_was_altered_refuses_every_context() {
    check("ALTER POLICY ringfence_tenant ON accounts USING (true)", true).await;
    check("ALTER POLICY ringfence_tenant ON accounts WITH CHECK (true)", true).await;
    check("ALTER POLICY ringfence_tenant ON accounts TO postgres", true).await;
    check("DROP POLICY ringfence_tenant ON accounts", true).await;
    let permissive = "DROP POLICY ringfence_tenant ON accounts; CREATE POLICY ringfence_tenant ON accounts
        USING (tenant_id = (SELECT ringfence.tenant_id())) WITH CHECK (tenant_id = (SELECT ringfence.tenant_id()))";
    check(permissive, true).await;
}

#[tokio::test]
async fn what_only_narrows_or_is_gone_is_no_change_of_posture() {
    check("CREATE POLICY more ON accounts USING (true)", false).await;
    check("DROP TABLE payments", false).await;
}

#[tokio::test]
async fn a_role_that_bypasses_row_security_gets_no_name() {
    let world = World::new().await;
    world.admin.batch_execute(&format!("ALTER ROLE {} BYPASSRLS", world.role)).await.unwrap();
    let client = connect(&world.direct_config()).await.unwrap();
    assert_eq!(fails(&client, "SELECT ringfence.backend_register()").await, "RF004");
    let guard = world.guard().await;
    let refused = connect(&world.through(&guard, &world.acme)).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "57P03");
    world.admin.batch_execute(&format!("ALTER ROLE {} NOBYPASSRLS", world.role)).await.unwrap();
}
