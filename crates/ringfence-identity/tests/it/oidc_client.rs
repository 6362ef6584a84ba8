//! A real OpenID Connect client library (openidconnect) over real sockets: discovery, PKCE, token, ID token, UserInfo.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use openidconnect::{
    AuthorizationCode, ClientId, CsrfToken, IssuerUrl, Nonce, PkceCodeChallenge, RedirectUrl, Scope,
    TokenResponse,
    core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims},
};
use ringfence_identity::MembershipHook;

use crate::bench::{CALLBACK, PASSWORD, bench_with, form};

type Http = HyperClient<HttpConnector, Full<bytes::Bytes>>;

#[derive(Debug, thiserror::Error)]
#[error("the exchange failed")]
struct Failed;

/// Sends one request as the library asks for; follows no redirect.
async fn send(http: Http, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, Failed> {
    let response = http.request(request.map(|body| Full::new(body.into()))).await.map_err(|_| Failed)?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Failed)?.to_bytes().to_vec();
    Ok(http::Response::from_parts(parts, body))
}

#[tokio::test]
async fn a_client_library_signs_in_by_discovery_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let bench = bench_with(&base, |pools| Arc::new(MembershipHook::new(pools))).await;
    let app = bench.app.clone();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let http: Http = HyperClient::builder(TokioExecutor::new()).build_http();
    let call = |request| send(http.clone(), request);

    let issuer = IssuerUrl::new(format!("{base}/t/acme")).unwrap();
    let metadata = CoreProviderMetadata::discover_async(issuer, &call).await.unwrap();
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new("web".to_owned()), None)
        .set_redirect_uri(RedirectUrl::new(CALLBACK.to_owned()).unwrap());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (authorize, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("profile".to_owned()))
        .set_pkce_challenge(challenge)
        .url();

    // The person: opens the page and sends its form to where the page says.
    let page = call(http::Request::get(authorize.as_str()).body(vec![]).unwrap()).await.unwrap();
    let page = String::from_utf8(page.into_body()).unwrap();
    let field = |from: &str| page.split_once(from).unwrap().1.split_once('"').unwrap().0.to_owned();
    let (action, ticket) = (field("action=\""), field("name=\"ticket\" value=\""));
    let body = form(&[("ticket", &ticket), ("username", "alice"), ("password", PASSWORD)]);
    let post = http::Request::post(action).header("content-type", "application/x-www-form-urlencoded");
    let answer = call(post.body(body.into_bytes()).unwrap()).await.unwrap();
    let location = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let sent = |name: &str| location.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!(&sent("state"), state.secret());
    assert_eq!(sent("iss"), format!("{base}/t/acme"));

    let tokens = client
        .exchange_code(AuthorizationCode::new(sent("code")))
        .unwrap()
        .set_pkce_verifier(verifier)
        .request_async(&call)
        .await
        .unwrap();
    let id_verifier = client.id_token_verifier();
    let claims = tokens.id_token().unwrap().claims(&id_verifier, &nonce).unwrap();
    assert_eq!(claims.subject().as_str(), bench.alice.as_str());
    assert_eq!(claims.preferred_username().unwrap().as_str(), "alice");
    assert!(tokens.id_token().unwrap().claims(&id_verifier, &Nonce::new_random()).is_err());
    let user: CoreUserInfoClaims = client
        .user_info(oauth2_token(&tokens), Some(claims.subject().clone()))
        .unwrap()
        .request_async(&call)
        .await
        .unwrap();
    assert_eq!(user.subject(), claims.subject());
    server.abort();
}

fn oauth2_token(tokens: &openidconnect::core::CoreTokenResponse) -> openidconnect::AccessToken {
    use openidconnect::OAuth2TokenResponse;
    tokens.access_token().clone()
}
