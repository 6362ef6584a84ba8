//! Every seed, as libFuzzer begins: so that what was found once stays mended, and the targets go on to fit what they feed.

use std::{collections::BTreeMap, fs, path::Path};

use ringfence_fuzz::{
    World,
    targets::{self, foreign, login, startup},
};

fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_seed_is_answered_and_tells_nothing_of_another_tenant() {
    let world = World::start();
    for (name, target) in targets::ALL {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        for (path, seed) in seeds {
            println!("{path}");
            target(&world, &seed);
            // And cut, and bent in the middle.
            target(&world, &seed[..seed.len() / 2]);
            let mut bent = seed.clone();
            bent[seed.len() / 2] ^= 1;
            target(&world, &bent);
        }
    }
}

#[test]
fn the_seeds_of_other_issuers_are_believed_and_bent_ones_are_not() {
    for (path, seed) in seeds("foreign") {
        assert!(foreign::believed(&seed), "{path}");
        // Wherever a byte is another, the signature is not of what is written: but for the key set's own words.
        let token = seed.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for at in (token..seed.len()).step_by(7) {
            let mut bent = seed.clone();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            assert!(bent == seed || !foreign::believed(&bent), "{path} at {at}");
        }
    }
}

/// What becomes of each seed, by its name.
fn outcomes<T>(name: &str, of: impl Fn(&[u8]) -> T) -> BTreeMap<String, T> {
    let named = |path: String| path.rsplit('/').next().unwrap().to_owned();
    seeds(name).into_iter().map(|(path, seed)| (named(path), of(&seed))).collect()
}

fn expected<T: Clone>(outcomes: &[(&str, T)]) -> BTreeMap<String, T> {
    outcomes.iter().map(|(name, outcome)| ((*name).to_owned(), outcome.clone())).collect()
}

#[test]
fn who_opens_with_its_own_token_is_admitted_and_nobody_else() {
    let all = [
        ("anothers_token", ""),
        ("bent_token", ""),
        ("cancel", ""),
        ("newer", "acme"),
        ("password_in_the_clear", ""),
        ("psql", "acme"),
        ("psql_prefers_tls", "acme"),
        ("psql_with_options", "acme"),
    ];
    let found = outcomes("startup", |seed| startup::admitted(seed).join(","));
    assert_eq!(found, expected(&all.map(|(name, tenant)| (name, tenant.to_owned()))));
}

#[test]
fn a_server_is_logged_in_to_that_asks_for_nothing_or_has_proved_itself() {
    // With a password, what was recorded is no proof: it was of another nonce.
    let all = [
        ("no_database", false),
        ("nonce_that_is_not_asked_for", false),
        ("refused_by_database", true),
        ("scram", false),
        ("trust", true),
        ("wrong_password", false),
    ];
    let reported = |seed: &[u8]| {
        let reported = login::reported(seed)?;
        reported.into_iter().find(|(name, _)| name == "TimeZone").map(|(_, value)| value)
    };
    let utc = |logged_in: bool| logged_in.then(|| "UTC".to_owned());
    assert_eq!(outcomes("login", reported), expected(&all.map(|(name, is)| (name, utc(is)))));
}

#[test]
fn what_a_slot_said_of_one_tenants_rows_is_made_and_of_no_others() {
    let all = [
        ("delete", 1),
        ("insert", 1),
        ("truncate", 1),
        ("type_and_other_table", 0),
        ("unchanged", 1),
        ("update", 1),
        ("update_key", 1),
        // Its own row, and one that becomes its own; which was another's when it was changed first.
        ("update_whole", 2),
    ];
    assert_eq!(outcomes("pgoutput", ringfence_guard::tenant_move::follow), expected(&all));
}
