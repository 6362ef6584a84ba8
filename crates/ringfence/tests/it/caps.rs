//! What each tier's tenants may take of the guard: connections and time.

use std::{fs, thread, time::Duration};

use crate::{
    init::{settings, upstream},
    process::{now, until},
    program::{complaint, scratch},
    session::{Plane, up_fails},
    shapes::{Person, tiers},
};

#[test]
fn a_tenant_takes_of_the_guard_what_its_tier_gives() {
    let folder = scratch("caps");
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    let narrow = format!("{}guard = {{ connections = 1, transaction_seconds = 4 }}\n", tiers(&["rows"]));
    fs::write(&config, format!("{text}{narrow}\n[guard]\nconnections = 4\nwait_seconds = 1\n")).unwrap();
    let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
    for (tenant, tier) in [("narrow", "rows"), ("usual", "standard")] {
        plane.json(&["tenant", "create", tenant, "--tier", tier]);
    }
    let [narrow, usual] = ["narrow", "usual"].map(|tenant| Person::of(&plane, tenant));
    let tokens = [&narrow, &usual].map(|person| person.token().unwrap());
    thread::scope(|scope| {
        let busy = [(&narrow, &tokens[0]), (&usual, &tokens[1])]
            .map(|(person, token)| scope.spawn(move || person.ask_with(token, "SELECT pg_sleep(3)")));
        // Its one connection is taken; half of four are not, nor are they ever by one that sleeps.
        let refused = until("refused", 3, || narrow.ask_with(&tokens[0], "SELECT 1").err());
        assert!(refused.contains("This tenant's own transactions hold all connections"), "{refused}");
        assert_eq!(usual.ask_with(&tokens[1], "SELECT 1").as_deref(), Ok("1"));
        for slept in busy {
            slept.join().unwrap().unwrap();
        }
    });
    let began = now();
    let sleeps = thread::scope(|scope| {
        let usual = scope.spawn(|| usual.ask_with(&tokens[1], "SELECT pg_sleep(6)"));
        let told = narrow.ask_with(&tokens[0], "SELECT pg_sleep(60)").unwrap_err();
        assert!(told.contains("The transaction took longer than allowed"), "{told}");
        assert!(began.elapsed() < Duration::from_secs(30));
        usual.join().unwrap()
    });
    assert!(sleeps.is_ok(), "{sleeps:?}");
}

#[test]
fn reject_caps_that_give_nothing_or_more_than_there_is() {
    let folder = scratch("caps-refused");
    let config = settings(&folder, "127.0.0.1:1");
    let text = fs::read_to_string(&config).unwrap();
    let tier = |own: &str| format!("{}guard = {{ {own} }}\n", tiers(&["rows"]));
    let guard = |own: &str| format!("\n[guard]\n{own}\n");
    for (more, told) in [
        (tier("connections = 0"), "nonzero"),
        (tier("connections = 21"), "guard in [tiers.rows]: connections is at most the 20 of [guard]"),
        (tier("transaction_seconds = 0"), "guard in [tiers.rows]: transaction_seconds is from 1 to 86400"),
        (
            tier("transaction_seconds = 86401"),
            "guard in [tiers.rows]: transaction_seconds is from 1 to 86400",
        ),
        (tier("connection = 1"), "unknown field `connection`"),
        (guard("connections = 81"), "connections in [guard] is at most 80 with a managed Postgres"),
        (guard("clients = 0"), "[guard]: clients is from 1 to 100000"),
        (guard("clients = 100001"), "[guard]: clients is from 1 to 100000"),
        (guard("wait_seconds = 0"), "[guard]: wait_seconds is from 1 to 600"),
        (guard("wait_seconds = 601"), "[guard]: wait_seconds is from 1 to 600"),
    ] {
        fs::write(&config, format!("{text}{more}")).unwrap();
        let refused = up_fails(&folder.join("state"), &["--config", &config.display().to_string()]);
        assert!(complaint(&refused).contains(told), "{more}: {}", complaint(&refused));
    }
}
