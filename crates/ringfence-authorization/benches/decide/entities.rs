//! What stored entities cost a decision in memory: none, and hierarchies of different depth.

use std::sync::Arc;

use ringfence_authorization::{
    Decide, Facts, PolicyBundle, Question, Stores,
    entities::{EntityForm, Uid},
    stores::store_create_unchecked,
};
use ringfence_context::id::StoreId;
use ringfence_store::Records;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    fixture::{Contexts, StandingClock, resource, tenant},
    median, micros,
};

#[derive(Serialize)]
pub(crate) struct Row {
    stored: &'static str,
    depth: usize,
    micros: f64,
}

fn uid(kind: &str, id: &str) -> Uid {
    Uid { kind: format!("Docs::{kind}"), id: id.to_owned() }
}

fn refers(kind: &str, id: &str) -> Value {
    json!({ "__entity": { "type": format!("Docs::{kind}"), "id": id } })
}

pub(crate) async fn run() -> Vec<Row> {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open_sqlite(dir.path()).await.unwrap();
    let stores = Stores::load(records.clone(), Arc::new(StandingClock::default())).await.unwrap();
    let bundle = PolicyBundle {
        namespace: "Docs".to_owned(),
        schema: include_str!("../../../../examples/documents/documents.cedarschema").to_owned(),
        policies: include_str!("../../../../examples/documents/documents.cedar").to_owned(),
    };
    let contexts = Contexts::new();
    let mut cases = Vec::new();
    for (stored, depth) in
        [("nothing", 0), ("user, document, folder, owner", 1), ("user, document, folder, owner", 50)]
    {
        let tenant = tenant(&format!("depth-{depth}"));
        records.tenant_add(&tenant).await.unwrap();
        let document = bundle.seed(StoreId::new(&format!("ps-{tenant}")).unwrap(), tenant.clone()).unwrap();
        records.commit(store_create_unchecked(&document).unwrap()).await.unwrap();
        stores.refresh().await.unwrap();
        let put = async |of: Uid, attrs: Value, parents: Vec<Uid>| {
            let Value::Object(attrs) = attrs else { panic!("{attrs}") };
            stores.entity_put(&tenant, EntityForm { uid: of, attrs, parents }).await.unwrap();
        };
        let group = |number: usize| uid("Group", &number.to_string());
        if depth > 0 {
            for number in (0..depth).rev() {
                put(group(number), json!({}), vec![group(number + 1)]).await;
            }
            put(uid("User", "u-1"), json!({}), vec![group(0)]).await;
            put(uid("User", "owner"), json!({}), Vec::new()).await;
            put(uid("Folder", "f"), json!({ "owner": refers("User", "owner") }), Vec::new()).await;
            let attrs =
                json!({ "folder": refers("Folder", "f"), "readers": refers("Group", &depth.to_string()) });
            put(uid("Document", "d"), attrs, vec![uid("Folder", "f")]).await;
        }
        cases.push((stored, depth, contexts.context(&tenant, "u-1", "viewer"), tenant));
    }
    let mut times = vec![Vec::new(); cases.len()];
    let facts = Facts::new();
    for _ in 0..15 {
        for ((_, depth, context, tenant), times) in cases.iter().zip(&mut times) {
            let resource = resource(tenant, "Document", "d");
            let question = Question {
                context,
                principal: None,
                action: "ViewSummary",
                resource: &resource,
                facts: &facts,
            };
            assert_eq!(stores.decide(&question).unwrap().allow, *depth > 0);
            times.push(micros(1, 1_000, || {
                std::hint::black_box(stores.decide(&question).unwrap());
            }));
        }
    }
    let rows = cases.into_iter().zip(times);
    rows.map(|((stored, depth, ..), times)| Row { stored, depth, micros: median(times) }).collect()
}

pub(crate) fn print(rows: &[Row]) {
    println!("\ndecision by what is stored, in memory, µs (median of 15 interleaved rounds)");
    println!("  stored                          groups above   decision  to nothing stored");
    for Row { stored, depth, micros } in rows {
        println!("  {stored:<30}  {depth:>12}  {micros:>9.1}  {:>17.2}", micros / rows[0].micros);
    }
}
