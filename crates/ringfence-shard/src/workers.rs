//! Workers, and the zones they are in.

use std::sync::Arc;

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    /// Its name, which no other worker has, nor one that takes its place.
    pub name: Arc<str>,
    /// What fails with it: a rack, an availability zone. Where there are none, the same for all.
    pub zone: Arc<str>,
}

impl Worker {
    /// A worker in a zone.
    pub fn new(name: &str, zone: &str) -> Self {
        Self { name: name.into(), zone: zone.into() }
    }
}

/// Two workers have one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two workers are called \"{0}\": give each a name of its own")]
pub struct Twice(pub Arc<str>);

/// All workers there are, by name: also those that do not answer at the moment. Who is taken out is gone for good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workers(Vec<Worker>);

impl Workers {
    /// These, in any order.
    ///
    /// # Errors
    /// [`Twice`].
    pub fn new(workers: impl IntoIterator<Item = Worker>) -> Result<Self, Twice> {
        let mut all: Vec<Worker> = workers.into_iter().collect();
        all.sort_unstable();
        let twice = all.windows(2).find_map(|pair| match pair {
            [one, other] if one.name == other.name => Some(Twice(Arc::clone(&one.name))),
            _ => None,
        });
        twice.map_or(Ok(Self(all)), Err)
    }

    /// As many, named `worker-0` and so on, spread over so many zones.
    pub fn numbered(workers: usize, zones: usize) -> Self {
        let width = workers.saturating_sub(1).to_string().len();
        let one = |number: usize| {
            Worker::new(&format!("worker-{number:0width$}"), &format!("zone-{}", number % zones.max(1)))
        };
        Self((0..workers).map(one).collect())
    }

    /// All but one.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|worker| &*worker.name != name).cloned().collect())
    }

    /// By name.
    pub fn get(&self, name: &str) -> Option<&Worker> {
        let at = self.0.binary_search_by(|worker| (*worker.name).cmp(name)).ok()?;
        self.0.get(at)
    }

    /// All, by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Worker> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Workers {
    type Item = &'a Worker;
    type IntoIter = std::slice::Iter<'a, Worker>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_workers() {
        let twice = [Worker::new("a", "x"), Worker::new("b", "x"), Worker::new("a", "y")];
        assert_eq!(Workers::new(twice), Err(Twice("a".into())));
        let workers = Workers::new([Worker::new("b", "x"), Worker::new("a", "y")]).unwrap();
        assert_eq!(workers.get("a").map(|worker| &*worker.zone), Some("y"));
        assert_eq!((workers.without("a").len(), workers.without("c").len()), (1, 2));
        assert_eq!(Workers::numbered(12, 3).get("worker-07"), Some(&Worker::new("worker-07", "zone-1")));
    }
}
