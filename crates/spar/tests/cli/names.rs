//! Reports name methods as their registry does.

#[test]
fn a_report_calls_every_baseline_what_the_registry_calls_it() {
    for entry in spar_baselines::METHODS {
        assert_eq!(spar_report::title(entry.name), entry.title);
    }
    assert_eq!(spar_report::title("spar"), "SPAR");
    assert_eq!(spar_report::title("no-fit"), "no-fit");
}
