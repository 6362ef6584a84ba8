//! Types for backends: what a person reads in `tests/types`, compiled by the languages' own compilers.

use std::{fs, path::PathBuf, process::Command};

use ringfence_authorization::{
    StoreDocument,
    types::{Language, types},
};
use ringfence_context::{TenantId, id::StoreId};

const DEMO: &str = include_str!("../../../../examples/ledger/policies/ledger.cedarschema");
const EVERY: &str = include_str!("../types/every.cedarschema");
const HOSTILE: &str = include_str!("../types/hostile.cedarschema");

fn written(schema: &str, language: Language) -> String {
    let document = StoreDocument {
        id: StoreId::new("ps-acme").unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        namespace: "Ledger".to_owned(),
        schema: schema.to_owned(),
        policies: <_>::default(),
        templates: <_>::default(),
        links: <_>::default(),
    };
    types(&document, language).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("types-{name}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a compiler; gives what it complains of.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Compiles a program that stands after the generated types.
fn rust(name: &str, text: &str) -> Result<(), String> {
    let (folder, file) = (folder(name), folder(name).join("types.rs"));
    fs::write(&file, text).unwrap();
    let out = folder.display().to_string();
    let arguments = ["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir", &out];
    run("rustc", &[&arguments[..], &["-D", "warnings", &file.display().to_string()]].concat())
}

fn python(name: &str, text: &str) -> Result<(), String> {
    let file = folder(name).join("types_of.py");
    fs::write(&file, text).unwrap();
    run("python3", &[&file.display().to_string()])
}

#[test]
fn hj10_what_is_written_is_what_somebody_has_read() {
    let mut unread = Vec::new();
    for (name, schema) in [("demo", DEMO), ("every", EVERY)] {
        for (language, ending) in
            [(Language::Rust, "rs"), (Language::Typescript, "ts"), (Language::Python, "py")]
        {
            let text = written(schema, language);
            assert_eq!(text, written(schema, language), "the same from the same");
            let file = format!("{name}.{ending}");
            let found = folder("found").join(&file);
            fs::write(&found, &text).unwrap();
            let read = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/types").join(&file);
            if fs::read_to_string(read).unwrap_or_default() != text {
                unread.push(found);
            }
        }
    }
    assert!(unread.is_empty(), "read these, then put them into tests/types: {unread:?}");
}

#[test]
fn hj10_rust_compiles_and_one_id_is_not_taken_for_another() {
    let demo = written(DEMO, Language::Rust);
    let with = |body: &str| {
        format!("{demo}\npub fn view(_: &PaymentId, _: Action) {{}}\npub fn tried() {{ {body} }}\n")
    };
    rust("every", &written(EVERY, Language::Rust)).unwrap();
    let right = "let id = PaymentId::new(\"p\"); view(&id, Action::ViewPayment); \
         assert!(Action::ViewPayment.as_str() == \"ViewPayment\" && PaymentId::TYPE == \"Ledger::Payment\"); \
         let _ = PaymentAttributes { tenant: String::new(), created_by: None, amount: Some(1), status: None };";
    rust("right", &with(right)).unwrap();
    for (wrong, complaint) in [
        ("view(&AccountId::new(\"a\"), Action::ViewPayment)", "mismatched types"),
        ("view(&PaymentId::new(\"p\"), Action::Nothing)", "no variant"),
        (
            "let _ = PaymentAttributes { created_by: None, amount: None, status: None };",
            "missing field `tenant`",
        ),
    ] {
        let said = rust("wrong", &with(wrong)).unwrap_err();
        assert!(said.contains(complaint), "{wrong}: {said}");
    }
}

#[test]
fn hj10_python_runs_and_one_id_is_not_taken_for_another() {
    python("every", &written(EVERY, Language::Python)).unwrap();
    let demo = written(DEMO, Language::Python);
    let right = "assert PaymentId('x') != AccountId('x') and PaymentId('x') == PaymentId('x')\n\
         assert Action.VIEW_PAYMENT.value == 'ViewPayment' and PaymentId_TYPE == 'Ledger::Payment'\n\
         assert PaymentAttributes(tenant='acme').amount is None\n\
         assert PaymentAttributes.KEYS['created_by'] == 'created_by'\n";
    python("right", &format!("{demo}\n{right}")).unwrap();
    for wrong in ["PaymentAttributes(amount=1)", "PaymentId('x').value = 'y'", "Action('Nothing')"] {
        python("wrong", &format!("{demo}\n{wrong}\n")).unwrap_err();
    }
}

#[test]
fn hj10_nothing_a_schema_says_becomes_code() {
    let text = written(HOSTILE, Language::Rust);
    rust("hostile", &text).unwrap();
    rust("hostile", &format!("{text}\npub const EVIL: u8 = 1;\n")).expect("it has made none of its own");
    let text = written(HOSTILE, Language::Python);
    python("hostile", &format!("{text}\nassert 'evil' not in globals() and not hasattr(Action, 'evil')\n"))
        .unwrap();
    let text = written(HOSTILE, Language::Typescript);
    // Every line is a declaration, a member, a bracket or a comment; what is hostile stands in literals and comments.
    let mut comment = false;
    for line in text.lines() {
        let bare = line.trim_start();
        comment |= bare.starts_with("/**");
        let starts = ["//", "export ", "readonly \"", "}"].iter().any(|start| bare.starts_with(start));
        let name = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let member = bare.split_once(": \"").is_some_and(|(before, _)| name(before));
        assert!(comment || starts || member || bare.is_empty(), "{line:?}");
        assert!(comment || line.is_ascii(), "{line:?}");
        if comment && let Some(end) = bare.find("*/") {
            assert_eq!(end, bare.len() - 2, "{line:?}");
            comment = false;
        }
    }
    assert!(!comment);
}
