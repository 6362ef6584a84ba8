//! The policy service, asked by the SDKs people use: boto3, installed once below the target folder, and the AWS SDK for
//! Rust, built once there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::{
    program::{complaint, said},
    session::Plane,
};

/// The interpreter of an environment with what `tests/avp/requirements.txt` names.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let requirements = scripts().join("requirements.txt");
        let wanted = fs::read_to_string(&requirements).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("avp-python");
        let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
        if fs::read_to_string(&installed).unwrap_or_default() != wanted {
            said(&Command::new("python3").args(["-m", "venv"]).arg(&folder).output().unwrap());
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(requirements);
            said(&pip.output().unwrap());
            fs::write(installed, wanted).unwrap();
        }
        python
    })
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/avp")
}

/// What the policy service tells a key: an error's code, or how many stores it sees.
fn ask(plane: &Plane, key: &serde_json::Value) -> String {
    let api = plane.file("demo.json")["api"].as_str().unwrap().to_owned();
    let (id, secret) = (key["id"].as_str().unwrap(), key["secret"].as_str().unwrap());
    let mut asked = Command::new(python());
    said(&asked.arg("-B").arg(scripts().join("ask.py")).args([&api, id, secret]).output().unwrap())
        .trim()
        .to_owned()
}

/// Each scenario looks at all stores and aliases there are of the same tenants.
static SCENARIOS: Mutex<()> = Mutex::new(());

#[test]
fn boto3_calls_every_operation() {
    let _alone = SCENARIOS.lock().unwrap_or_else(PoisonError::into_inner);
    let plane = Plane::shared();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ringfence-authorization/src/avp/model.json");
    let mut scenario = Command::new(python());
    scenario.arg("-B").arg(scripts().join("scenario.py")).arg(plane.dir.join("demo.json")).arg(model);
    let told = said(&scenario.output().unwrap());
    assert!(told.starts_with("34 operations, "), "{told}");
    println!("{told}");
}

#[test]
fn the_aws_sdk_for_rust_calls_every_operation() {
    let _alone = SCENARIOS.lock().unwrap_or_else(PoisonError::into_inner);
    let plane = Plane::shared();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("avp-sdk");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(scripts().join("sdk-rust/Cargo.toml"));
    said(&build.arg("--target-dir").arg(&target).output().unwrap());
    let mut scenario = Command::new(target.join("debug/ringfence-avp-sdk"));
    let told = said(&scenario.arg(plane.dir.join("demo.json")).output().unwrap());
    assert!(told.starts_with("34 operations, "), "{told}");
    println!("{told}");
}

#[test]
fn an_edit_over_the_policy_service_is_enforced_by_the_gateways_next_request() {
    let plane = Plane::shared();
    let token = plane.token("initech", "ines");
    assert_eq!(plane.get("initech", &token, "/payments").status, 200);
    let tenant = plane.tenant("initech");
    let script = "import boto3, json, sys
api, key, store = json.loads(sys.argv[1])
avp = boto3.client('verifiedpermissions', endpoint_url=api, region_name='local',
                   aws_access_key_id=key['id'], aws_secret_access_key=key['secret'])
if sys.argv[2] == 'create':
    text = 'forbid (principal, action == Ledger::Action::\"ListPayments\", resource);'
    print(avp.create_policy(policyStoreId=store, definition={'static': {'statement': text}})['policyId'])
else:
    avp.delete_policy(policyStoreId=store, policyId=sys.argv[2])";
    let about =
        serde_json::json!([plane.file("demo.json")["api"], tenant["access_key"], tenant["policy_store_id"]]);
    let run = |what: &str| {
        let mut python = Command::new(python());
        said(&python.args(["-c", script, &about.to_string(), what]).output().unwrap()).trim().to_owned()
    };
    let policy = run("create");
    let refused = plane.get("initech", &token, "/payments");
    assert_eq!((refused.status, refused.refusal().0), (403, "authorization".to_owned()));
    let listed = plane.json(&["policy", "list", "--tenant", "initech"]);
    assert!(listed["policies"].get(&policy).is_some(), "{listed}");
    run(&policy);
    assert_eq!(plane.get("initech", &token, "/payments").status, 200);
}

#[test]
fn an_access_key_lives_as_long_as_it_and_its_tenant_do() {
    let plane = Plane::shared();
    plane.json(&["tenant", "create", "avp-keys"]);
    let key = plane.json(&["access-key", "create", "--tenant", "avp-keys"]);
    assert_eq!(ask(plane, &key), "1", "its serving store");
    let listed = plane.json(&["access-key", "list", "--tenant", "avp-keys"]);
    assert_eq!(listed[0]["id"], key["id"]);
    assert!(!listed.to_string().contains(key["secret"].as_str().unwrap()), "shown once: {listed}");
    said(&plane.command(&["tenant", "suspend", "avp-keys"]));
    assert_eq!(ask(plane, &key), "AccessDeniedException");
    said(&plane.command(&["tenant", "resume", "avp-keys"]));
    assert_eq!(ask(plane, &key), "1");
    let id = key["id"].as_str().unwrap();
    complaint(&plane.command(&["access-key", "delete", id, "--tenant", "acme"]));
    said(&plane.command(&["access-key", "delete", id, "--tenant", "avp-keys"]));
    assert_eq!(ask(plane, &key), "UnrecognizedClientException");
    let key = plane.json(&["access-key", "create", "--tenant", "avp-keys"]);
    said(&plane.command(&["tenant", "delete", "avp-keys", "--confirm", "avp-keys"]));
    assert_eq!(ask(plane, &key), "UnrecognizedClientException", "it went with its tenant");
    let operators = plane.json(&["access-key", "create"]);
    assert_eq!(ask(plane, &operators), "0");
    said(&plane.command(&["access-key", "delete", operators["id"].as_str().unwrap()]));
    assert_eq!(ask(plane, &operators), "UnrecognizedClientException");
}
