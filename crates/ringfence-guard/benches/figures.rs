//! What a benchmark found: its targets for people, met or missed; with `--figures FILE` all of it as JSON.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// Figures by name, and what some of them are to be.
pub(crate) struct Figures {
    found: Map<String, Value>,
    targets: Vec<Target>,
    file: Option<PathBuf>,
}

struct Target {
    name: String,
    figure: f64,
    bound: Bound,
}

/// What a figure is to be.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Figures {
    /// None yet; where they go is in the program's arguments.
    pub(crate) fn new() -> Self {
        let file = std::env::args().skip_while(|argument| argument != "--figures").nth(1);
        Self { found: Map::new(), targets: Vec::new(), file: file.map(PathBuf::from) }
    }

    pub(crate) fn put(&mut self, name: impl Into<String>, figure: f64) {
        self.found.insert(name.into(), json!((figure * 1e4).round() / 1e4));
    }

    /// One that has a target.
    pub(crate) fn target(&mut self, name: impl Into<String>, figure: f64, bound: Bound) {
        let name = name.into();
        self.put(name.clone(), figure);
        self.targets.push(Target { name, figure, bound });
    }

    /// Says them.
    pub(crate) fn end(self) {
        println!();
        for Target { name, figure, bound } in &self.targets {
            let (word, bound) = bound.judge(*figure);
            println!("{word}  {name}: {figure:.2}, target {bound}");
        }
        if let Some(file) = self.file {
            let target = |target: &Target| {
                let (word, bound) = target.bound.judge(target.figure);
                json!({ "what": target.name, "target": bound, "met": word == MET })
            };
            let targets: Vec<Value> = self.targets.iter().map(target).collect();
            let all = json!({ "figures": self.found, "targets": targets });
            std::fs::write(file, all.to_string()).unwrap();
        }
    }
}

const MET: &str = "met ";

impl Bound {
    fn judge(self, figure: f64) -> (&'static str, String) {
        let (met, bound) = match self {
            Self::AtLeast(least) => (figure >= least, format!("at least {least:.2}")),
            Self::AtMost(most) => (figure <= most, format!("at most {most:.2}")),
        };
        (if met { MET } else { "MISS" }, bound)
    }
}
