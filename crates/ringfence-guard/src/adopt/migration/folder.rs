//! A migration as files that people read, and `psql` runs.

use std::{fmt::Write as _, fs, io, path::Path};

use super::{Migration, Statement, sql::comment};

/// What each file begins with: nothing a session brings along changes what the rest means.
const SESSION: &str = "\\set ON_ERROR_STOP on
\\set AUTOCOMMIT on
SET search_path = pg_catalog, pg_temp;
SET standard_conforming_strings = on;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET default_transaction_read_only = off;
SET client_min_messages = warning;
";

impl Migration {
    /// Its files, by name: a stage each, its undoing, and what there is to know.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![("README.md".to_owned(), self.readme())];
        for (at, stage) in (1..).zip(&self.stages) {
            let name = format!("{at}-{}.sql", stage.name);
            let undo = if stage.undo.is_empty() {
                "nothing to undo".to_owned()
            } else {
                format!("undo/{name}, after those of later stages")
            };
            let said = [stage.does.as_str(), stage.locks, &stage.application, &undo];
            files.push((name.clone(), self.file(at, stage.name, said, &stage.statements)));
            if !stage.undo.is_empty() {
                let said = [
                    "Undoes this stage, after the later ones were undone: what was, is again.",
                    "Each table for a moment, in short attempts; what is built or read for long holds nobody up.",
                    "Is where it was before this stage.",
                    &format!("{name} again; begin at 4, or at 1 where that was undone"),
                ];
                files.push((format!("undo/{name}"), self.file(at, stage.name, said, &stage.undo)));
            }
        }
        files
    }

    /// Writes them into a folder that is empty or not there.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AlreadyExists`] where something is in it.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        if folder.exists() && fs::read_dir(folder)?.next().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the folder is not empty: name another",
            ));
        }
        fs::create_dir_all(folder.join("undo"))?;
        self.files().into_iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
    }

    /// A file that says what it does, what it locks, what that means for the application, and what undoes it.
    fn file(&self, at: usize, name: &str, said: [&str; 4], statements: &[Statement]) -> String {
        let mut text = format!("-- Stage {at} of {}: {name}\n--\n", self.stages.len());
        let [does, locks, application, undo] = said;
        for (title, said) in [
            ("", does),
            ("Locks: ", locks),
            ("The application: ", application),
            ("Again: ", "whenever it was cut off, and at any time: what is done is left as it is."),
            ("Undo: ", undo),
        ] {
            for line in wrapped(&format!("{title}{said}"), 110) {
                let _ = writeln!(text, "-- {}", comment(&line));
            }
        }
        let _ = write!(text, "\n{SESSION}");
        for statement in statements {
            let _ = write!(
                text,
                "\n-- {}\n-- Lock: {}\n{}\n",
                comment(&statement.about),
                statement.lock,
                statement.sql
            );
        }
        text
    }

    fn readme(&self) -> String {
        let mut text = format!(
            "# Tenants of {}, under row security\n\n{} tables get a column {} and are put under Ringfence's row security. The rows of \
             {} are the tenants; one is called by\n\n{}\n\n",
            code(&self.root),
            self.tables.len(),
            code(&self.column),
            code(&self.root),
            fenced(&self.tenant_from)
        );
        if let Some(why) = &self.column_why {
            let _ = write!(text, "{}.\n\n", comment(why));
        }
        text.push_str(
            "Run the stages in order, as a superuser, each to its end, and look at what it says:\n\n```text\n\
             psql -v ON_ERROR_STOP=1 -f 1-expand.sql \"$DATABASE_URL\"\n```\n\n\
             Each may be run again, also when it was cut off. To go back, run what is in `undo/` from the highest number down; after the \
             last, the schema is what it was, to the letter, and no row is lost. To go forward after an undoing, begin at 4, or at 1 where that \
             was undone. Where 5 refuses rows, they were written after the check: run 3 again, which names them. Plan again where the schema has changed since.\n\n",
        );
        for (at, stage) in (1..).zip(&self.stages) {
            let _ = write!(
                text,
                "## {at}. {}\n\n{}\n\n- Locks: {}\n- The application: {}\n",
                stage.name, stage.does, stage.locks, stage.application
            );
            text.push_str(if stage.undo.is_empty() { "- Undo: there is nothing to undo.\n\n" } else { "\n" });
        }
        self.left_alone(&mut text);
        self.changed(&mut text);
        text
    }

    fn left_alone(&self, text: &mut String) {
        text.push_str("## What was not decided\n\n");
        if self.undecided.is_empty() {
            text.push_str("Nothing: each table is a tenant's, shared, or a framework's own.\n\n");
        } else {
            text.push_str(
                "**These tables stay as they are: unprotected. Whoever reaches one sees every tenant's rows in it.** The application's role \
                 must not reach them (`REVOKE ALL ON ... FROM ...`) until it is decided whose they are: `--belongs 'TABLE.column'` or `--shared \
                 TABLE`, and plan again.\n\n",
            );
            for (table, why) in &self.undecided {
                let _ = writeln!(text, "- {}: {}", code(table), comment(why));
            }
            text.push('\n');
        }
        for (title, tables) in [
            (
                "Shared by all tenants, and not protected. Let the application read them, not write",
                &self.shared,
            ),
            (
                "A framework's or a queue's own, and not protected. A queue's arguments may hold tenants' data",
                &self.frameworks,
            ),
        ] {
            if !tables.is_empty() {
                let tables: Vec<String> = tables.iter().map(|table| code(table)).collect();
                let _ = write!(text, "{title}: {}.\n\n", tables.join(", "));
            }
        }
    }

    fn changed(&self, text: &mut String) {
        text.push_str("## What changes for the application\n\n");
        for change in &self.changes {
            let _ = writeln!(text, "- {}", comment(change));
        }
        let _ = writeln!(
            text,
            "- GROUP BY the key alone no longer stands for a row's other columns: add {}, or name them.",
            code(&self.column)
        );
        text.push_str(
            "- A row does not go over from one tenant to another.\n\
             - What points by name only, without a foreign key, is checked once (stage 3) and never again: add the foreign keys first.\n\
             - A tenant is made (a row of the root is inserted) by a role that row security does not bind, and with `ringfence tenant create`.\n\
             - `SELECT *` shows one column more.\n\n## What it costs\n\nNo table is rewritten. Each row is written once (stage 2). Built beside what \
             there is, without holding anybody up: one index for each key named above",
        );
        let plain = self.stages.iter().flat_map(|stage| &stage.statements);
        let plain = plain.filter(|statement| statement.about.ends_with("an index by tenant")).count();
        let _ = writeln!(
            text,
            ", and {plain} by tenant. Read once more: each table for its checks and foreign keys."
        );
        text.push_str("\nAfterwards, name these tables in the plane's settings (`[postgres] tables`). The schema `ringfence_adopt` stays: what undoes the migration is in it, and what names new tenants.\n\
             `ringfence data lint` looks over what else may let rows out: views, functions, roles.\n");
    }
}

/// A name or a piece of SQL within a line of Markdown.
fn code(text: &str) -> String {
    format!("`{}`", comment(text).replace('`', "'"))
}

/// SQL as a block of Markdown.
fn fenced(sql: &str) -> String {
    let lines: Vec<String> = sql.lines().map(|line| format!("    {}", comment(line))).collect();
    lines.join("\n")
}

/// Words in lines of at most so many letters, where words allow.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
