//! `ringfence entity import`: entities from the rows an application has already, as a map says.
//!
//! It guarantees that what is read is what the tenant itself may read: rows come through the guard, by a token of one of
//! the tenant's own people. What is written goes the way of every entity, one by one; a run that broke off is run again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use miette::{Context, IntoDiagnostic, Report, Result, bail, miette};
use ringfence_context::{limits, strict_json};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_postgres::{Client, IsolationLevel, NoTls};

use super::{path, uid};
use crate::{
    call::{Caller, Running},
    command::{Common, token::Person},
    output::print,
};

/// Write entities from the rows of the tenant's tables, as a map file says
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The map: which query gives which entities
    map: PathBuf,
    #[command(flatten)]
    person: Person,
    /// Read and show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// The map file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityMap {
    entity: Vec<Source>,
}

/// One query, whose rows are entities of one type. Rows of the same id are one entity.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// The type, with its namespace.
    #[serde(rename = "type")]
    kind: String,
    query: String,
    /// The column of the id.
    id: String,
    /// The column of each attribute.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// Attributes that are other entities: a column of an id, or of an array of them.
    #[serde(default)]
    references: BTreeMap<String, Other>,
    #[serde(default)]
    parents: Vec<Other>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    #[serde(rename = "type")]
    kind: String,
    /// The column of its id, or of an array of ids.
    id: String,
}

/// Type and id.
type Uid = (String, String);

/// What is to be written of an entity.
#[derive(Debug, Default, PartialEq)]
struct Entity {
    attributes: Map<String, Value>,
    parents: BTreeSet<Uid>,
}

type Entities = BTreeMap<Uid, Entity>;

impl Import {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let Self { map, person, dry_run, common } = self;
        let map = EntityMap::load(&map)?;
        let running = Running::load(&common.dir)?;
        let mut entities = Entities::new();
        let mut client = connect(&running, &person, &common.dir).await?;
        // All queries see the same moment.
        let reading =
            client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
        let reading = reading.start().await.map_err(told)?;
        for source in &map.entity {
            let query = source.query.trim().trim_end_matches(';');
            let rows = reading
                .query(&format!("SELECT to_json(imported_row)::text FROM ({query}\n) imported_row"), &[])
                .await;
            for row in rows.map_err(told).wrap_err_with(|| format!("the query of {}", source.kind))? {
                let text: &str = row.try_get(0).into_diagnostic()?;
                source.add(text, &mut entities).wrap_err_with(|| format!("a row of {}", source.kind))?;
            }
        }
        reading.rollback().await.map_err(told)?;
        let forms: Vec<Value> = in_order(&entities).into_iter().map(form).collect();
        if dry_run {
            print(common.json, &forms.into(), |forms| {
                serde_json::to_string_pretty(forms).unwrap_or_default()
            });
        } else {
            let count = forms.len();
            write(forms, &person.tenant, &common).await?;
            print(common.json, &json!({ "written": count }), |_| {
                format!("{count} written; seen by the next decision on")
            });
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn write(forms: Vec<Value>, tenant: &str, common: &Common) -> Result<()> {
    let (caller, path) = (Caller::new(), path(tenant));
    let bar = ProgressBar::new(u64::try_from(forms.len()).unwrap_or(u64::MAX)).with_prefix("writing");
    if let Ok(style) = ProgressStyle::with_template("{prefix:>9} [{bar:40}] {pos} of {len}  {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    for form in forms {
        let named = form.get("uid").map(uid).unwrap_or_default();
        let written = caller.api(common, Method::PUT, &path, Some(form)).await;
        written.wrap_err_with(|| {
            format!(
                "{named} is not written; {} were before it. Run the same again: what is written stays",
                bar.position()
            )
        })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

impl EntityMap {
    fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).into_diagnostic();
        Self::read(&text.wrap_err_with(|| file.display().to_string())?)
            .wrap_err_with(|| file.display().to_string())
    }

    fn read(text: &str) -> Result<Self> {
        let map: Self = toml::from_str(text).into_diagnostic()?;
        for source in &map.entity {
            if let Some(twice) = source.attributes.keys().find(|name| source.references.contains_key(*name)) {
                bail!("{}: {twice} is an attribute and a reference; leave one of them out", source.kind);
            }
        }
        Ok(map)
    }
}

impl Source {
    /// Adds what a row, as JSON, says of an entity.
    fn add(&self, row: &str, entities: &mut Entities) -> Result<()> {
        let row = strict_json::value(row.as_bytes(), limits::AUTHZEN_JSON_DEPTH).into_diagnostic()?;
        let column = |name: &str| {
            row.get(name).ok_or_else(|| {
                let columns = row.as_object().into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>();
                miette!(help = format!("it has {}", columns.join(", ")), "the query has no column {name}")
            })
        };
        let ids = ids(column(&self.id)?).wrap_err_with(|| format!("column {}", self.id))?;
        let [id] = ids.as_slice() else { bail!("column {}: one id, and never NULL", self.id) };
        let at = entities.entry((self.kind.clone(), id.clone())).or_default();
        let mut put = |name: &str, value: Value| match at.attributes.insert(name.to_owned(), value.clone()) {
            Some(before) if before != value => Err(miette!(
                help = "rows of one id are one entity: they may differ in its parents only",
                "{}::\"{id}\" has {name} twice: {before} and {value}",
                self.kind
            )),
            _ => Ok(()),
        };
        for (name, from) in &self.attributes {
            let value = column(from)?;
            if !value.is_null() {
                put(name, attribute(value).wrap_err_with(|| format!("column {from}"))?)?;
            }
        }
        for (name, other) in &self.references {
            let value = column(&other.id)?;
            let refer = |id: String| json!({ "__entity": { "type": other.kind, "id": id } });
            let found = self::ids(value).wrap_err_with(|| format!("column {}", other.id))?;
            let mut found = found.into_iter().map(refer);
            match value {
                Value::Array(_) => put(name, found.collect())?,
                _ => found.next().map_or(Ok(()), |one| put(name, one))?,
            }
        }
        for other in &self.parents {
            let found = self::ids(column(&other.id)?).wrap_err_with(|| format!("column {}", other.id))?;
            at.parents.extend(found.into_iter().map(|id| (other.kind.clone(), id)));
        }
        Ok(())
    }
}

/// Ids in a column: none where it is NULL, several where it is an array.
fn ids(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(id) => Ok(vec![id.clone()]),
        Value::Number(id) if !id.is_f64() => Ok(vec![id.to_string()]),
        Value::Array(several) => {
            let several: Result<Vec<Vec<String>>> = several.iter().map(ids).collect();
            Ok(several?.concat())
        }
        _ => bail!(miette!(help = "cast it to text in the query", "not an id: {value}")),
    }
}

/// An attribute in Cedar's JSON: booleans, whole numbers, texts, and arrays of them. What is no such thing is the
/// query's to make one.
fn attribute(value: &Value) -> Result<Value> {
    match value {
        Value::Bool(_) | Value::String(_) => Ok(value.clone()),
        Value::Number(number) if number.is_i64() => Ok(value.clone()),
        Value::Array(several) => several.iter().map(attribute).collect(),
        _ => bail!(miette!(
            help = "Cedar knows whole numbers of 64 bits, texts, booleans and sets of them: cast it in the query",
            "no attribute can have the value {value}"
        )),
    }
}

/// What is above comes first: so an entity with many below it is written before them.
fn in_order(entities: &Entities) -> Vec<(&Uid, &Entity)> {
    let (mut ordered, mut seen) = (Vec::new(), BTreeSet::new());
    for start in entities.keys() {
        // Each is looked at twice: before what is above it, and after.
        let mut next = vec![(start, false)];
        while let Some((uid, done)) = next.pop() {
            let Some(entity) = entities.get(uid) else { continue };
            if done {
                ordered.push((uid, entity));
            } else if seen.insert(uid) {
                next.push((uid, true));
                next.extend(entity.parents.iter().map(|parent| (parent, false)));
            }
        }
    }
    ordered
}

fn form(((kind, id), entity): (&Uid, &Entity)) -> Value {
    let parents: Vec<Value> =
        entity.parents.iter().map(|(kind, id)| json!({ "type": kind, "id": id })).collect();
    json!({ "uid": { "type": kind, "id": id }, "attrs": entity.attributes, "parents": parents })
}

/// A session of the tenant's at the guard.
async fn connect(running: &Running, person: &Person, dir: &Path) -> Result<Client> {
    let token = person.database_token(running, dir).await?;
    let (host, port) =
        running.guard.rsplit_once(':').ok_or_else(|| miette!("running.json names no guard"))?;
    let mut config = tokio_postgres::Config::new();
    config.host(host).port(port.parse().into_diagnostic()?);
    config.user(&person.tenant).password(token).dbname(&running.database);
    let (client, connection) = config.connect(NoTls).await.map_err(told)?;
    tokio::spawn(async move {
        // Ends with the client; what went wrong shows in its own calls.
        let _ = connection.await;
    });
    Ok(client)
}

/// What Postgres or the guard said, with its advice.
fn told(error: tokio_postgres::Error) -> Report {
    match error.as_db_error() {
        Some(said) => match said.hint() {
            Some(hint) => miette!(help = hint.to_owned(), "{}", said.message()),
            None => miette!("{}", said.message()),
        },
        None => miette!("the guard: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = r#"
        [[entity]]
        type = "Docs::User"
        query = "SELECT 1"
        id = "id"
        attributes = { level = "level", tags = "tags" }
        references = { lead = { type = "Docs::User", id = "lead" }, peers = { type = "Docs::User", id = "peers" } }
        parents = [{ type = "Docs::Group", id = "groups" }]
        [[entity]]
        type = "Docs::Group"
        query = "SELECT 1"
        id = "id"
        parents = [{ type = "Docs::Group", id = "above" }]
    "#;

    fn read(rows: &[(usize, &str)]) -> Result<Vec<Value>> {
        let (map, mut entities) = (EntityMap::read(MAP)?, Entities::new());
        for (source, row) in rows {
            map.entity[*source].add(row, &mut entities)?;
        }
        Ok(in_order(&entities).into_iter().map(form).collect())
    }

    fn told_of(row: &str) -> String {
        let report = read(&[(0, row)]).unwrap_err();
        format!("{report:?}")
    }

    #[test]
    fn hj09_rows_of_one_id_are_one_entity_and_what_is_above_comes_first() {
        let entities = read(&[
            (0, r#"{"id":7,"level":3,"tags":["a"],"lead":"x","peers":["y","z"],"groups":"staff"}"#),
            (0, r#"{"id":7,"level":3,"tags":["a"],"lead":"x","peers":["y","z"],"groups":["board"]}"#),
            (0, r#"{"id":"x","level":null,"tags":null,"lead":null,"peers":[],"groups":null}"#),
            (1, r#"{"id":"board","above":"all"}"#),
            (1, r#"{"id":"all","above":null}"#),
        ])
        .unwrap();
        let ids: Vec<&str> = entities.iter().map(|entity| entity["uid"]["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["all", "board", "7", "x"]);
        let group = |id: &str| json!({ "type": "Docs::Group", "id": id });
        let user = |id: &str| json!({ "__entity": { "type": "Docs::User", "id": id } });
        assert_eq!(entities[2]["parents"], json!([group("board"), group("staff")]));
        assert_eq!(
            entities[2]["attrs"],
            json!({ "level": 3, "tags": ["a"], "lead": user("x"), "peers": [user("y"), user("z")] })
        );
        assert_eq!(entities[3]["attrs"], json!({ "peers": [] }), "NULL is no attribute, an empty set is one");
    }

    #[test]
    fn a_circle_is_written_as_it_is_and_refused_where_all_are() {
        let circle = read(&[(1, r#"{"id":"a","above":"b"}"#), (1, r#"{"id":"b","above":"a"}"#)]).unwrap();
        assert_eq!(circle.len(), 2);
    }

    #[test]
    fn reject_rows_that_are_no_entities() {
        let row = |what: &str| {
            format!("{{\"level\":1,\"tags\":[],\"lead\":null,\"peers\":[],\"groups\":[],{what}}}")
        };
        for (row, told) in [
            (r#"{"name":"x"}"#.to_owned(), "the query has no column id"),
            (row(r#""id":null"#), "one id, and never NULL"),
            (row(r#""id":["a","b"]"#), "one id, and never NULL"),
            (row(r#""id":1.5"#), "not an id: 1.5"),
            (row(r#""id":"a","id":"b""#), "names a key twice"),
            (row(r#""id":"a""#).replace("\"level\":1", "\"level\":1.5"), "the value 1.5"),
            (row(r#""id":"a""#).replace("\"level\":1", "\"level\":{}"), "cast it in the query"),
        ] {
            let said = told_of(&row);
            assert!(said.contains(told), "{row}: {said}");
        }
        let twice =
            read(&[(0, &row(r#""id":"a""#)), (0, &row(r#""id":"a""#).replace("level\":1", "level\":2"))]);
        assert!(format!("{:?}", twice.unwrap_err()).contains("has level twice: 1 and 2"));
        let both = MAP.replace("level = \"level\"", "lead = \"level\"");
        assert!(
            format!("{:?}", EntityMap::read(&both).unwrap_err())
                .contains("lead is an attribute and a reference")
        );
        let unknown = MAP.replace("query", "sql");
        assert!(format!("{:?}", EntityMap::read(&unknown).unwrap_err()).contains("sql"));
    }
}
