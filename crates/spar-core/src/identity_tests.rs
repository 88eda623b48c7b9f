#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn spec(method: &str) -> Value {
    json!({
        "suite": "none", "preset": "none", "task": "mine.hdf5", "method": method, "seed": 9,
        "env": "hopper", "eval_seed": 42, "final_episodes": 10, "device": "cpu",
        "dataset": { "id": "mine.hdf5", "origin": "user", "sha256": "feed", "rows": 7 },
        "config": {
            "batch_size": 64, "updates": 1000, "reward_range": 1000.0, "eval_every": 100,
            "eval_episodes": 2, "checkpoint_every": 50, "detached_precision": "f32",
            "anchor": { "hidden": [8], "lr": 0.0003, "updates": 500 },
            "data": { "hubl": { "alpha": 0.1 } },
            "critic": { "tau": 0.02, "deviations": null, "penalty": 0.0, "penalty_ratio": 0.0 },
            "rectify": { "beta": 0.03, "ablation": "none", "scale": 0.0 },
        },
    })
}

fn of(spec: &Value) -> RunIdentity {
    RunIdentity::of(spec, false).unwrap()
}

/// `spec` with the field at `path` set to `value`.
fn with(spec: &Value, path: &str, value: Value) -> Value {
    let mut spec = spec.clone();
    *spec.pointer_mut(path).unwrap() = value;
    spec
}

fn named(there: &Value, here: &Value, scope: Scope) -> Vec<String> {
    let differences = of(here).differences(&of(there), scope);
    differences.into_iter().map(|d| d.field).collect()
}

/// Two lists of fields of different lengths were zipped: everything after the first field
/// that only one of them had was compared with its neighbour.
#[test]
fn a_field_that_one_record_lacks_is_named_and_shifts_no_other() {
    let here = spec("spar");
    let mut there = here.clone();
    there["config"]["critic"]
        .as_object_mut()
        .unwrap()
        .remove("tau");
    for scope in [Scope::Resume, Scope::Whole, Scope::Seeds] {
        assert_eq!(named(&there, &here, scope), ["config.critic.tau"]);
        assert_eq!(named(&here, &there, scope), ["config.critic.tau"]);
    }
    let difference = &of(&here).differences(&of(&there), Scope::Whole)[0];
    assert_eq!((&*difference.there, &*difference.here), ("absent", "0.02"));
}

#[test]
fn what_a_record_lacks_because_it_is_old_has_the_value_of_its_time() {
    let here = spec("spar");
    let mut there = here.clone();
    for (field, value) in HISTORIC {
        let pointer = format!("/{}", field.replace('.', "/"));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        assert_eq!(
            here.pointer(&pointer).unwrap(),
            &serde_json::from_str::<Value>(value).unwrap()
        );
        let parent = there.pointer_mut(parent).unwrap();
        parent.as_object_mut().unwrap().remove(name).unwrap();
    }
    assert_ne!(here, there);
    assert_eq!(of(&here), of(&there));
    let ablated = with(&here, "/config/rectify/ablation", json!("global"));
    assert_eq!(
        named(&there, &ablated, Scope::Seeds),
        ["config.rectify.ablation"]
    );
}

#[test]
fn every_difference_is_named_and_the_command_line_s_come_first() {
    let here = spec("spar");
    let mut there = with(&here, "/config/critic/tau", json!(0.05));
    there = with(&there, "/config/anchor/lr", json!(0.1));
    there = with(&there, "/seed", json!(77));
    there = with(&there, "/dataset/sha256", json!("beef"));
    assert_eq!(
        named(&there, &here, Scope::Whole),
        [
            "dataset.sha256",
            "seed",
            "config.anchor.lr",
            "config.critic.tau"
        ]
    );
    assert_eq!(named(&spec("bc"), &here, Scope::Resume)[0], "method");
}

#[test]
fn the_bytes_of_the_data_decide_and_not_their_name() {
    let here = spec("spar");
    let mut there = with(&here, "/dataset/id", json!("renamed.hdf5"));
    there = with(&there, "/task", json!("renamed.hdf5"));
    assert_eq!(of(&here), of(&there));
    // In a suite the task is chosen, not taken from the data.
    let suite = |spec: &Value, task: &str| {
        let spec = with(spec, "/suite", json!("mujoco"));
        with(&spec, "/task", json!(task))
    };
    assert_eq!(
        named(&suite(&there, "a"), &suite(&here, "b"), Scope::Whole),
        ["task"]
    );
}

#[test]
fn a_setting_counts_only_where_it_reaches_the_run() {
    let cases = [
        ("/config/critic/tau", json!(0.05), ["spar"].as_slice()),
        ("/config/rectify/beta", json!(0.05), &["spar"]),
        ("/config/data/hubl/alpha", json!(0.5), &["spar"]),
        ("/config/anchor/lr", json!(0.05), &["bc", "spar"]),
        ("/config/batch_size", json!(5), &["bc", "spar"]),
        ("/config/reward_range", json!(5.0), &["spar"]),
        ("/config/eval_every", json!(5), &["bc", "iql", "spar"]),
        ("/eval_seed", json!(5), &["bc", "iql", "spar"]),
        ("/config/checkpoint_every", json!(5), &[]),
    ];
    for (path, value, reached) in cases {
        for method in ["bc", "iql", "spar"] {
            let (here, there) = (spec(method), with(&spec(method), path, value.clone()));
            let differs = !named(&there, &here, Scope::Resume).is_empty();
            assert_eq!(differs, reached.contains(&method), "{path} of {method}");
            let hashes = [&here, &there].map(|spec| of(spec).settings_sha256());
            assert_eq!(hashes[0] != hashes[1], differs, "{path} of {method}");
        }
    }
}

#[test]
fn a_longer_run_may_begin_as_a_shorter_one_and_is_another_to_a_table() {
    for (method, path) in [
        ("bc", "/config/anchor/updates"),
        ("spar", "/config/updates"),
        ("iql", "/config/updates"),
        ("iql", "/final_episodes"),
    ] {
        let (here, there) = (spec(method), with(&spec(method), path, json!(7)));
        assert!(named(&there, &here, Scope::Resume).is_empty(), "{method}");
        assert_eq!(named(&there, &here, Scope::Whole).len(), 1, "{method}");
        assert_eq!(of(&here).settings_sha256(), of(&there).settings_sha256());
    }
    // An anchor of another length is another anchor.
    let there = with(&spec("spar"), "/config/anchor/updates", json!(7));
    assert_eq!(
        named(&there, &spec("spar"), Scope::Resume),
        ["config.anchor.updates"]
    );
}

#[test]
fn seeds_of_one_method_differ_in_their_seed_alone() {
    let here = spec("spar");
    let there = with(&here, "/seed", json!(77));
    assert!(named(&there, &here, Scope::Seeds).is_empty());
    assert_eq!(named(&there, &here, Scope::Resume), ["seed"]);
    assert_eq!(of(&there).stamp().seed, 77);
    assert_eq!(
        of(&there).stamp().settings_sha256,
        of(&here).stamp().settings_sha256
    );
}

/// A single-precision setting reads the same from memory and from a file.
#[test]
fn a_number_is_the_shortest_decimal_of_what_it_is() {
    #[derive(serde::Serialize)]
    struct Spec {
        lr: f32,
    }
    let memory = RunIdentity::of(&Spec { lr: 3e-4 }, false).unwrap();
    let file: Value = serde_json::from_str("{\"lr\":0.0003}").unwrap();
    assert_eq!(memory, of(&file));
}

/// A method that grows out of an anchor looks for the run `bc` by its own spec, in which its
/// own settings stand.
#[test]
fn the_settings_of_a_method_do_not_reach_the_anchor_it_grows_out_of() {
    let there = spec("bc");
    let mut here = there.clone();
    here["config"]["method"] = json!({ "action_l2": 1.0 });
    assert!(named(&there, &here, Scope::Anchor).is_empty());
    assert_eq!(of(&there), of(&here));
}

/// Without an environment the seed of the evaluation decides which episodes an anchor is not
/// trained on; with one it decides nothing of it.
#[test]
fn an_anchor_of_other_held_out_episodes_is_another() {
    let here = spec("spar");
    let there = with(&here, "/eval_seed", json!(7));
    assert!(named(&there, &here, Scope::Anchor).is_empty());
    let unplayed = |spec: &Value| {
        let mut spec = spec.clone();
        spec.as_object_mut().unwrap().remove("env");
        spec["offline"] = json!({ "held_out": 0.1, "action_bounds": [[-1.0, 1.0]] });
        spec
    };
    let (here, there) = (unplayed(&here), unplayed(&there));
    assert_eq!(named(&there, &here, Scope::Anchor), ["eval_seed"]);
    let other = with(&here, "/offline/held_out", json!(0.2));
    for scope in [Scope::Anchor, Scope::Resume, Scope::Seeds] {
        assert_eq!(named(&other, &here, scope), ["offline.held_out"]);
    }
    assert_ne!(
        of(&here).settings_sha256(),
        of(&spec("spar")).settings_sha256()
    );
}

/// Records of single precision hold no `precision`, and those of baselines no precision of
/// passes without gradients.
#[test]
fn another_precision_is_another_run() {
    let with_precision = |method: &str, name: &str, value: &str| {
        let mut spec = spec(method);
        spec["config"][name] = value.into();
        spec
    };
    for method in ["bc", "spar", "iql"] {
        let here = with_precision(method, "precision", "bf16x3");
        for scope in [Scope::Resume, Scope::Whole, Scope::Seeds, Scope::Anchor] {
            assert_eq!(named(&spec(method), &here, scope), ["config.precision"]);
        }
        assert_eq!(
            of(&here).rounding().unwrap(),
            "bf16x3, without gradients f32"
        );
        assert_eq!(of(&spec(method)).rounding(), None);
    }
    // An old record of a baseline held SPAR's settings too, or none of them.
    let mut old = spec("iql");
    old["config"]
        .as_object_mut()
        .unwrap()
        .remove("detached_precision");
    assert_eq!(of(&old), of(&spec("iql")));
    let detached = with_precision("iql", "detached_precision", "bf16");
    assert_eq!(
        named(&old, &detached, Scope::Seeds),
        ["config.detached_precision"]
    );
    assert_eq!(
        of(&detached).rounding().unwrap(),
        "f32, without gradients bf16"
    );
    // Nothing of an anchor's training has no gradient.
    let detached = with_precision("bc", "detached_precision", "bf16");
    assert_eq!(named(&spec("bc"), &detached, Scope::Whole), [""; 0]);
    assert_eq!(of(&detached).rounding(), None);
}

/// Records keep the hash of their settings, made before there was the field.
#[test]
fn a_field_younger_than_hashes_is_in_them_only_where_it_decides_something() {
    for name in LATER {
        let here = of(&spec("spar"));
        let mut before = here.clone();
        before.fields.remove(name).unwrap();
        assert_eq!(here.settings_sha256(), before.settings_sha256(), "{name}");
        assert_eq!(here.sha256(), before.sha256(), "{name}");
        let path = format!("/{}", name.replace('.', "/"));
        let other = of(&with(&spec("spar"), &path, json!(0.25)));
        assert_ne!(other.settings_sha256(), here.settings_sha256(), "{name}");
    }
}
