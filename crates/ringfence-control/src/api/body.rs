//! A JSON body of an operator's: what is wrong with one is said in words, as everything else is.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
};
use serde::de::DeserializeOwned;

use crate::api::failure::ApiFailure;

/// A body that was read. Stands after the caller in a handler's arguments: nobody else's is read.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiFailure> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        match read {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiFailure::Told(rejection.status(), rejection.body_text())),
        }
    }
}
