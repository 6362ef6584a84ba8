//! Cedar's published integration tests: every folder in their format can be run.
//!
//! The format is that of `cedar-policy/cedar-integration-tests`: a JSON file names a policy set, a schema, entities and
//! requests with what is expected of each. Paths are relative to the folder. `RINGFENCE_CEDAR_CORPUS=<folder>` runs
//! another folder beside our own cases: with their `tests/` or the unpacked `corpus-tests/` inside.

#![expect(clippy::disallowed_methods, reason = "Cedar itself is what is compared with")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, EntityId, EntityUid, PolicySet, Request,
    Response, Schema, ValidationMode, Validator,
};
use ringfence_authorization::SlicedPolicies;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    policies: String,
    entities: String,
    schema: String,
    should_validate: bool,
    requests: Vec<Asked>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    description: String,
    principal: Named,
    action: Named,
    resource: Named,
    context: serde_json::Value,
    #[serde(default = "yes")]
    validate_request: bool,
    decision: Decision,
    reason: BTreeSet<String>,
    errors: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

fn yes() -> bool {
    true
}

impl Named {
    fn uid(&self) -> EntityUid {
        EntityUid::from_type_name_and_id(self.kind.parse().unwrap(), EntityId::new(&self.id))
    }
}

fn outcome(response: &Response) -> (Decision, BTreeSet<String>, BTreeSet<String>) {
    let diagnostics = response.diagnostics();
    let errors = diagnostics.errors().map(ToString::to_string).collect();
    (response.decision(), diagnostics.reason().map(ToString::to_string).collect(), errors)
}

/// What running a folder came to.
#[derive(Debug, Default)]
struct Tally {
    files: usize,
    requests: usize,
    /// Files Cedar's validator of this version judges otherwise than the version the corpus was made with.
    validated_otherwise: Vec<PathBuf>,
}

impl Tally {
    fn run(&mut self, folder: &Path, file: &Path) {
        let read =
            |path: &str| fs::read_to_string(folder.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let case: Case = serde_json::from_str(&fs::read_to_string(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let policies: PolicySet = read(&case.policies).parse().unwrap();
        let (schema, _) = Schema::from_cedarschema_str(&read(&case.schema)).unwrap();
        let validated = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if validated.validation_passed() != case.should_validate {
            self.validated_otherwise.push(file.to_owned());
        }
        let entities = Entities::from_json_str(&read(&case.entities), Some(&schema)).unwrap();
        let sliced = SlicedPolicies::new(&policies);
        for asked in &case.requests {
            let request = asked.request(&schema);
            let ours = sliced.is_authorized(&request, &entities);
            let place = format!("{}: {}", file.display(), asked.description);
            let whole = Authorizer::new().is_authorized(&request, &policies, &entities);
            assert_eq!(outcome(&ours), outcome(&whole), "{place}");
            let failed: BTreeSet<String> = ours
                .diagnostics()
                .errors()
                .map(|error| match error {
                    AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
                })
                .collect();
            let (decision, reason, _) = outcome(&ours);
            let expected = (asked.decision, &asked.reason, &asked.errors);
            assert_eq!((decision, &reason, &failed), expected, "{place}");
        }
        self.files += 1;
        self.requests += case.requests.len();
    }

    fn run_all(folder: &Path) -> Self {
        let (mut files, mut tally) = (Vec::new(), Self::default());
        cases(folder, &mut files);
        files.sort();
        files.iter().for_each(|file| tally.run(folder, file));
        tally
    }
}

impl Asked {
    fn request(&self, schema: &Schema) -> Request {
        let schema = self.validate_request.then_some(schema);
        let action = self.action.uid();
        let context = Context::from_json_value(self.context.clone(), schema.map(|s| (s, &action))).unwrap();
        Request::new(self.principal.uid(), action, self.resource.uid(), context, schema).unwrap()
    }
}

/// The case files below a folder: JSON files with requests, not those with entities.
fn cases(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cases(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "json")
            && fs::read_to_string(&path).unwrap().contains("\"requests\"")
        {
            found.push(path);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "names a folder of somebody else's tests; no product reads it")]
fn cedars_integration_corpus() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let tally = Tally::run_all(&ours);
    assert!(tally.files >= 3 && tally.requests >= 15 && tally.validated_otherwise.is_empty(), "{tally:?}");
    if let Ok(folder) = std::env::var("RINGFENCE_CEDAR_CORPUS") {
        let Tally { files, requests, validated_otherwise } = Tally::run_all(Path::new(&folder));
        let otherwise = validated_otherwise.len();
        println!("{folder}: {files} files, {requests} requests agree; {otherwise} files validated otherwise");
        assert!(files > 0, "no case in {folder}");
    }
}
