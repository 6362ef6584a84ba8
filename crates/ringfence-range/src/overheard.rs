//! What somebody overhears who listens between guard and Postgres: every context that is minted, as it is sent. Nobody but
//! the range lets him: he is there so that a tag can be tried again that was good once.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_context::{DatabaseContext, Permit, Refusal, UnixTime, database::Backend};
use ringfence_guard::Contexts;
use serde_json::json;

/// Where he writes down what he hears, a line for each.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join("overheard.jsonl")
}

/// Contexts that are overheard.
pub(crate) struct Overheard {
    whole: Arc<dyn Contexts>,
    file: PathBuf,
}

impl Overheard {
    /// Listens to these.
    pub(crate) fn new(whole: Arc<dyn Contexts>, dir: &Path) -> Self {
        Self { whole, file: file(dir) }
    }

    fn note(&self, context: &DatabaseContext, backend: Backend) -> std::io::Result<()> {
        let (tenant, token, token_exp, valid_until, tag) = context.arguments();
        let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = json!({
            "tenant": tenant,
            "token": token,
            "token_exp": token_exp,
            "valid_until": valid_until,
            "tag": tag,
            "pid": backend.pid,
        });
        // In one call, so that lines do not mix.
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
        file.write_all(format!("{line}\n").as_bytes())
    }
}

impl Contexts for Overheard {
    fn context(
        &self,
        permit: Option<&Permit>,
        backend: Backend,
        now: UnixTime,
    ) -> Result<Option<DatabaseContext>, Refusal> {
        let minted = self.whole.context(permit, backend, now)?;
        if let Some(context) = &minted {
            // What is not heard is not tried: a control says whether anything was.
            let _ = self.note(context, backend);
        }
        Ok(minted)
    }
}
