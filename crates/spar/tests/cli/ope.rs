//! Policies evaluated on logged data, without a simulator.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Folder, prepared, suite_run, write_tensors};

/// Few updates: what is tested is not the estimate.
const OPE: &str = "ope --dataset data.hdf5 --updates 40";

fn trained() -> Folder {
    let folder = prepared();
    for (method, seed) in [("bc", 0), ("spar", 1)] {
        let out = format!("runs/pointmass-medium/{method}/seed-{seed}");
        let line =
            suite_run("short", method, &out, "").replace("--seed 3", &format!("--seed {seed}"));
        folder.spar(&line).ok();
    }
    folder
}

#[test]
fn a_run_gets_its_record_the_same_bytes_twice_and_keeps_it() {
    let folder = trained();
    let run = "runs/pointmass-medium/bc/seed-0";
    let first = folder.spar(&format!("{OPE} {run} --json"));
    let printed = first.json();
    let bytes = folder.read(&format!("{run}/ope.json"));
    let record: Value = serde_json::from_slice(&bytes).unwrap();
    for (key, value) in record.as_object().unwrap() {
        assert_eq!(&printed[key], value, "{key}");
    }
    assert_eq!(printed["policy"], format!("{run}/policy.safetensors"));
    assert!(printed["measured"]["mean_return"].is_f64());
    assert_eq!(
        (&record["env"], &record["method"]),
        (&json!("pointmass"), &json!("bc"))
    );
    assert_eq!(record["settings"]["horizon"], 100);
    assert_eq!(record["value"]["initial_states"], 8);
    assert_eq!(
        record["value"]["normalized_estimate"],
        Value::Null,
        "no reference returns"
    );
    assert!(record["held_out"]["transitions"].as_u64().unwrap() > 50);

    // Made alike: kept. With another seed: made again.
    let again = folder.spar(&format!("{OPE} {run}"));
    assert!(
        again.err.contains("is there already, made alike"),
        "{again:?}"
    );
    again.ok();
    assert_eq!(folder.read(&format!("{run}/ope.json")), bytes);
    let other = folder.spar(&format!("{OPE} {run} --seed 1 --horizon 50"));
    let note =
        format!("note: {run}/ope.json: replaced: horizon was 100, is 50; seed was 0, is 1\n");
    assert!(other.err.ends_with(&note), "{other:?}");
    other.ok();
    assert_ne!(folder.read(&format!("{run}/ope.json")), bytes);
    // On other data, and of another policy.
    let file = folder.path(&format!("{run}/ope.json"));
    let other = record.to_string().replace(
        record["dataset"]["sha256"].as_str().unwrap(),
        &"0".repeat(64),
    );
    fs::write(
        &file,
        other.replace(record["policy_sha256"].as_str().unwrap(), "f00d"),
    )
    .unwrap();
    let again = folder.spar(&format!("{OPE} {run}"));
    for fact in [
        "it was of another policy; ",
        "the data's sha256 was 00000000",
    ] {
        assert!(again.err.contains(fact), "{again:?}");
    }
    again.ok();
    assert_eq!(folder.read(&format!("{run}/ope.json")), bytes);
    fs::remove_file(folder.path(&format!("{run}/ope.json"))).unwrap();
    folder.spar(&format!("{OPE} {run}")).ok();
    assert_eq!(folder.read(&format!("{run}/ope.json")), bytes);
    // The run is still the one that it was.
    folder
        .spar(&format!("eval --policy {run} --episodes 1"))
        .ok();
}

#[test]
fn several_runs_are_a_table_and_what_would_have_been_picked() {
    let folder = trained();
    let runs = "runs/pointmass-medium/bc/seed-0 runs/pointmass-medium/spar/seed-1";
    let said = folder.spar(&format!("{OPE} {runs}")).ok();
    assert!(
        said.contains("of 2 policies runs/pointmass-medium/"),
        "{said}"
    );
    assert!(
        said.contains("return ") && said.contains("rank correlation"),
        "{said}"
    );
    let lines = folder.spar(&format!("{OPE} {runs} --json")).ok();
    assert_eq!(lines.lines().count(), 2);
}

#[test]
fn any_policy_is_evaluated_on_any_data_of_its_widths() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let net = |name: &str, width: usize, weight: f32| {
        let tensors = [
            (
                "layers.0.weight".to_owned(),
                vec![1, width],
                vec![weight; width],
            ),
            ("layers.0.bias".to_owned(), vec![1], vec![0.0]),
            ("obs_mean".to_owned(), vec![width], vec![0.0; width]),
            ("obs_std".to_owned(), vec![width], vec![1.0; width]),
        ];
        let meta = [("activation", "relu"), ("output", "identity")];
        write_tensors(&folder.path(name), &tensors, &meta);
    };
    net("spring.safetensors", 2, -1.0);
    net("other.safetensors", 3, -1.0);
    let line = format!("{OPE} --policy spring.safetensors --out found.json");
    let said = folder.spar(&line).ok();
    assert!(said.contains("discounted return [95%]") && said.contains("8 initial states"));
    let found: Value = serde_json::from_slice(&folder.read("found.json")).unwrap();
    // Nobody says which environment it is: no horizon, no score.
    assert_eq!(
        (&found["env"], &found["method"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(found["settings"]["horizon"], Value::Null);
    folder
        .spar(&line)
        .fails(1, &["found.json", "is there already"]);
    let widths = [
        "other.safetensors",
        "maps 3 observations to 1 actions, the data have 2 and 1",
    ];
    folder
        .spar(&format!("{OPE} --policy other.safetensors --out none.json"))
        .fails(1, &widths);
    assert!(!folder.exists("none.json"));
}

#[test]
fn what_cannot_be_evaluated_is_refused_in_one_line() {
    let folder = trained();
    let run = "runs/pointmass-medium/bc/seed-0";
    for (line, code, facts) in [
        ("ope --dataset data.hdf5".to_owned(), 2, vec!["RUN"]),
        (format!("{OPE} {run} --policy {run}"), 2, vec!["--policy"]),
        (
            format!("{OPE} runs"),
            1,
            vec!["runs", "holds no finished run", "--policy"],
        ),
        (
            format!("{OPE} {run} --discount 1"),
            1,
            vec!["`discount` is 1"],
        ),
        (
            format!("{OPE} {run} --held-out=-0.5"),
            1,
            vec!["`held_out` is -0.5"],
        ),
        (
            format!("ope --dataset data.hdf5 {run} --updates 0"),
            1,
            vec!["`updates` is 0"],
        ),
        (
            format!("{OPE} {run} --env maze2d-umaze"),
            2,
            vec!["was trained for pointmass"],
        ),
        (
            format!("ope --dataset gone.hdf5 {run}"),
            1,
            vec!["gone.hdf5"],
        ),
    ] {
        folder.spar(&line).fails(code, &facts);
    }
    assert!(!folder.exists(&format!("{run}/ope.json")));
    fs::write(folder.path(&format!("{run}/ope.json")), "{}").unwrap();
    let facts = ["ope.json", "not a valid record of `spar ope`", "remove it"];
    folder.spar(&format!("{OPE} {run}")).fails(1, &facts);
}
