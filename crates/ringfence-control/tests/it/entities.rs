//! Entities that operators store over the API.

use http::{Method, StatusCode};
use ringfence_context::limits;

use crate::bench::{bearer, with_bench};

#[test]
fn reject_entity_bytes() {
    with_bench(async |bench| {
        bench.tenant("entity-bytes").await;
        let put = async |bytes: usize| {
            let entity = r#"{"uid":{"type":"Ledger::User","id":"ann"}}"#;
            let mut headers = bearer(&bench.operator);
            headers.insert("content-type", "application/json".parse().unwrap());
            let body = format!("{entity}{}", " ".repeat(bytes - entity.len()));
            bench.api(Method::PUT, "/v1/tenants/entity-bytes/entities", headers, &body).await
        };
        let most = put(limits::ENTITY_BYTES).await;
        assert_eq!(most.status, StatusCode::OK, "{most:?}");
        assert_eq!(put(limits::ENTITY_BYTES + 1).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}
