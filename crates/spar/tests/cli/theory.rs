//! `spar theory` on synthetic tasks, and on runs the program made itself.

use serde_json::Value;

use crate::support::{Folder, prepared, suite_run};

fn claim(folder: &Folder, id: &str) -> Value {
    let all: Value = serde_json::from_slice(&folder.read("theory/theory.json")).unwrap();
    let claims = all["claims"].as_array().unwrap().clone();
    claims.into_iter().find(|claim| claim["id"] == id).unwrap()
}

#[test]
fn a_finished_claim_is_used_again_if_nothing_it_was_made_from_changed() {
    let folder = Folder::new();
    let theory = |words: &str| folder.spar(&format!("theory --out theory --smoke {words}"));
    let first = theory("--claims 1-drift,2-literal").ok();
    assert!(first.contains("1-drift") && first.contains("control of 2-literal"));
    for file in [
        "theory.md",
        "theory.json",
        "drift.svg",
        "claims/1-drift.json",
    ] {
        assert!(folder.exists(&format!("theory/{file}")), "{file}");
    }
    let bits = folder.read("theory/theory.json");
    // Its figure is of what is kept: what an earlier run found, not what is found now.
    let path = folder.path("theory/claims/1-drift.json");
    let kept = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, kept.replace("leaves the manifold", "LEAVES")).unwrap();
    theory("--claims 1-drift,2-literal").ok();
    let hypothesis = claim(&folder, "1-drift")["hypothesis"].clone();
    assert!(hypothesis.as_str().unwrap().contains("LEAVES"));
    // Another seed, and a file that is none, are made again.
    theory("--claims 1-drift --seed 1").ok();
    let hypothesis = claim(&folder, "1-drift")["hypothesis"].clone();
    assert!(!hypothesis.as_str().unwrap().contains("LEAVES"));
    std::fs::write(&path, "{").unwrap();
    theory("--claims 1-drift,2-literal").ok();
    assert_eq!(folder.read("theory/theory.json"), bits);
}

#[test]
fn runs_are_measured_on_their_own_data_and_missing_ones_are_named() {
    let folder = prepared();
    for method in ["bc", "spar"] {
        let out = format!("runs/pointmass-medium/{method}/seed-3");
        folder.spar(&suite_run("short", method, &out, "")).ok();
    }
    let theory = |words: &str| {
        folder.spar(&format!(
            "theory --out theory --smoke --claims 4-support --runs runs {words}"
        ))
    };
    theory("--data pointmass-medium=data.hdf5").ok();
    let text = |claim: &Value, what: &str| {
        let findings = claim["findings"].as_array().unwrap();
        let of = |f: &&Value| f["what"].as_str().unwrap().contains(what);
        findings.iter().find(of).unwrap().clone()
    };
    let found = claim(&folder, "4-support");
    assert!(text(&found, "pointmass-medium: normal component, spar")["value"].is_f64());
    assert!(text(&found, "pointmass-medium: SPAR less its anchor")["value"].is_f64());
    assert_eq!(text(&found, "pointmass-medium: iql")["expected"], "missing");

    theory("").ok();
    let found = claim(&folder, "4-support");
    let row = text(&found, "pointmass-medium");
    assert_eq!(row["verdict"], "inconclusive");
    assert!(
        row["expected"]
            .as_str()
            .unwrap()
            .contains("give --data pointmass-medium=FILE")
    );

    let other = std::collections::BTreeMap::from([(
        "note".to_owned(),
        spar_data::MetaValue::Text("other".to_owned()),
    )]);
    folder.write_data_with("other.hdf5", &other);
    theory("--data pointmass-medium=other.hdf5").ok();
    let found = claim(&folder, "4-support");
    let row = text(&found, "pointmass-medium");
    assert!(row["expected"].as_str().unwrap().contains("was trained on"));
}

#[test]
fn what_cannot_be_tested_is_refused() {
    let folder = prepared();
    let theory = |words: &str| folder.spar(&format!("theory --out theory --smoke {words}"));
    theory("--claims 9-fame").fails(2, &["no claim `9-fame`", "1-drift"]);
    theory("--runs nowhere").fails(1, &["nowhere"]);
    theory("--data hopper-medium").fails(2, &["TASK=FILE"]);
    std::fs::create_dir(folder.path("empty")).unwrap();
    theory("--runs empty").fails(1, &["no task's folder there"]);
    assert!(!folder.exists("theory"));
}
