//! The route table: which action on which resource a request asks for. What it does not name is refused.

use std::{collections::HashMap, sync::Arc};

use http::Method;
use serde::Deserialize;

use crate::{facts::FactSource, target::Segments};

/// What is wrong with a route table, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteFault {
    /// Not TOML of the expected form.
    #[error("the route table is not valid: {0}")]
    Form(String),
    /// One route is wrong.
    #[error("route {method} {path}: {what}")]
    Route {
        /// As written.
        method: String,
        /// As written.
        path: String,
        /// What is wrong and what to do.
        what: String,
    },
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// `METHOD /path/{template}`: its name in a `Txn-Token`.
    pub name: String,
    /// The Cedar action's name.
    pub action: Arc<str>,
    /// The Cedar type of its resource.
    pub resource: Arc<str>,
    /// Where Cedar's `context` comes from, by name.
    pub facts: Vec<(String, FactSource)>,
    /// Position among all routes: part of cache keys.
    pub index: usize,
    pattern: Vec<Piece>,
    id: Option<usize>,
}

impl Route {
    /// Whether its resources are of a type that those who ask, their roles or actions have. A policy that names one of
    /// these may mean the resource (`resource == App::User::"owner"`) as well as the asker, and can compare the two
    /// (`resource == principal`): an answer about one such resource holds for no other.
    pub fn asks_about_askers(&self) -> bool {
        ["User", "Client", "Role", "Action"].contains(&&*self.resource)
    }
}

/// A route found for a request.
#[derive(Debug)]
pub struct RouteMatch<'a> {
    /// The route.
    pub route: &'a Route,
    /// The resource's id, where the path names one.
    pub id: Option<&'a str>,
}

/// All routes.
#[derive(Debug)]
pub struct RouteTable {
    routes: HashMap<(Method, usize), Vec<Route>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Parameter(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    #[serde(default)]
    route: Vec<RouteFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFile {
    method: String,
    path: String,
    action: String,
    resource: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    facts: HashMap<String, String>,
}

impl RouteTable {
    /// Reads a route table: `[[route]]` with `method`, `path`, `action`, `resource`, and optionally `id` (the path
    /// parameter that names the resource; the last one by default) and `facts` (see [`FactSource`]).
    ///
    /// # Errors
    /// What is wrong, naming the route.
    pub fn parse(text: &str) -> Result<Self, RouteFault> {
        let file: TableFile = toml::from_str(text).map_err(|error| RouteFault::Form(error.to_string()))?;
        let mut routes: HashMap<(Method, usize), Vec<Route>> = HashMap::new();
        for (index, written) in file.route.into_iter().enumerate() {
            let (method, route) = read(&written, index).map_err(|what| RouteFault::Route {
                method: written.method.clone(),
                path: written.path.clone(),
                what,
            })?;
            let same_size = routes.entry((method, route.pattern.len())).or_default();
            if same_size.iter().any(|other| overlaps(&other.pattern, &route.pattern)) {
                let what =
                    "matches what an earlier route matches with the same precedence: change one".to_owned();
                return Err(RouteFault::Route { method: written.method, path: written.path, what });
            }
            same_size.push(route);
            // Literal pieces win over parameters, from the left.
            same_size.sort_by_key(|route| route.pattern.iter().map(is_parameter).collect::<Vec<_>>());
        }
        Ok(Self { routes })
    }

    /// The route of a request, if there is one.
    pub fn find<'a>(&'a self, method: &Method, segments: &'a Segments<'_>) -> Option<RouteMatch<'a>> {
        let segments = segments.as_slice();
        let same_size = self.routes.get(&(method.clone(), segments.len()))?;
        let route = same_size.iter().find(|route| {
            route.pattern.iter().zip(segments).all(|(piece, segment)| match piece {
                Piece::Literal(literal) => literal.as_str() == &**segment,
                Piece::Parameter(_) => true,
            })
        })?;
        let id = route.id.and_then(|at| segments.get(at)).map(|id| &**id);
        Some(RouteMatch { route, id })
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.values().map(Vec::len).sum()
    }

    /// Whether there is none, so that everything is refused.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

fn read(written: &RouteFile, index: usize) -> Result<(Method, Route), String> {
    let method =
        Method::from_bytes(written.method.as_bytes()).map_err(|_| "the method is not one".to_owned())?;
    if matches!(method, Method::TRACE | Method::CONNECT) {
        return Err("TRACE and CONNECT are never forwarded: remove it".to_owned());
    }
    let pattern = pattern(&written.path)?;
    let position = |name: &str| pattern.iter().position(|piece| *piece == Piece::Parameter(name.to_owned()));
    let id = match &written.id {
        Some(name) => Some(position(name).ok_or(format!("id = \"{name}\" is not a parameter of the path"))?),
        None => pattern.iter().rposition(is_parameter),
    };
    let mut facts = Vec::new();
    for (name, source) in &written.facts {
        facts.push((name.clone(), FactSource::parse(source)?));
    }
    let route = Route {
        name: format!("{method} {}", written.path),
        action: written.action.as_str().into(),
        resource: written.resource.as_str().into(),
        facts,
        index,
        pattern,
        id,
    };
    Ok((method, route))
}

fn pattern(path: &str) -> Result<Vec<Piece>, String> {
    let rest = path.strip_prefix('/').ok_or("the path does not start with /".to_owned())?;
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let piece = |text: &str| -> Result<Piece, String> {
        let parameter = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match parameter {
            Some(name)
                if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
            {
                Ok(Piece::Parameter(name.to_owned()))
            }
            None if !text.is_empty() && !text.contains(['{', '}', '%', ';', '?', '#']) => {
                Ok(Piece::Literal(text.to_owned()))
            }
            _ => Err(format!("\"{text}\" is neither a plain segment nor a {{parameter}}")),
        }
    };
    rest.split('/').map(piece).collect()
}

fn is_parameter(piece: &Piece) -> bool {
    matches!(piece, Piece::Parameter(_))
}

fn overlaps(one: &[Piece], other: &[Piece]) -> bool {
    one.iter().zip(other).all(|pair| match pair {
        (Piece::Literal(a), Piece::Literal(b)) => a == b,
        (Piece::Parameter(_), Piece::Parameter(_)) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        [[route]]
        method = "GET"
        path = "/payments/{id}"
        action = "ViewPayment"
        resource = "Payment"
        [[route]]
        method = "GET"
        path = "/payments/search"
        action = "ListPayments"
        resource = "Book"
        [[route]]
        method = "POST"
        path = "/payments"
        action = "CreatePayment"
        resource = "Book"
        facts = { amount = "body:/amount" }
        [[route]]
        method = "GET"
        path = "/a/{x}/b/{y}"
        id = "x"
        action = "A"
        resource = "B"
    "#;

    #[test]
    fn a_request_finds_its_route_or_none() {
        let table = RouteTable::parse(TABLE).unwrap();
        let check = |method: Method, path: &str, expected: Option<(&str, Option<&str>)>| {
            let segments = Segments::read(path).unwrap();
            let found = table.find(&method, &segments).map(|found| (found.route.action.as_ref(), found.id));
            assert_eq!(found, expected, "{method} {path}");
        };
        check(Method::GET, "/payments/7", Some(("ViewPayment", Some("7"))));
        check(Method::GET, "/payments/search", Some(("ListPayments", None)));
        check(Method::POST, "/payments", Some(("CreatePayment", None)));
        check(Method::GET, "/a/1/b/2", Some(("A", Some("1"))));
        check(Method::GET, "/payments", None);
        check(Method::HEAD, "/payments/7", None);
        check(Method::GET, "/payments/7/8", None);
        check(Method::GET, "/Payments/7", None);
        check(Method::GET, "/", None);
    }

    #[test]
    fn a_wrong_table_says_which_route_and_why() {
        let check = |route: &str, expected: &str| {
            let fault = RouteTable::parse(&format!("[[route]]\n{route}")).unwrap_err().to_string();
            assert!(fault.contains(expected), "{fault}");
        };
        check("method = \"GET\"\npath = \"/a\"\naction = \"A\"\nresource = \"B\"\ncolour = 1", "colour");
        check("method = \"GET\"\npath = \"a\"\naction = \"A\"\nresource = \"B\"", "start with /");
        check("method = \"G T\"\npath = \"/a\"\naction = \"A\"\nresource = \"B\"", "method");
        check("method = \"TRACE\"\npath = \"/a\"\naction = \"A\"\nresource = \"B\"", "never forwarded");
        check("method = \"GET\"\npath = \"/a//b\"\naction = \"A\"\nresource = \"B\"", "neither");
        check(
            "method = \"GET\"\npath = \"/a\"\nid = \"x\"\naction = \"A\"\nresource = \"B\"",
            "not a parameter",
        );
        check(
            "method = \"GET\"\npath = \"/a\"\naction = \"A\"\nresource = \"B\"\nfacts = { a = \"x\" }",
            "fact",
        );
        let twice = "method = \"GET\"\npath = \"/{a}\"\naction = \"A\"\nresource = \"B\"";
        check(&format!("{twice}\n[[route]]\n{}", twice.replace("{a}", "{b}")), "earlier route");
    }
}
