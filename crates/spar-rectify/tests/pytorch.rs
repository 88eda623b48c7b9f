//! Whole updates against an independent PyTorch program:
//! `tests/scripts/spar_update.py`, whose docstring says how to regenerate.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::PathBuf};

use spar_anchor::AnchorTrainer;
use spar_rectify::SparMetrics;

use golden::Arrays;

mod golden;

/// The script computes in double precision, we in single.
const TOLERANCE: f64 = 1e-4;

fn fixture(name: &str) -> Arrays {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/pytorch");
    golden::read(&fs::read(root.join(name)).unwrap())
}

#[track_caller]
fn close(what: &str, got: f32, want: f32) {
    let (got, want) = (f64::from(got), f64::from(want));
    let off = (got - want).abs();
    assert!(
        off <= TOLERANCE * (want.abs() + 1e-3),
        "{what}: got {got}, want {want}"
    );
}

/// Compares what the parameters moved by: the parameters themselves would
/// agree even if nothing had been learned.
#[track_caller]
fn same_change(what: &str, start: &[f32], got: &[f32], want: &[f32], lr: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let change = |to: &[f32]| -> Vec<f64> {
        let pairs = to.iter().zip(start);
        pairs.map(|(t, s)| f64::from(*t) - f64::from(*s)).collect()
    };
    let (got, want) = (change(got), change(want));
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let off: Vec<f64> = got.iter().zip(&want).map(|(g, w)| g - w).collect();
    let relative = norm(&off) / norm(&want).max(1e-9);
    assert!(
        relative <= TOLERANCE,
        "{what}: changes differ by {relative} of themselves"
    );
    for (i, off) in off.iter().enumerate() {
        assert!(
            off.abs() <= 1e-3 * lr,
            "{what} at {i}: {} {}",
            got[i],
            want[i]
        );
    }
}

#[test]
fn the_fixtures_inputs_are_what_is_drawn_today() {
    for (name, form) in golden::FORMS {
        let there = fixture(&format!("{name}.inputs.safetensors"));
        assert!(
            there == golden::inputs(form),
            "{name}: other parameters, batch or noise than the fixture's; regenerate it"
        );
    }
}

#[test]
fn behaviour_cloning_is_pytorchs() {
    let expected = fixture("expectile.expected.safetensors");
    let start = &golden::inputs(golden::FORMS[0].1)["start.anchor"];
    let anchor = golden::anchor();
    anchor.net().set_params(start.clone()).unwrap();
    let mut trainer = AnchorTrainer::new(anchor, &golden::anchor_config());
    let loss = trainer.update(&golden::batch()).unwrap();
    close("loss", loss, expected["anchor.loss"][0]);
    let got = trainer.anchor.net().to_params().unwrap();
    same_change("anchor", start, &got, &expected["anchor.params"], 1e-2);
}

#[test]
fn two_updates_are_pytorchs() {
    for (name, form) in golden::FORMS {
        let expected = fixture(&format!("{name}.expected.safetensors"));
        let mut spar = golden::start(form);
        let start = golden::networks(&spar);
        let mut metrics = SparMetrics::default();
        for update in [1, 2] {
            spar.update(&golden::batch(), &mut metrics).unwrap();
            let measured = serde_json::to_value(metrics).unwrap();
            let mut compared = 0;
            for (key, value) in measured.as_object().unwrap() {
                let want = expected.get(&format!("{update}.metric.{key}"));
                // In warm-up nothing is imitated.
                let want = want.map_or(0.0, |w| w[0]);
                let what = format!("{name}, update {update}, {key}");
                close(&what, value.as_f64().unwrap() as f32, want);
                compared += usize::from(want != 0.0);
            }
            let expectile = usize::from(name == "expectile");
            assert_eq!(
                compared,
                [4, 11][update - 1] + expectile,
                "{name}, metrics of update {update}"
            );
            for (net, got) in golden::networks(&spar) {
                let what = format!("{name}, update {update}, {net}");
                let want = &expected[&format!("{update}.params.{net}")];
                if net == "anchor" {
                    assert_eq!((&got, &got), (&start[&net], want), "{what} is frozen");
                } else {
                    same_change(&what, &start[&net], &got, want, 1e-2);
                }
            }
        }
    }
}
