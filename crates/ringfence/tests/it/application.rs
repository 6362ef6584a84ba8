//! One application, written with the SDK, for tenants of every shape: the sample app, as it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    data_move::SHAPES,
    http::Answer,
    program::{self, said, scratch},
    session::Plane,
};

/// The sample app's settings, and a tier for each shape.
fn settings(folder: &Path) -> PathBuf {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ledger");
    for file in ["routes.toml", "schema.sql", "policies/ledger.cedar", "policies/ledger.cedarschema"] {
        let from = sample.join(file);
        fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
    }
    let ledger = Path::new(program::path()).with_file_name("ledger").display().to_string();
    let text = fs::read_to_string(sample.join("ringfence.toml")).unwrap().replace("{ledger}", &ledger);
    let (_, tier) = text.split_once("[tiers.standard]\n").unwrap();
    let tiers = SHAPES.map(|shape| format!("\n[tiers.{shape}]\n{tier}\ndata = \"{shape}\"\n")).concat();
    let path = folder.join("ringfence.toml");
    fs::write(&path, format!("{text}{tiers}")).unwrap();
    path
}

/// A tenant, an administrator's token and an approver's.
struct Tenant<'a> {
    plane: &'a Plane,
    id: &'static str,
    tokens: [String; 2],
}

impl<'a> Tenant<'a> {
    /// Of the shape that it is called by.
    fn new(plane: &'a Plane, id: &'static str) -> Self {
        assert_eq!(plane.json(&["tenant", "create", id, "--tier", id])["data"], id);
        let tokens = [("ann", "admin"), ("bob", "approver")].map(|(user, role)| {
            let made = plane.json(&["user", "create", user, "--tenant", id, "--role", role]);
            let sign_in = ["token", "--tenant", id, "--user", user, "--password-stdin"];
            said(&plane.command_with(&sign_in, made["password"].as_str().unwrap())).trim().to_owned()
        });
        Self { plane, id, tokens }
    }

    fn get(&self, path: &str) -> Answer {
        self.plane.get(self.id, &self.tokens[0], path)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.plane.post(self.id, &self.tokens[0], path, body)
    }

    /// What it is given under a name of its own.
    fn made(&self, path: &str, body: &Value) -> String {
        let answer = self.post(path, body);
        assert_eq!(answer.status, 201, "{}: {answer:?}", self.id);
        assert_eq!(answer.json()["tenant_id"], self.id);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// What the application answers to a day's work; and a payment.
    fn works(&self) -> (Vec<(u16, Value)>, String) {
        let account = self.made("/accounts", &json!({ "name": "operations", "currency": "EUR" }));
        let to = json!({ "name": "Hooli", "country": "DE", "iban": "DE00" });
        let to = self.made("/beneficiaries", &to);
        let payment = |amount: i64, memo: &str, to: &str| {
            json!({ "account_id": account, "beneficiary_id": to,
            "amount": amount, "currency": "EUR", "memo": memo })
        };
        let one = self.made("/payments", &payment(100, "a", &to));
        let nobody = "00000000-0000-4000-8000-000000000000";
        let view = format!("/payments/{one}");
        let refund = format!("{view}/refund");
        let answers = vec![
            self.post("/payments", &payment(0, "is nothing", &to)),
            self.post("/payments", &payment(1, "to nobody", nobody)),
            self.post(
                "/payments/batch",
                &json!({ "payments": [payment(2, "b", &to), payment(3, "c", &to)] }),
            ),
            // All or none: one transaction.
            self.post(
                "/payments/batch",
                &json!({ "payments": [payment(4, "d", &to), payment(5, "e", nobody)] }),
            ),
            self.get("/payments"),
            self.get(&view),
            self.get(&format!("/payments/{nobody}")),
            // Four eyes.
            self.post(&refund, &json!({})),
            self.plane.post(self.id, &self.tokens[1], &refund, &json!({})),
            self.get("/reports/volume"),
            self.get("/accounts"),
            self.get("/beneficiaries"),
        ];
        (answers.iter().map(|answer| self.told(answer)).collect(), one)
    }

    /// An answer without what is drawn anew for each tenant.
    fn told(&self, answer: &Answer) -> (u16, Value) {
        let body = answer.json();
        if answer.status >= 400 {
            return (answer.status, json!([body["layer"], body["type"], body["detail"]]));
        }
        (answer.status, self.plain(body))
    }

    fn plain(&self, value: Value) -> Value {
        match value {
            Value::Array(mut all) => {
                // Those of one batch are of one moment.
                all.sort_by_key(|one| one["memo"].to_string());
                all.into_iter().map(|one| self.plain(one)).collect()
            }
            Value::Object(members) => {
                let drawn = |name: &str| name == "created_by" || name == "id" || name.ends_with("_id");
                let plain = members.into_iter().map(|(name, value)| match name.as_str() {
                    "tenant_id" => {
                        assert_eq!(value, self.id);
                        (name, Value::Null)
                    }
                    drawn_name if drawn(drawn_name) => (name, Value::Null),
                    _ => (name, self.plain(value)),
                });
                Value::Object(plain.collect())
            }
            other => other,
        }
    }
}

#[test]
fn the_same_application_works_for_tenants_of_every_shape_and_goes_with_them() {
    let folder = scratch("application");
    let config = settings(&folder);
    let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
    let tenants = SHAPES.map(|shape| Tenant::new(&plane, shape));
    let (days, payments): (Vec<_>, Vec<_>) = tenants.iter().map(Tenant::works).unzip();
    let statuses: Vec<u16> = days[0].iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [422, 422, 201, 422, 200, 200, 404, 403, 200, 200, 200, 200], "{:?}", days[0]);
    assert_eq!(days[0][4].1.as_array().unwrap().len(), 3, "{:?}", days[0][4]);
    for (day, tenant) in days.iter().zip(&tenants) {
        assert_eq!(*day, days[0], "{}", tenant.id);
    }
    // Another's payment is no payment.
    for (at, tenant) in tenants.iter().enumerate() {
        let others = tenant.get(&format!("/payments/{}", payments[(at + 1) % payments.len()]));
        assert_eq!(tenant.told(&others), days[0][6], "{}", tenant.id);
    }
    // The application is asked all the same where its tenant has been moved.
    let [rows, .., server] = &tenants;
    for (tenant, to) in [(rows, "server"), (server, "schema")] {
        let list = || tenant.told(&tenant.get("/payments"));
        let before = list();
        let moved = plane.json(&["tenant", "move-data", tenant.id, "--to", to]);
        assert_eq!(moved["state"], "moved", "{moved}");
        assert_eq!(list(), before);
        tenant.made("/accounts", &json!({ "name": "after", "currency": "EUR" }));
        let accounts = |answer: &Answer| answer.json().as_array().unwrap().len();
        assert_eq!(accounts(&tenant.get("/accounts")), 2);
    }
}
