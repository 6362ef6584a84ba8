//! What policies see of a job: its name, where their schema declares it, beside all that is stored of who enqueued it.

use ringfence_authorization::WhenUnproved;
use ringfence_context::Reason;
use serde_json::json;

use crate::{
    entity_world::{World, refers, uid},
    fixture::{gate, resource},
    govern::change,
};

const BARRED: &str =
    "forbid (principal, action, resource) when { principal has of_job && principal.of_job == \"barred\" };";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_known_by_its_name_where_the_schema_declares_it() {
    for declared in [true, false] {
        let world = World::new().await;
        let acme = world.tenant("acme").await;
        if declared {
            let (mut own, revision) = world.stores.document(&acme).await.unwrap();
            let schema = own.schema.replace("subject: String", "subject: String, of_job?: String");
            assert_ne!(own.schema, schema);
            own.schema = schema;
            own.policies.insert("barred".to_owned(), BARRED.to_owned());
            let publishable = gate().await.check(own, WhenUnproved::Accept).await.unwrap();
            world.stores.document_put(&publishable, revision, change()).await.unwrap();
        }
        let barred = if declared { Err(Reason::Denied) } else { Ok(()) };
        let view = |id: &str, action: &str, job: Option<&str>| {
            let context = world.contexts.context_of(&acme, "u-1", "viewer", job);
            world.ask_as(&context, action, &resource(&acme, "Document", id))
        };
        world.put(&acme, uid("Document", "open"), json!({}), &[uid("Folder", "public")]).await;
        for (job, expected) in [(None, Ok(())), (Some("nightly"), Ok(())), (Some("barred"), barred)] {
            assert_eq!(view("open", "ViewAll", job), expected, "{declared} {job:?}");
        }
        // Who enqueued it is stored: the job has what is stored of them, and its name.
        world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "sales")]).await;
        world.put(&acme, uid("Document", "plan"), json!({ "readers": refers("Group", "sales") }), &[]).await;
        for (job, expected) in [(None, Ok(())), (Some("nightly"), Ok(())), (Some("barred"), barred)] {
            assert_eq!(view("plan", "ViewSummary", job), expected, "{declared} {job:?}");
            assert_eq!(view("plan", "Edit", job), Err(Reason::Denied), "{declared} {job:?}");
        }
    }
}
