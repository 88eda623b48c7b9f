#![allow(clippy::unwrap_used)]

use super::{
    super::{methods::tests::methods, report::tests::report, scaling::tests::scaling},
    *,
};

/// A comparison on the machine of [`scaling`].
fn comparison() -> Report {
    let mut report = report();
    report.machine = scaling().machine;
    report
}

#[test]
fn every_table_stands_in_the_page_as_it_is_printed() {
    let (comparison, scaling) = (comparison(), scaling());
    let page = page(&comparison, &scaling, None).unwrap();
    assert!(!page.contains("{{") && !page.contains("\n\n\n"), "{page}");
    let memory = scaling.memory.as_ref().unwrap();
    for printed in [
        comparison.contenders_table(),
        comparison.parts_table(),
        comparison.all_cores_table().unwrap(),
        scaling.side_by_side_table(),
        scaling.batch_table(),
        scaling.width_table(),
        memory.table(),
    ] {
        assert!(page.contains(&printed.to_string()), "{printed}\n{page}");
    }
    for said in [
        "Measured on 2026-11-24 (UTC) at commit 0123456789ab.",
        "a CPU, avx2 fma; one core: 100.0 GFLOP/s",
        "Versions: jax 0.10.",
        "- missing: torch: pip: no network",
        "grows by 1.10 bytes for each byte of data: 1",
        "within 3e-4 of themselves",
    ] {
        assert!(page.contains(said), "{said}\n{page}");
    }
}

#[test]
fn what_was_not_measured_leaves_no_gap() {
    let (mut comparison, mut scaling) = (comparison(), scaling());
    comparison.all_cores.clear();
    comparison.missing.clear();
    scaling.memory = None;
    let page = page(&comparison, &scaling, None).unwrap();
    assert!(
        page.contains("Not measured.") && !page.contains("\n\n\n"),
        "{page}"
    );
}

#[test]
fn two_machines_make_no_page() {
    let mut scaling = scaling();
    scaling.machine.cores = 64;
    let error = page(&comparison(), &scaling, None).unwrap_err().to_string();
    assert!(
        error.contains("a CPU with 4 cores, a CPU with 64"),
        "{error}"
    );
}

#[test]
fn a_place_and_its_figure_belong_together() {
    let filled = |template, figures: &[(&str, String)]| {
        fill(template, figures).map_err(|error| error.to_string())
    };
    let one = [("a", "1".to_owned())];
    assert_eq!(
        filled("{{a}} and {{a}}\n", &one),
        Ok("1 and 1\n".to_owned())
    );
    assert!(filled("a", &one).unwrap_err().contains("{{a}}"));
    assert!(
        filled("{{a}} {{b}} c", &one)
            .unwrap_err()
            .contains("{{b}} c")
    );
}

#[test]
fn page_and_plot_are_written_of_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("docs")).unwrap();
    let error = write(root, root).unwrap_err().to_string();
    assert!(error.contains("`cargo xtask bench` makes it"), "{error}");
    let (comparison, scaling) = (comparison(), scaling());
    crate::bench::write_json(&root.join(COMPARISON), &comparison).unwrap();
    crate::bench::write_json(&root.join(SCALING), &scaling).unwrap();
    write(root, root).unwrap();
    let text = fs::read_to_string(root.join(PAGE)).unwrap();
    assert_eq!(text, page(&comparison, &scaling, None).unwrap());
    assert!(
        fs::read_to_string(root.join(PLOT))
            .unwrap()
            .contains("<svg")
    );
}

/// A page without a measurement of other methods has no section of them; where nothing else
/// was measured here, theirs is written into the page as it stands.
#[test]
fn other_methods_have_a_section_of_their_own() {
    let (comparison, scaling, methods) = (comparison(), scaling(), methods());
    let without = page(&comparison, &scaling, None).unwrap();
    let with = page(&comparison, &scaling, Some(&methods)).unwrap();
    assert!(!without.contains(SECTION) && !with.contains("{{"), "{with}");
    for said in [
        methods.table().to_string(),
        methods.summary(),
        "at commit abcdefabcdef.".to_owned(),
    ] {
        assert!(
            with.contains(&said) && !without.contains(&said),
            "{said}\n{with}"
        );
    }

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("docs")).unwrap();
    crate::bench::write_json(&root.join(METHODS), &methods).unwrap();
    for before in [&without, &with.replace("1.20x", "9.99x")] {
        std::fs::write(root.join(PAGE), before).unwrap();
        write(root, root).unwrap();
        assert_eq!(std::fs::read_to_string(root.join(PAGE)).unwrap(), with);
    }
}
