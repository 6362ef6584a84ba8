//! What came of an attack, as far as it can be told from outside.

use ringfence_context::Layer;

use crate::{http::Answer, leak::Leak};

/// What came of an attack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The layer that says it refused; none where the attacker was answered, with his own data or a leak.
    pub stopped_by: Option<Layer>,
    /// HTTP status, SQLSTATE, or what else came back.
    pub status: String,
    /// What leaked.
    pub leak: Option<Leak>,
}

impl Outcome {
    /// Stopped by a layer.
    pub(crate) fn stopped(by: Layer, status: impl Into<String>) -> Self {
        Self { stopped_by: Some(by), status: status.into(), leak: None }
    }

    /// Answered: nothing refused it.
    pub(crate) fn answered(status: impl Into<String>) -> Self {
        Self { stopped_by: None, status: status.into(), leak: None }
    }

    /// An answer over HTTP: the layer is the problem document's `layer`, else what kind of refusal it is.
    pub(crate) fn of(answer: &Answer) -> Self {
        let Some(head) = &answer.head else { return Self::stopped(Layer::Routing, "closed") };
        let status = head.status.to_string();
        if head.status < 400 {
            return Self::answered(status);
        }
        let layer = answer.text_member("layer").and_then(|layer| layer_named(&layer));
        let html = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let layer = match layer {
            Some(layer) => layer,
            // OAuth's error bodies and the sign-in pages are the issuers'.
            None if html || answer.member("error").is_some() => Layer::Identity,
            // Without a word: the HTTP server in front gave up on the request.
            None if head.body.is_empty() => Layer::Routing,
            None => Layer::Backend,
        };
        Self::stopped(layer, status)
    }

    /// An error of a database session.
    pub(crate) fn of_database(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            None => Self::stopped(Layer::Guard, "closed"),
            // What ends a session comes from who keeps it.
            Some(told) if told.severity() == "FATAL" => Self::stopped(Layer::Guard, told.code().code()),
            Some(told) => Self::of_sqlstate(told.code().code()),
        }
    }

    /// An SQLSTATE: class RF is the context check inside Postgres, 28000 the guard, the rest Postgres' own.
    pub(crate) fn of_sqlstate(code: &str) -> Self {
        let guards = code == "28000" || code.starts_with("08") || code.starts_with("57P");
        Self::stopped(if guards { Layer::Guard } else { Layer::Database }, code)
    }

    /// With a leak.
    #[must_use]
    pub(crate) fn leaking(self, leak: Option<Leak>) -> Self {
        Self { leak: self.leak.or(leak), ..self }
    }

    /// Of several tries of one attack: a leak before all; then the try that came furthest, which is the one nothing
    /// refused, else the one refused by the innermost layer.
    pub(crate) fn furthest(tries: impl IntoIterator<Item = Self>) -> Self {
        let depth = |outcome: &Self| match (&outcome.leak, outcome.stopped_by) {
            (Some(_), _) => 100,
            (None, None) => 99,
            (None, Some(layer)) => depth(layer),
        };
        tries.into_iter().max_by_key(depth).unwrap_or_default()
    }

    /// In a few words.
    pub(crate) fn told(&self) -> String {
        match (&self.leak, self.stopped_by) {
            (Some(leak), _) => format!("LEAK {}", leak.evidence),
            (None, Some(layer)) => format!("{} {}", self.status, layer.name()),
            (None, None) => self.status.clone(),
        }
    }
}

/// From the first layer of the chain to the last.
fn depth(layer: Layer) -> usize {
    LAYERS.iter().position(|known| *known == layer).unwrap_or(0)
}

/// The layers in the order a request meets them. An address is read before a token is, so routing comes early.
pub(crate) const LAYERS: [Layer; 7] = [
    Layer::Routing,
    Layer::Identity,
    Layer::Token,
    Layer::Authorization,
    Layer::Backend,
    Layer::Guard,
    Layer::Database,
];

fn layer_named(name: &str) -> Option<Layer> {
    LAYERS.into_iter().find(|layer| layer.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leak::LeakKind;

    #[test]
    fn an_answer_says_who_stopped_it() {
        let check = |answer: &str, layer: Option<Layer>, status: &str| {
            let outcome = Outcome::of(&Answer::read(answer.as_bytes()));
            assert_eq!((outcome.stopped_by, outcome.status.as_str()), (layer, status), "{answer}");
        };
        check("", Some(Layer::Routing), "closed");
        check("HTTP/1.1 200 OK\r\n\r\n[]", None, "200");
        check("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", Some(Layer::Routing), "400");
        check("HTTP/1.1 401 U\r\n\r\n{\"layer\":\"token\"}", Some(Layer::Token), "401");
        check("HTTP/1.1 400 B\r\n\r\n{\"error\":\"invalid_grant\"}", Some(Layer::Identity), "400");
        check("HTTP/1.1 404 N\r\n\r\n{\"type\":\"about:blank\"}", Some(Layer::Backend), "404");
        check("HTTP/1.1 400 B\r\ncontent-type: text/html\r\n\r\n<p>", Some(Layer::Identity), "400");
        assert_eq!(Outcome::of_sqlstate("RF002").stopped_by, Some(Layer::Database));
        assert_eq!(Outcome::of_sqlstate("28000").stopped_by, Some(Layer::Guard));
    }

    #[test]
    fn the_furthest_try_counts_and_a_leak_before_all() {
        let tries = || {
            vec![
                Outcome::stopped(Layer::Token, "401"),
                Outcome::stopped(Layer::Database, "RF002"),
                Outcome::stopped(Layer::Routing, "400"),
            ]
        };
        assert_eq!(Outcome::furthest(tries()).stopped_by, Some(Layer::Database));
        let answered = tries().into_iter().chain([Outcome::answered("200")]);
        assert_eq!(Outcome::furthest(answered).status, "200");
        let leak = Leak { kind: LeakKind::Read, evidence: "e".to_owned() };
        let leaking = Outcome::stopped(Layer::Routing, "400").leaking(Some(leak));
        assert!(Outcome::furthest([Outcome::answered("200"), leaking]).leak.is_some());
    }
}
