//! Signing in as a browser and an app do together: authorization code with PKCE (RFC 6749 section 4.1, RFC 7636).

use crate::{
    attacker::Attacker,
    forge::{base64url, sha256},
    http::{Answer, Ask},
    scene::{App, MachineClient, Tenant, User},
};

/// The app's secret of every sign-in here: the attacker is the app, and hides nothing from himself.
pub(crate) const VERIFIER: &str = "the-app-of-the-attacker-knows-its-own-verifier-43";

/// What an authorization endpoint is asked with some parameters changed (or left out, where empty).
pub(crate) fn asking(app: &App, changes: &[(&str, &str)]) -> String {
    let challenge = base64url(&sha256(VERIFIER.as_bytes()));
    let fields = [
        ("response_type", "code"),
        ("client_id", app.client_id.as_str()),
        ("redirect_uri", app.redirect_uri.as_str()),
        ("scope", "openid profile"),
        ("state", "s-1"),
        ("nonce", "n-1"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    encoded(&changed(&fields, changes))
}

fn changed<'a>(fields: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = fields.iter().filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    kept.chain(changes).filter(|(_, value)| !value.is_empty()).copied().collect()
}

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The ticket in a sign-in page.
pub(crate) fn ticket(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("name=\"ticket\" value=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// A parameter of the URI an answer redirects to.
pub(crate) fn sent(answer: &Answer, name: &str) -> Option<String> {
    let to = url::Url::parse(answer.header("location")?).ok()?;
    to.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

impl Attacker {
    /// Asks a tenant's authorization endpoint.
    pub(crate) async fn authorize(&self, at: &str, app: &App, changes: &[(&str, &str)]) -> Answer {
        let target = format!("/t/{at}/authorize?{}", asking(app, changes));
        self.issuer(Ask::get(&target, self.scene().base_host())).await
    }

    /// Sends name and password with a ticket.
    pub(crate) async fn password(&self, at: &str, ticket: &str, username: &str, password: &str) -> Answer {
        let form = [("ticket", ticket), ("username", username), ("password", password)];
        self.issuer(self.base("POST", &format!("/t/{at}/sign-in")).form(&form)).await
    }

    /// Asks for a page and sends name and password.
    pub(crate) async fn sign_in(&self, at: &str, app: &App, username: &str, password: &str) -> Answer {
        match ticket(&self.authorize(at, app, &[]).await.text()) {
            Some(ticket) => self.password(at, &ticket, username, password).await,
            None => Answer::default(),
        }
    }

    /// A code for one of a tenant's users.
    pub(crate) async fn code(&self, tenant: &Tenant, user: &User) -> Option<String> {
        let answer = self.sign_in(&tenant.id, &tenant.app, &user.username, &user.password).await;
        sent(&answer, "code")
    }

    /// Presents a code, with some parameters changed.
    pub(crate) async fn redeem(&self, at: &str, app: &App, code: &str, changes: &[(&str, &str)]) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", app.client_id.as_str()),
            ("redirect_uri", app.redirect_uri.as_str()),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        self.issuer(self.base("POST", &format!("/t/{at}/token")).form(&changed(&fields, changes))).await
    }

    /// The client credentials grant.
    pub(crate) async fn machine(&self, at: &str, id: &str, secret: &str) -> Answer {
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        self.issuer(self.base("POST", &format!("/t/{at}/token")).form(&form)).await
    }

    /// Token exchange: an access token for a database token (RFC 8693).
    pub(crate) async fn exchange_token(&self, at: &str, access: &str) -> Answer {
        self.exchange_token_for(at, access, "urn:ringfence:params:oauth:token-type:database-token").await
    }

    /// Exchanges an access token for something of this type.
    pub(crate) async fn exchange_token_for(&self, at: &str, access: &str, wanted: &str) -> Answer {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", access),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("requested_token_type", wanted),
        ];
        self.issuer(self.base("POST", &format!("/t/{at}/token")).form(&form)).await
    }
}

/// What a queue carries, and what its worker gets for it.
const JOB_TOKEN: &str = "urn:ringfence:params:oauth:token-type:job-token";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const DATABASE_TOKEN: &str = "urn:ringfence:params:oauth:token-type:database-token";

impl Attacker {
    /// Exchanges an access token for a job token, for a worker.
    pub(crate) async fn enqueue(&self, at: &str, access: &str, worker: &str) -> Answer {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", access),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", JOB_TOKEN),
            ("scope", "job:nightly"),
            ("audience", worker),
        ];
        self.issuer(self.base("POST", &format!("/t/{at}/token")).form(&form)).await
    }

    /// Exchanges a job token, as a worker.
    pub(crate) async fn run_job(&self, at: &str, job: &str, worker: &MachineClient, wanted: &str) -> Answer {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", job),
            ("subject_token_type", JOB_TOKEN),
            ("requested_token_type", wanted),
            ("client_id", &worker.client_id),
            ("client_secret", &worker.client_secret),
        ];
        self.issuer(self.base("POST", &format!("/t/{at}/token")).form(&changed(&form, &[]))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_changed_added_and_left_out() {
        let app = App::default();
        let query = asking(&app, &[("state", ""), ("scope", "x"), ("prompt", "none")]);
        assert!(
            query.contains("scope=x") && query.contains("prompt=none") && !query.contains("state="),
            "{query}"
        );
        assert_eq!(query.matches("scope=").count(), 1);
    }

    #[test]
    fn tickets_and_codes_are_found() {
        assert_eq!(ticket(r#"<input name="ticket" value="a.b">"#).unwrap(), "a.b");
        let answer =
            Answer::read(b"HTTP/1.1 303 See Other\r\nlocation: http://127.0.0.1/cb?code=c%2B1&iss=i\r\n\r\n");
        assert_eq!(sent(&answer, "code").unwrap(), "c+1");
    }
}
