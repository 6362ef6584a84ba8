//! `ringfence shard`: what is predicted and what is drawn, by command.

use serde_json::Value;

use crate::program::{complaint, run, said};

fn told(arguments: &[&str]) -> Value {
    serde_json::from_str(&said(&run(&[&["shard"], arguments, &["--json"]].concat()))).unwrap()
}

#[test]
fn a_plan_and_what_is_drawn_agree() {
    let pool = ["--workers", "50", "--size", "4"];
    let plan = told(&[&["plan"], &pool[..]].concat());
    assert_eq!((plan["shards"].as_f64(), plan["lost"].as_u64()), (Some(230_300.0), Some(4)));
    let drawn = told(&[&["simulate"], &pool[..], &["--tenants", "5000", "--zones", "1"]].concat());
    for (planned, drawn) in
        plan["reached"].as_array().unwrap().iter().zip(drawn["reached"].as_array().unwrap())
    {
        assert_eq!(planned["predicted"], drawn["predicted"]);
        let [predicted, measured] = ["predicted", "measured"].map(|name| drawn[name].as_f64().unwrap());
        assert!((predicted - measured).abs() < 0.03, "{drawn}");
    }
    assert_eq!(
        drawn["reached"].as_array().unwrap().iter().map(|row| row["tenants"].as_u64().unwrap()).sum::<u64>(),
        5000
    );
    let again = told(&[&["simulate"], &pool[..], &["--tenants", "5000"]].concat());
    assert_eq!(again, drawn, "the same seed");
    let bounded = told(&["simulate", "--workers", "20", "--size", "3", "--common", "1", "--tenants", "10"]);
    assert_eq!(
        (bounded["reached"][2]["tenants"].as_u64(), bounded["most_tenants"].as_f64()),
        (Some(0), Some(60.0))
    );
}

#[test]
fn what_can_not_be_is_said() {
    for (arguments, expected) in [
        (&["plan", "--workers", "3", "--size", "4"][..], "--size 4 is more than --workers 3"),
        (&["plan", "--workers", "3", "--size", "2", "--lost", "4"], "--lost 4 is more than --workers 3"),
        (
            &["simulate", "--workers", "4", "--size", "2", "--common", "1", "--tenants", "9"],
            "after 6 tenants: no shard is left",
        ),
    ] {
        let done = run(&[&["shard"], arguments].concat());
        assert!(
            !done.status.success() && complaint(&done).contains(expected),
            "{arguments:?}: {}",
            complaint(&done)
        );
    }
}
