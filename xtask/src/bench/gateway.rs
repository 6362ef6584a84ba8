//! The gateway with the whole chain, against the same proxy with every layer off, and against nginx.

use std::time::Instant;

use super::{
    Found,
    load::{CONNECTIONS, Load, PATHS},
    measure::{Measured, Plan, System, measure},
    nginx::{Application, Baselines},
    plane::{PROFILE, Plane, TENANTS, USERS, built},
    process::Process,
    scratch::Scratch,
    table::{Target, json, table, targets},
};
use crate::run::{Outcome, cargo};

const PLAN: Plan = Plan { rounds: 5, seconds: 4 };

/// Of the bare proxy's throughput, what the chain must leave.
const OF_BARE: f64 = 0.75;

/// Builds everything, measures, and prints.
#[expect(clippy::disallowed_methods, reason = "says how long setting up took")]
pub(super) fn section(as_json: bool) -> Outcome<Found> {
    cargo(&["build", "--profile", PROFILE, "--package", "ringfence"])?;
    cargo(&["build", "--profile", PROFILE, "--package", "ringfence-gateway", "--example", "bare"])?;
    let scratch = Scratch::new()?;
    let application = Application::start(&scratch)?;
    let baselines = Baselines::start(&scratch, application.address)?;
    let bare = built("examples/bare");
    let upstream = application.address.to_string();
    let (bare, [bare_address]) = Process::start_until(&bare, &[&upstream], ["listening on"])?;
    let bare_address = bare_address.parse().map_err(|_| "the bare proxy says no address".to_owned())?;
    let plane = Plane::start(&scratch, application.address)?;
    let began = Instant::now();
    let users =
        plane.users(TENANTS, |tenant| eprintln!("onboarding    tenant {} of {TENANTS}", tenant + 1))?;
    eprintln!("onboarding    {} users in {:.1} s", users.len(), began.elapsed().as_secs_f64());
    let remembered = Load::write(&scratch, "remembered.lua", &users, "")?;
    let asked = Load::write(&scratch, "asked.lua", &users, "/receipt?copies=2")?;
    let (base, gateway) = (&baselines.process, &plane.process);
    let systems = [
        System::new(("nginx", "nginx"), baselines.plain, base, &remembered),
        System::new(
            ("nginx + auth_request (204)", "nginx_auth_request"),
            baselines.auth_request,
            base,
            &remembered,
        ),
        System::new(("bare proxy, every layer off", "bare"), bare_address, &bare, &remembered),
        System::new(("Ringfence, the whole chain", "ringfence"), plane.address, gateway, &remembered),
        System::new(("Ringfence, no decision remembered", "ringfence_asked"), plane.address, gateway, &asked),
    ];
    let measured = measure(&systems, PLAN)?;
    let found = Comparison::of(&measured)?;
    if as_json {
        return Ok(Some(json(&measured, &found.bases, &found.targets)));
    }
    println!(
        "\nGateway: {CONNECTIONS} connections, {PATHS} paths, {} users of {TENANTS} tenants; medians of {} rounds of {} s, \
         ratios within a round\n",
        TENANTS * USERS,
        PLAN.rounds,
        PLAN.seconds
    );
    print!("{}\n{}", table(&measured, &found.bases), targets(&found.targets));
    Ok(None)
}

/// What is compared with what.
struct Comparison<'a> {
    bases: Vec<(&'static str, &'a Measured)>,
    targets: Vec<Target>,
}

impl<'a> Comparison<'a> {
    fn of(measured: &'a [Measured]) -> Outcome<Self> {
        let find = |key: &str| measured.iter().find(|one| one.key == key).ok_or(format!("{key} is missing"));
        let (bare, asks, chain) = (find("bare")?, find("nginx_auth_request")?, find("ringfence")?);
        let target = |what, base: &Measured, least| Target { what, ratio: chain.ratio(base), least };
        Ok(Self {
            bases: vec![("to bare", bare), ("to auth_request", asks), ("to nginx", find("nginx")?)],
            targets: vec![
                target("the whole chain to the bare proxy", bare, OF_BARE),
                target("the whole chain to nginx with auth_request", asks, 1.0),
            ],
        })
    }
}
