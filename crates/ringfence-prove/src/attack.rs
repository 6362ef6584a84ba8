//! What an attack is: an entry in a table, with what is expected to stop it, and the code that tries.

use std::{future::Future, pin::Pin};

use ringfence_context::Layer;

use crate::{attacker::Attacker, outcome::Outcome};

/// What an attack comes to, in a while.
pub(crate) type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Whether a legitimate use of the same mechanics works, and if not, what came instead.
pub(crate) type Trial<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// When an attack is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Beside others.
    Together,
    /// By itself, with the victims' rows hashed before and after: it may change them.
    Alone,
    /// By itself, after all others: it uses up what they need.
    Last,
}

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    /// Its name, unique.
    pub(crate) id: &'static str,
    /// What is tried.
    pub(crate) title: &'static str,
    /// What is expected to stop it first.
    pub(crate) expected: Layer,
    /// When it is run.
    pub(crate) lane: Lane,
    /// Tries it.
    pub(crate) run: for<'a> fn(&'a Attacker) -> Attempt<'a>,
}

/// A legitimate use of an attack's mechanics: it must work, so that an attack is not stopped by a broken tool.
#[derive(Clone, Copy)]
pub(crate) struct Control {
    /// What is done.
    pub(crate) title: &'static str,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a Attacker) -> Trial<'a>,
}

/// Attacks of one kind, with their controls.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    /// Its name.
    pub(crate) name: &'static str,
    /// The attacks.
    pub(crate) attacks: &'static [Attack],
    /// The controls.
    pub(crate) controls: &'static [Control],
}

/// `attack!("id", "title", Layer, Lane, |a| outcome)`.
macro_rules! attack {
    ($id:literal, $title:literal, $layer:ident, $lane:ident, |$a:ident| $run:expr) => {
        $crate::attack::Attack {
            id: $id,
            title: $title,
            expected: ringfence_context::Layer::$layer,
            lane: $crate::attack::Lane::$lane,
            run: |$a| Box::pin(async move { $run }),
        }
    };
}

/// `control!("title", |a| Result<(), String>)`.
macro_rules! control {
    ($title:literal, |$a:ident| $run:expr) => {
        $crate::attack::Control { title: $title, run: |$a| Box::pin(async move { $run }) }
    };
}

pub(crate) use {attack, control};
