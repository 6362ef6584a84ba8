//! Every seed, as libFuzzer begins: so that what was found once stays mended, and the targets go on to fit what they feed.

use std::{fs, path::Path};

use ringfence_fuzz::{
    World,
    targets::{self, foreign},
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
