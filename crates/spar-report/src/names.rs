//! Methods by the names the literature gives them, and data that share a name.

use spar_core::names::METHODS;

use crate::compare::ANCHOR;

/// What the name of a method ends with where its run was fine-tuned.
pub(crate) const FINETUNED: &str = "-finetuned";

/// Digits of a hash that tell two files apart.
const DIGITS: usize = 8;

/// A method's name in a sentence: the literature's, or, of a variant or a method
/// nobody knows here, its own.
pub fn short(method: &str) -> String {
    let known = |method: &str| METHODS.iter().find(|(name, _)| *name == method);
    match method.strip_suffix(FINETUNED).and_then(known) {
        Some((_, title)) => format!("{title} fine-tuned"),
        None => known(method).map_or(method, |(_, title)| title).to_owned(),
    }
}

/// A method's name above a column.
pub(crate) fn label(method: &str) -> String {
    match method {
        ANCHOR => "BC (anchor)".to_owned(),
        other => short(other),
    }
}

/// What data are called that have the name `id`: with the start of their SHA-256 where
/// `several` files of a table have that name.
pub(crate) fn data(id: &str, sha256: &str, several: bool) -> String {
    match several {
        false => id.to_owned(),
        true => {
            let digits: String = sha256.chars().take(DIGITS).collect();
            format!("{id} ({digits})")
        }
    }
}
