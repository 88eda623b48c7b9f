//! Methods by the names the literature gives them.

use crate::compare::{ANCHOR, METHOD};

/// Names of `--method`, and the literature's. `spar-report` reads what is on disk
/// alone and cannot ask the registry of baselines; a test of `spar` holds the two
/// together.
const TITLES: [(&str, &str); 18] = [
    (METHOD, "SPAR"),
    (ANCHOR, "BC"),
    ("bc10", "10%BC"),
    ("td3bc", "TD3+BC"),
    ("rebrac", "ReBRAC"),
    ("iql", "IQL"),
    ("awac", "AWAC"),
    ("cql", "CQL"),
    ("brac-p", "BRAC-p"),
    ("brac-v", "BRAC-v"),
    ("bcq", "BCQ"),
    ("plas", "PLAS"),
    ("plas-p", "PLAS+P"),
    ("awr", "AWR"),
    ("inac", "InAC"),
    ("rpl", "RPL"),
    ("hubl-td3bc", "HUBL TD3+BC"),
    ("hubl-iql", "HUBL IQL"),
];

/// A method's name in a sentence: the literature's, or, of a variant or a method
/// nobody knows here, its own.
pub fn short(method: &str) -> String {
    let known = TITLES.iter().find(|(name, _)| *name == method);
    known.map_or(method, |(_, title)| title).to_owned()
}

/// A method's name above a column.
pub(crate) fn label(method: &str) -> String {
    match method {
        ANCHOR => "BC (anchor)".to_owned(),
        other => short(other),
    }
}
