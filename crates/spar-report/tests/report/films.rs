//! Films of evaluation episodes on the page.

use std::fs;

use serde_json::json;
use spar_core::sha256_hex;
use spar_report::Report;

use crate::{file, runs::Runs};

const FILM: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";

fn put(runs: &Runs, edit: impl FnOnce(&mut serde_json::Value)) {
    let run = runs.record("hopper-medium", "spar", 1);
    let clip = |name: &str, episode: usize| {
        json!({
            "name": name, "episode": episode, "return": run.returns[episode], "length": 900,
            "shown": 125, "sha256": sha256_hex(FILM.as_bytes()),
        })
    };
    let mut record = json!({
        "schema": 1, "policy_sha256": "f00d", "eval_seed": run.eval_seed,
        "clips": [clip("best", 2), clip("worst", 0)],
    });
    edit(&mut record);
    let folder = runs.folder("hopper-medium", "spar", 1).join("clips");
    fs::create_dir_all(&folder).unwrap();
    for name in ["best", "worst"] {
        fs::write(folder.join(format!("{name}.svg")), FILM).unwrap();
    }
    fs::write(folder.join("clips.json"), record.to_string()).unwrap();
}

fn said(runs: &Runs) -> String {
    let error = Report::build(&runs.request).unwrap_err().to_string();
    error.replace(&runs.request.runs.display().to_string(), "RUNS")
}

#[test]
fn films_are_pictures_that_cannot_act_on_the_page() {
    let runs = Runs::complete();
    put(&runs, |_| ());
    let report = Report::build(&runs.request).unwrap();
    let page = file(&report, "report.html");
    let returns = runs.record("hopper-medium", "spar", 1).returns;
    let caption = format!(
        "best episode (2), return {:.1}, its first 125 of 900 steps",
        returns[2]
    );
    assert_eq!(page.matches(&caption).count(), 2, "alt text and caption");
    assert_eq!(page.matches("src=\"data:image/svg+xml;base64,").count(), 2);
    assert!(
        !page.contains("<script"),
        "a foreign film is no part of the page"
    );
    assert!(
        !file(
            &Report::build(&Runs::complete().request).unwrap(),
            "report.html"
        )
        .contains("data:image")
    );
}

#[test]
fn films_of_another_run_or_of_other_bytes_are_refused() {
    type Edit = fn(&mut serde_json::Value);
    let edits: [(Edit, &str); 6] = [
        (|r| r["schema"] = json!(9), "schema 9, expected 1"),
        (
            |r| r["eval_seed"] = json!(9),
            "of another policy or evaluation",
        ),
        (
            |r| r["clips"][0]["return"] = json!(1.0),
            "episode 2 has another return",
        ),
        (
            |r| r["clips"][0]["episode"] = json!(99),
            "episode 99 has another return",
        ),
        (
            |r| r["clips"][1]["sha256"] = json!("00"),
            "worst.svg is not the film it names",
        ),
        (
            |r| r["clips"][1]["name"] = json!("../../spec"),
            "called neither best nor worst",
        ),
    ];
    for (edit, expected) in edits {
        let runs = Runs::complete();
        put(&runs, edit);
        let error = said(&runs);
        let start = "RUNS/hopper-medium/spar/seed-1/clips/clips.json: not the films of this run: ";
        assert!(
            error.starts_with(start) && error.contains(expected),
            "{error}"
        );
    }
}
