//! Progress on standard error: configurations done, and how long the rest will take.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or none.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over so many configurations of so many attacks.
    pub(crate) fn new(drawn: bool, configurations: usize, attacks: usize) -> Self {
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let steps = u64::try_from(configurations.saturating_mul(attacks)).unwrap_or(u64::MAX);
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let template = "{prefix:>9} [{bar:40}] {percent:>3}%  {elapsed} elapsed, {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix("attacking");
        Self { bar }
    }

    /// A configuration begins.
    pub(crate) fn begins(&self, broken: &[&str]) {
        let what =
            if broken.is_empty() { "intact".to_owned() } else { format!("without {}", broken.join(" and ")) };
        self.bar.set_message(what);
    }

    /// One attack is over.
    pub(crate) fn attack_over(&self) {
        self.bar.inc(1);
    }

    /// One configuration is over.
    pub(crate) fn configuration_over(&self) {
        self.bar.tick();
    }

    /// Everything is.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
