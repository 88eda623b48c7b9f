//! Suites and reports know the methods that there are, by the names they have.

use std::collections::BTreeSet;

use spar_core::names::METHODS;
use spar_train::Method;

#[test]
fn suites_know_every_method_and_no_other() {
    let there: BTreeSet<_> = Method::all().map(Method::name).collect();
    let known: BTreeSet<_> = METHODS.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, there);
    assert_eq!(METHODS.len(), there.len(), "a method is named twice");
}

#[test]
fn a_report_calls_every_baseline_what_the_registry_calls_it() {
    for entry in spar_baselines::METHODS {
        assert_eq!(spar_report::title(entry.name), entry.title);
    }
    assert_eq!(spar_report::title("spar"), "SPAR");
    assert_eq!(spar_report::title("no-fit"), "no-fit");
}
