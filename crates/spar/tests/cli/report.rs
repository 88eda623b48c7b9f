//! `spar report` on runs the program made itself.

use std::path::Path;

use crate::support::{prepared, suite_run};

#[test]
fn runs_that_are_not_there_are_missing_from_the_table() {
    let folder = prepared();
    let runs = "runs/pointmass-medium/bc/seed-3";
    folder.spar(&suite_run("short", "bc", runs, "")).ok();
    let line = "report --suite suite.toml --preset short --runs runs --out report \
         --tasks pointmass-medium,pointmass-medium-replay --methods bc,spar --seeds 3,4";
    let table = folder.spar(line).ok();
    assert!(
        table.contains("pointmass-medium") && table.contains("missing"),
        "{table}"
    );
    let files = folder.files("report");
    for name in [
        "table.md",
        "table.csv",
        "table.tex",
        "results.json",
        "report.html",
    ] {
        assert!(files.contains(&format!("report/{name}")), "{files:?}");
    }
    let results = folder.read("report/results.json");
    let read: serde_json::Value = serde_json::from_slice(&results).unwrap();
    assert_eq!(read["missing"].as_array().unwrap().len(), 7);
    assert_eq!(read["cells"].as_array().unwrap().len(), 1);

    // Without a single run a report would be of nothing, and replace this one.
    for (other, fact) in [
        (
            line.replace("--runs runs", "--runs rnus"),
            "rnus: there is no such folder",
        ),
        (
            line.replace("3,4", "7"),
            "none of the 4 runs asked for is there",
        ),
        (
            line.replace("--runs runs", "--runs report"),
            "none of the 8 runs asked for is there",
        ),
    ] {
        folder.spar(&other).fails(1, &[fact, "spar suite run"]);
    }
    assert_eq!(folder.read("report/results.json"), results);
}

/// A suite that was edited since does not get the numbers of the settings before.
#[test]
fn runs_of_other_settings_than_the_suites_are_missing_and_say_which() {
    let folder = prepared();
    for method in ["bc", "spar"] {
        let run = format!("runs/pointmass-medium/{method}/seed-3");
        folder.spar(&suite_run("short", method, &run, "")).ok();
    }
    let line = |methods: &str| {
        format!(
            "report --suite suite.toml --preset short --runs runs --out report \
             --tasks pointmass-medium --methods {methods} --seeds 3"
        )
    };
    let whole = folder.spar(&line("bc,spar"));
    assert_eq!(whole.err, "");
    assert!(!whole.ok().contains("missing"));
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    let edited = suite.replace("w_fit = 0.1", "w_fit = 0.3");
    std::fs::write(folder.path("suite.toml"), &edited).unwrap();
    let said = "other settings: its config.rectify.w_fit is 0.1, the suite's 0.3";
    let table = folder.spar(&line("bc,spar")).ok();
    assert!(
        table.contains("1 of 2 runs missing") && table.contains(said),
        "{table}"
    );
    let read: serde_json::Value =
        serde_json::from_slice(&folder.read("report/results.json")).unwrap();
    assert_eq!(read["missing"][0]["reason"], "other settings");
    assert_eq!(read["cells"].as_array().unwrap().len(), 1);
    folder.spar(&line("spar")).fails(1, &[said]);
    let bands = "report bands --suite suite.toml --preset short --runs runs";
    let bands = folder.spar(bands);
    assert!(
        bands
            .err
            .contains("pointmass-medium spar: seed 3 has other settings"),
        "{bands:?}"
    );

    // Settings that no run can be made with are told with their place.
    let wrong = suite.replace("w_fit = 0.1", "wfit = 0.1");
    std::fs::write(folder.path("suite.toml"), wrong).unwrap();
    folder.spar(&line("bc,spar")).fails(
        1,
        &["suite file suite.toml, pointmass-medium, method", "`wfit`"],
    );
}

/// One figure of a report, as an SVG the report's own and as a PNG, or none.
#[test]
fn a_figure_of_a_report_is_drawn_by_itself() {
    let folder = prepared();
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let of = format!(
        "--suite {here}/suites/mujoco.toml --preset quick --runs {here}/docs/runs/mujoco-quick \
         --tasks hopper-medium,walker2d-medium --methods bc,spar --seeds 0,1,2"
    );
    folder.spar(&format!("report {of} --out report")).ok();
    for (options, file) in [
        ("", "curves/overview.svg"),
        ("--figure hopper-medium", "curves/hopper-medium.svg"),
        ("--figure profiles", "plots/profiles.svg"),
    ] {
        let line = format!("report plot {of} {options} --out");
        folder.spar(&format!("{line} figure.svg")).ok();
        let figure = folder.read("figure.svg");
        assert_eq!(figure, folder.read(&format!("report/{file}")), "{file}");
        folder.spar(&format!("{line} figure.png")).ok();
        let png = folder.read("figure.png");
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{file}");
        // Twice the width of the SVG, at its place in the header.
        let width = u32::from_be_bytes(png[16..20].try_into().unwrap());
        let svg = String::from_utf8(figure).unwrap();
        assert!(svg.contains(&format!("width=\"{}\"", width / 2)), "{file}");
    }
    for (line, code, fact) in [
        (
            format!("report plot {of} --figure curve --out a.svg"),
            2,
            "expected one of hopper-medium",
        ),
        (
            format!("report plot {of} --out a.pdf"),
            2,
            "expected a name that ends with .svg or .png",
        ),
        (
            "report plot --runs . --out a.svg".to_owned(),
            1,
            "give --suite and --preset",
        ),
    ] {
        folder.spar(&line).fails(code, &[fact]);
    }
    assert!(!folder.exists("a.svg") && !folder.exists("a.pdf"));
}

#[test]
fn what_cannot_be_reported_is_refused() {
    let folder = prepared();
    let runs = "runs/pointmass-medium/bc/seed-3";
    folder.spar(&suite_run("short", "bc", runs, "")).ok();
    let report = |words: &str| {
        folder.spar(&format!(
            "report --suite suite.toml --runs runs --out report {words}"
        ))
    };
    report("--preset huge").fails(2, &["no preset `huge`", "long, short"]);
    report("--preset short --methods bc,sac").fails(2, &["unknown method `sac`"]);
    report("--preset short --tasks hopper").fails(2, &["unknown task `hopper`"]);
    folder
        .spar("report --suite suite.toml --runs runs")
        .fails(2, &["--preset", "--out"]);
    assert!(!folder.exists("report"));
}

/// Puts the record of a finished run and the settings it was made with into `folder`.
fn put(folder: &Path, suite: &str, method: &str, seed: u64, gain: f64) {
    let record = record(suite, method, seed, gain);
    let mut spec = serde_json::json!({
        "method": "spar", "final_episodes": 5,
        "config": {
            "updates": 10, "anchor": { "updates": 10 },
            "critic": { "tau": 0.02 }, "rectify": { "w_fit": if method == "spar" { 2.0 } else { 0.0 } },
        },
    });
    for field in [
        "suite",
        "preset",
        "task",
        "seed",
        "env",
        "dataset",
        "eval_seed",
        "device",
    ] {
        spec[field] = record[field].clone();
    }
    if method != "spar" {
        spec["variant"] = method.into();
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("DONE"), record.to_string()).unwrap();
    std::fs::write(folder.join("spec.json"), spec.to_string()).unwrap();
}

/// The record of a finished run.
fn record(suite: &str, method: &str, seed: u64, gain: f64) -> serde_json::Value {
    let returns: Vec<f64> = (0..5)
        .map(|e| 500.0 + gain + f64::from(e) * 10.0 + seed as f64)
        .collect();
    serde_json::json!({
        "suite": suite, "preset": "quick", "task": "hopper-medium", "method": method,
        "seed": seed, "env": "hopper", "returns": returns, "eval_seed": 42,
        "dataset": { "id": "hopper-medium-local", "origin": "local", "sha256": "00", "rows": 9 },
        "updates": 10, "anchor_updates": 10, "wall_s": 1.0, "commit": "abc",
        "mujoco_version": "3.17.0", "threads": 1, "device": "cpu", "command": "spar train",
    })
}

/// The suites as they are, one extending the other.
#[test]
fn variants_of_a_suite_are_reported_on_by_name() {
    let folder = prepared();
    let suites = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../suites"));
    for suite in ["mujoco.toml", "ablation.toml"] {
        std::fs::copy(suites.join(suite), folder.path(suite)).unwrap();
    }
    for (method, gain) in [("spar", 100.0), ("no-fit", 0.0)] {
        for seed in [0, 1] {
            let run = folder.path(&format!("runs/hopper-medium/{method}/seed-{seed}"));
            put(&run, "ablation", method, seed, gain);
        }
    }
    let report = |methods: &str| {
        folder.spar(&format!(
            "report --suite ablation.toml --preset quick --runs runs --out report \
             --tasks hopper-medium --methods {methods}"
        ))
    };
    let text = report("spar,no-fit").ok();
    assert!(
        text.contains("no-fit: -3.1 [-3.1, -3.1] against SPAR over 1 task: SPAR is better"),
        "{text}"
    );
    report("spar,no-fitt").fails(2, &["unknown method `no-fitt`"]);
}

#[test]
fn two_folders_of_runs_are_compared() {
    let folder = prepared();
    for (runs, gain) in [("old", 0.0), ("new", 100.0)] {
        for seed in [0, 1] {
            let run = folder.path(&format!("{runs}/hopper-medium/spar/seed-{seed}"));
            put(&run, "mujoco", "spar", seed, gain);
        }
    }
    let text = folder.spar("report compare old new").ok();
    assert!(
        text.contains("SPAR: B is above A on 1 of 1 tasks; mean difference +3.1 [+3.1, +3.1]"),
        "{text}"
    );
    assert!(text.contains("B is better"), "{text}");
    let json = folder.spar("report compare new old --json").ok();
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["rows"][0]["outcome"], "better-a");
    folder
        .spar("report compare old nowhere")
        .fails(1, &["nowhere"]);
    folder.spar("report compare old").fails(2, &["RUNS_B"]);
    folder
        .spar("report compare old new --preset smoke")
        .fails(2, &["--preset"]);
}
