//! Texts of suites and of other people's run folders stay texts in every format.

use spar_core::suite::Bands;
use spar_report::{Report, Versus, render_terminal};

use crate::{file, runs::Runs};

const EVIL: &str = "\"><img src=x onerror=alert(2)><script>alert(1)</script>| a |\n](javascript:alert(4))`\u{1b}[31m\u{9b}2J\u{202e}";

/// Everything that others may have written, hostile.
fn hostile() -> Runs {
    let mut runs = Runs::with_variants(50.0);
    for task in ["halfcheetah-medium", "hopper-medium", "walker2d-medium"] {
        for method in ["spar", "no-fit"] {
            for seed in 0..2 {
                runs.change(task, method, seed, |r| {
                    for text in [&mut r.commit, &mut r.device, &mut r.command] {
                        text.push_str(EVIL);
                    }
                });
            }
        }
        runs.remove(task, "k-2", 0);
        let _ = std::fs::remove_dir_all(runs.folder(task, "k-2", 1));
        for method in ["spar", "no-fit"] {
            for seed in 0..2 {
                runs.change(task, method, seed, |r| {
                    r.dataset.id = format!("=cmd|{EVIL}");
                    r.mujoco_version.push_str(EVIL);
                });
            }
        }
    }
    let suite = &mut runs.request.suite;
    suite.presets.get_mut("quick").unwrap().description = EVIL.to_owned();
    suite.variant.get_mut("no-fit").unwrap().about = EVIL.to_owned();
    suite.bands = vec![Bands {
        preset: "quick".to_owned(),
        data: spar_core::Origin::Local,
        method: "spar".to_owned(),
        basis: EVIL.to_owned(),
        scores: [("hopper-medium".to_owned(), [500.0, 501.0])].into(),
    }];
    runs
}

#[track_caller]
fn plain(name: &str, text: &str) {
    let active = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    let found = text.find(active);
    assert!(found.is_none(), "{name}: {:?}", found.map(|at| &text[at..]));
}

#[test]
fn no_format_of_a_report_acts_on_foreign_text() {
    let runs = hostile();
    let report = Report::build(&runs.request).unwrap();
    assert!(!report.results.flags.is_empty());
    for (name, text) in report.files().unwrap() {
        plain(&name, &text);
        // A value, as JSON's are, is no markup.
        if !name.ends_with(".json") && !name.ends_with(".csv") && !name.ends_with(".tex") {
            assert!(!text.contains("<script"), "{name}");
            assert!(!text.contains("<img"), "{name}");
        }
    }
    let markdown = file(&report, "table.md");
    assert!(!markdown.contains("](java"), "{markdown}");
    let rows: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    for row in rows {
        let bars = row.replace("\\|", "").matches('|').count();
        assert!(bars >= 5, "a cell broke its row: {row}");
    }
    for line in csv::Reader::from_reader(file(&report, "table.csv").as_bytes()).records() {
        for field in &line.unwrap() {
            assert!(!field.starts_with(['=', '@']), "{field}");
        }
    }
    let latex = file(&report, "table.tex");
    for line in latex.lines().filter(|line| !line.starts_with('%')) {
        assert!(!line.contains('<'), "{line}");
    }
    plain("the terminal", &render_terminal(&report));
}

#[test]
fn a_comparison_prints_no_foreign_control_characters() {
    let (a, b) = (hostile(), hostile());
    b.change("hopper-medium", "spar", 0, |r| {
        r.commit.push_str("\u{7}else")
    });
    let found = Versus::of(&a.request.runs, &b.request.runs).unwrap();
    plain("compare", &found.render());
}
