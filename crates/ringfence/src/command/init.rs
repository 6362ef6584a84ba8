//! `ringfence init`: a commented ringfence.toml with a route table and policies to start from.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use miette::{Context, IntoDiagnostic, Result, bail};

/// Write a commented ringfence.toml.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Folder to write to
    #[arg(default_value = ".")]
    folder: PathBuf,
}

const FILES: &[(&str, &str)] = &[
    ("ringfence.toml", include_str!("../../templates/ringfence.toml")),
    ("routes.toml", include_str!("../../templates/routes.toml")),
    ("app.cedarschema", include_str!("../../templates/app.cedarschema")),
    ("app.cedar", include_str!("../../templates/app.cedar")),
];

impl Init {
    pub(crate) fn run(self) -> Result<ExitCode> {
        write_new(&self.folder, FILES)?;
        say!("wrote {}", FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
        say!("Read ringfence.toml, name your application and database in it, then run `ringfence up`.");
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes files that must not be there yet.
pub(crate) fn write_new(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    std::fs::create_dir_all(folder).into_diagnostic().wrap_err_with(|| folder.display().to_string())?;
    if let Some((name, _)) = files.iter().find(|(name, _)| folder.join(name).exists()) {
        bail!("{} exists: nothing was written", folder.join(name).display());
    }
    for (name, text) in files {
        let path = folder.join(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.into_diagnostic().wrap_err_with(|| path.display().to_string())?;
    }
    Ok(())
}
