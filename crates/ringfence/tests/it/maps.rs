//! Who changed the maps, by command; and types for a backend.

use std::{fs, process::Command};

use crate::{
    program::{complaint, said, scratch},
    session::Plane,
};

#[test]
fn x15_a_change_by_command_is_shown_with_who_and_why() {
    let plane = Plane::shared();
    plane.json(&["tenant", "create", "chart", "--reason", "contract 9"]);
    let user = ["user", "create", "ann", "--tenant", "chart", "--role", "admin", "--reason", "hired"];
    let user = plane.json(&user)["id"].as_str().unwrap().to_owned();
    said(&plane.command(&["user", "disable", &user, "--tenant", "chart", "--reason", "left"]));
    let key = plane.json(&["access-key", "create", "--tenant", "chart"])["id"].as_str().unwrap().to_owned();
    said(&plane.command(&["access-key", "delete", &key, "--tenant", "chart", "--reason", "leaked"]));
    let shown = plane.json(&["audit", "--tenant", "chart"]);
    let lines: Vec<String> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} | {}", step["did"].as_str().unwrap(), step["reason"].as_str().unwrap_or("-")))
        .collect();
    let expected = [
        "made public client ringfence-cli | contract 9".to_owned(),
        "made the policy store, in a store of their own | contract 9".to_owned(),
        format!("made user ann ({user}) with role admin | hired"),
        format!("disabled user {user} | left"),
        format!("made access key {key} | -"),
        format!("ended access key {key} | leaked"),
    ];
    assert_eq!(lines, expected);
    let table = said(&plane.command(&["audit", "--tenant", "chart", "--after", "4"]));
    assert!(
        table.contains("operator operator") && table.contains("leaked") && !table.contains("hired"),
        "{table}"
    );
    assert!(complaint(&plane.command(&["audit", "--tenant", "nowhere"])).contains("not known"));
}

#[test]
fn hj10_types_for_a_backend_are_written_by_command_and_compile() {
    let plane = Plane::shared();
    plane.json(&["tenant", "create", "typed"]);
    let folder = scratch("types");
    for (language, file, compiler) in
        [("rust", "types.rs", "rustc"), ("python", "types_of.py", "python3"), ("typescript", "types.ts", "")]
    {
        let out = folder.join(file).display().to_string();
        said(&plane.command(&[
            "policy",
            "types",
            "--tenant",
            "typed",
            "--language",
            language,
            "--out",
            &out,
        ]));
        let printed = said(&plane.command(&["policy", "types", "--tenant", "typed", "--language", language]));
        let text = fs::read_to_string(&out).unwrap();
        assert_eq!(text.trim_end(), printed.trim_end());
        assert!(
            text.contains("From the schema of the tenant \"typed\"") && text.contains("PaymentId"),
            "{text}"
        );
        let metadata = ["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir"];
        let compiled = match compiler {
            "rustc" => Command::new(compiler).args(metadata).arg(&folder).arg(&out).status(),
            "python3" => Command::new(compiler).args(["-m", "py_compile", &out]).status(),
            _ => continue,
        };
        assert!(compiled.unwrap().success(), "{language}");
    }
    assert!(
        !plane.command(&["policy", "types", "--tenant", "typed", "--language", "cobol"]).status.success()
    );
}
