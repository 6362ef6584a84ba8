//! The attacker: all users, clients and keys of his own tenant, the addresses everybody knows, and his tools.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use ringfence_context::Clock;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    dice::Dice,
    error::ProveError,
    forge::{self, Key, Signer, StolenKeys},
    http::{self, Answer, Ask, HASTE, PATIENCE},
    judge::{Ground, Target},
    leak::{Leak, differing},
    outcome::Outcome,
    scene::{ALLY, ATTACKER, Scene, Tenant, VICTIM},
    shelf::Shelf,
    stock::Stock,
    tap::Transcript,
};

/// Longest wait for a rate to allow a request again, and how often.
const SLOWED: (Duration, usize) = (Duration::from_secs(1), 3);

/// How often answers may differ for something that an earlier attack has left behind, before that is a leak.
const UNSTEADY: usize = 5;

/// What the attacker has got by signing in, once for all attacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loot {
    /// Access tokens as issued, by role.
    pub(crate) issued: Vec<(String, String)>,
    /// An ID token.
    pub(crate) id_token: Option<String>,
    /// A database token, or how it was refused.
    pub(crate) database: Option<String>,
    /// How the exchange for it ended.
    pub(crate) exchange: Outcome,
    /// The audience of access tokens.
    pub(crate) audience: String,
    /// An access token of the victim's machine: the victim's own part in an attack, never the attacker's.
    pub(crate) victims: Option<String>,
    /// A database token of the victim's machine, likewise.
    pub(crate) victims_database: Option<String>,
    /// A token of the own decision client.
    pub(crate) decisions: Option<String>,
    /// A token of the own other tenant's machine, and of its decision client.
    pub(crate) ally: Option<String>,
    /// A database token of that machine's.
    pub(crate) ally_database: Option<String>,
    /// See there.
    pub(crate) ally_decisions: Option<String>,
    /// A job token of the own tenant's machine, which is its worker too.
    pub(crate) job: Option<String>,
    /// The same of the victim's, as whoever reads the victim's queue has it.
    pub(crate) victims_job: Option<String>,
    /// A token of the victim's decision client: the victim's own part.
    pub(crate) victims_decisions: Option<String>,
    /// What the victim keeps at the policy service.
    pub(crate) shelf: Shelf,
    /// What the victims have stored of their entities.
    pub(crate) stock: Stock,
}

/// What does not change during a run.
pub(crate) struct Camp {
    /// The scene.
    pub(crate) scene: Scene,
    /// The gateway and issuers.
    pub(crate) gateway: SocketAddr,
    /// The control and decision API.
    pub(crate) api: SocketAddr,
    /// His own tenant's keys.
    pub(crate) keys: StolenKeys,
    /// A key nobody knows.
    pub(crate) stranger: Key,
    /// What is planted.
    pub(crate) ground: Ground,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Values nobody else would choose.
    pub(crate) dice: Dice,
}

impl Camp {
    /// Pitches it.
    ///
    /// # Errors
    /// [`ProveError::Scene`] where an address or key is missing.
    pub(crate) fn pitch(
        scene: Scene,
        ground: Ground,
        clock: Arc<dyn Clock>,
        dice: Dice,
    ) -> Result<Self, ProveError> {
        let address = |host: &str| host.parse().map_err(|_| ProveError::Scene("not an address"));
        let (gateway, api) = (address(scene.base_host())?, address(scene.api_host())?);
        let stolen = scene.tenant(ATTACKER)?.stolen.as_ref();
        let keys = StolenKeys::read(stolen.ok_or(ProveError::Scene("the attacker has no stolen keys"))?)?;
        let stranger = Key::from_seed(&dice.bytes())?;
        scene.tenant(VICTIM)?;
        Ok(Self { scene, gateway, api, keys, stranger, ground, clock, dice })
    }
}

/// One attack's hands.
#[derive(Clone)]
pub(crate) struct Attacker {
    camp: Arc<Camp>,
    loot: Arc<Loot>,
    /// What he has received.
    pub(crate) transcript: Transcript,
    /// The victim's object he aims at.
    pub(crate) target: Target,
    /// An object of his own.
    pub(crate) own: Target,
    /// How often he waits for his rate to allow a request.
    waits: usize,
}

impl Attacker {
    /// Hands for the attack of this number.
    pub(crate) fn new(camp: &Arc<Camp>, loot: &Arc<Loot>, number: usize) -> Self {
        let pick = |from: &[Target]| {
            let at = number.checked_rem(from.len()).and_then(|at| from.get(at)).copied();
            at.unwrap_or(Target { account: Uuid::nil(), beneficiary: Uuid::nil(), payment: Uuid::nil() })
        };
        Self {
            camp: Arc::clone(camp),
            loot: Arc::clone(loot),
            transcript: Transcript::default(),
            target: pick(&camp.ground.targets),
            own: pick(&camp.ground.own),
            waits: SLOWED.1,
        }
    }

    /// The victim's hands: what they receive is the victim's to see.
    pub(crate) fn victim(&self) -> Self {
        Self { transcript: Transcript::default(), ..self.clone() }
    }

    /// The same hands, without waiting when slowed down.
    pub(crate) fn hasty(&self) -> Self {
        Self { waits: 0, ..self.clone() }
    }

    /// What does not change.
    pub(crate) fn camp(&self) -> &Camp {
        &self.camp
    }

    /// What signing in gave.
    pub(crate) fn loot(&self) -> &Loot {
        &self.loot
    }

    /// The scene.
    pub(crate) fn scene(&self) -> &Scene {
        &self.camp.scene
    }

    /// A tenant; the camp was pitched with all of them.
    pub(crate) fn tenant(&self, id: &str) -> &Tenant {
        static NOBODY: std::sync::OnceLock<Tenant> = std::sync::OnceLock::new();
        self.camp.scene.tenant(id).unwrap_or_else(|_| NOBODY.get_or_init(Tenant::nobody))
    }

    /// The attacker's own tenant.
    pub(crate) fn acme(&self) -> &Tenant {
        self.tenant(ATTACKER)
    }

    /// The attacker's other tenant, whose policies are in a shared store.
    pub(crate) fn hooli(&self) -> &Tenant {
        self.tenant(ALLY)
    }

    /// The victim's.
    pub(crate) fn globex(&self) -> &Tenant {
        self.tenant(VICTIM)
    }

    /// Seconds since the epoch.
    pub(crate) fn now(&self) -> u64 {
        self.camp.clock.now().seconds()
    }

    /// A value nobody else would choose.
    pub(crate) fn nonce(&self) -> String {
        self.camp.dice.hex()
    }

    /// An id nobody has.
    pub(crate) fn nobody(&self) -> Uuid {
        self.camp.dice.uuid()
    }

    /// Sends to the gateway. Where his rate is used up by other attacks, he waits: that stops nobody who is patient.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        self.send_to(self.camp.gateway, ask).await
    }

    /// Sends to an issuer's endpoint, at the gateway's address.
    pub(crate) async fn issuer(&self, ask: Ask) -> Answer {
        self.send(ask).await
    }

    /// Sends to the decision and control API.
    pub(crate) async fn api(&self, ask: Ask) -> Answer {
        self.send_to(self.camp.api, ask).await
    }

    /// Sends straight to the backend.
    pub(crate) async fn backend(&self, ask: Ask) -> Answer {
        self.send_to(self.camp.scene.backend, ask).await
    }

    async fn send_to(&self, to: SocketAddr, ask: Ask) -> Answer {
        let bytes = ask.bytes();
        let mut answer = http::exchange(to, &bytes, PATIENCE, &self.transcript).await;
        for _ in 0..self.waits {
            if answer.status() != 429 || answer.header("retry-after").is_none() {
                break;
            }
            tokio::time::sleep(SLOWED.0).await;
            answer = http::exchange(to, &bytes, PATIENCE, &self.transcript).await;
        }
        answer
    }

    /// Sends bytes to the gateway as they are.
    pub(crate) async fn bytes(&self, bytes: &[u8]) -> Answer {
        http::exchange(self.camp.gateway, bytes, HASTE, &self.transcript).await
    }

    /// Sends over HTTP/2.
    pub(crate) async fn h2(&self, request: ::http::request::Builder) -> Answer {
        match request.body(Full::<Bytes>::default()) {
            Ok(request) => crate::h2::exchange(self.camp.gateway, request, &self.transcript).await,
            Err(_) => Answer::default(),
        }
    }

    /// A request to the issuers' host.
    pub(crate) fn base(&self, method: &str, target: &str) -> Ask {
        Ask::new(method, target, self.scene().base_host())
    }

    /// A request to the attacker's own API host, with his token.
    pub(crate) fn mine(&self, method: &str, target: &str) -> Ask {
        Ask::new(method, target, &self.acme().host).bearer(&self.token("admin"))
    }

    /// A request to the victim's API host.
    pub(crate) fn theirs(&self, method: &str, target: &str) -> Ask {
        Ask::new(method, target, &self.globex().host)
    }

    /// His token of a role: as issued if it is one of his tenant's, else made with the keys he has stolen, so that
    /// what is broken at sign-in does not keep him from attacking the rest.
    pub(crate) fn token(&self, role: &str) -> String {
        let is_own = |token: &&(String, String)| {
            let tenant = forge::claims(&token.1).and_then(|claims| claims.get("tenant_id").cloned());
            token.0 == role && tenant == Some(ATTACKER.into())
        };
        match self.loot.issued.iter().find(is_own) {
            Some((_, token)) => token.clone(),
            None => self.made(&self.claims(ATTACKER, role)),
        }
    }

    /// What a token of a tenant's issuer would say, sealed with the attacker's stolen database key.
    pub(crate) fn claims(&self, tenant: &str, role: &str) -> Value {
        let (jti, exp) = (self.nonce(), self.now().saturating_add(300));
        json!({
            "iss": self.tenant(tenant).issuer,
            "sub": format!("u-{}", self.nonce()),
            "aud": self.loot.audience,
            "exp": exp,
            "iat": self.now(),
            "jti": jti,
            "client_id": self.acme().app.client_id,
            "tenant_id": tenant,
            "roles": [role],
            "seal": self.camp.keys.seal(tenant, &jti, exp),
        })
    }

    /// A token of these claims, signed with the key stolen from his own tenant.
    pub(crate) fn made(&self, claims: &Value) -> String {
        let key = &self.camp.keys.signing;
        forge::token(&forge::header(&key.kid()), claims, &Signer::Key(key))
    }

    /// A job token that says of its tenant, issuer and subject what he likes, for his own worker, with every seal his stolen
    /// keys make.
    pub(crate) fn job_made(&self, tenant: &str, issuer: &str, subject: &str, key: &Key) -> String {
        let worker = &self.acme().client.client_id;
        let (jti, iat) = (self.nonce(), self.now());
        let exp = iat.saturating_add(3600);
        let message =
            format!("ringfence-job-v1|{tenant}|{jti}|{iat}|{exp}|{subject}|{subject}|{worker}|nightly");
        let claims = json!({
            "iss": issuer,
            "sub": subject,
            "aud": format!("{issuer}/token"),
            "exp": exp,
            "iat": iat,
            "jti": jti,
            "client_id": subject,
            "tenant_id": tenant,
            "may_act": { "sub": worker },
            "job": "nightly",
            "seal": self.camp.keys.job_seal(&message),
        });
        let header = json!({ "typ": "job+jwt", "alg": "EdDSA", "kid": key.kid() });
        forge::token(&header, &claims, &Signer::Key(key))
    }

    /// Presents a token everywhere it would let him act for the victim.
    pub(crate) async fn pose(&self, token: &str) -> Outcome {
        let one = format!("/payments/{}", self.target.payment);
        let mut tries = vec![
            Outcome::of(&self.send(self.theirs("GET", "/payments").bearer(token)).await),
            Outcome::of(&self.send(self.theirs("GET", &one).bearer(token)).await),
        ];
        let userinfo = self.base("GET", &format!("/t/{VICTIM}/userinfo")).bearer(token);
        tries.push(Outcome::of(&self.issuer(userinfo).await));
        let exchanged = self.exchange_token(VICTIM, token).await;
        tries.push(Outcome::of(&exchanged));
        if let Some(database) = exchanged.text_member("access_token") {
            tries.push(self.query_as(VICTIM, &database, "SELECT * FROM payments").await);
        }
        Outcome::furthest(tries)
    }

    /// Asks the same of an object of the victim's and of one that is not there, and compares. Where the answers differ it asks of
    /// both again: if either is answered otherwise now, it was not the object that made the difference, and all is asked anew.
    pub(crate) async fn compare<F>(&self, exists: &str, ask: impl Fn(&str) -> F) -> Outcome
    where
        F: Future<Output = Answer>,
    {
        let absent = self.nobody().to_string();
        let mut rounds = 0;
        loop {
            rounds += 1;
            let (found, missing) = (ask(exists).await, ask(&absent).await);
            let leak = differing(&found, &missing, (&[exists], &[&absent]));
            let unsteady = match &leak {
                Some(_) if rounds < UNSTEADY => {
                    let (found_again, missing_again) = (ask(exists).await, ask(&absent).await);
                    differing(&found, &found_again, (&[exists], &[exists])).is_some()
                        || differing(&missing, &missing_again, (&[&absent], &[&absent])).is_some()
                }
                _ => false,
            };
            if !unsteady {
                return Outcome::of(&found).leaking(leak);
            }
        }
    }

    /// A leak where two texts differ.
    pub(crate) fn texts_differ(exists: &str, absent: &str) -> Option<Leak> {
        (exists != absent).then(|| Leak::oracle(format!("exists: {exists} / absent: {absent}")))
    }
}
