//! Methods by the names the literature gives them.

use spar_core::names::METHODS;

use crate::compare::ANCHOR;

/// A method's name in a sentence: the literature's, or, of a variant or a method
/// nobody knows here, its own.
pub fn short(method: &str) -> String {
    let known = METHODS.iter().find(|(name, _)| *name == method);
    known.map_or(method, |(_, title)| title).to_owned()
}

/// A method's name above a column.
pub(crate) fn label(method: &str) -> String {
    match method {
        ANCHOR => "BC (anchor)".to_owned(),
        other => short(other),
    }
}
