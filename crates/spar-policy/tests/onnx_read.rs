//! ONNX models of other programs as policies: they act as under ONNX Runtime, and what is not
//! run is refused in one line, in little memory.
//!
//! `SPAR_DOORS_PYTHON` names a Python that has `onnx` and `onnxruntime`; `cargo xtask test`
//! provides one, and without it this is skipped in words.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path, process::Command};

use spar_policy::{Networks, Policy};
use tempfile::TempDir;

/// A folder with what `onnx_models.py` writes.
fn written() -> Option<TempDir> {
    let Some(python) = std::env::var_os("SPAR_DOORS_PYTHON") else {
        eprintln!("skipped: SPAR_DOORS_PYTHON names no Python with onnx; use cargo xtask test");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/scripts/onnx_models.py"
    );
    let done = Command::new(python)
        .arg(script)
        .arg(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    Some(dir)
}

fn numbers(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

#[test]
fn models_of_other_programs_act_as_under_onnx_runtime() {
    let Some(dir) = written() else { return };
    for (name, chain) in [
        ("chain-torch", true),
        ("chain-keras", true),
        ("graph-units", false),
        ("graph-batch-of-one", false),
        ("chain-flat", true),
    ] {
        let at = |kind: &str| dir.path().join(format!("{name}.{kind}"));
        let policy = Policy::load(at("onnx")).unwrap();
        let plain = matches!(policy.networks(), Networks::Plain(_));
        assert_eq!(plain, chain, "{name}");
        assert_eq!((policy.obs_dim(), policy.act_dim()), (11, 3), "{name}");
        let (obs, wanted) = (numbers(&at("obs.f32")), numbers(&at("actions.f32")));
        let mut action = [0.0; 3];
        let mut worst = 0.0f32;
        for (obs, wanted) in obs.chunks(11).zip(wanted.chunks(3)) {
            policy.act(obs, &mut action);
            for (got, wanted) in action.iter().zip(wanted) {
                assert!(got.is_finite(), "{name}");
                worst = worst.max((got - wanted).abs());
            }
        }
        assert!(worst <= 1e-5, "{name}: {worst:e}");
        let most = wanted.iter().fold(0.0f32, |most, a| most.max(a.abs()));
        assert_eq!(most > 1.0, name == "graph-units", "{name}: {most}");
        // As a base its actions lie in what SPAR rectifies.
        let mut base = vec![0.0; wanted.len()];
        policy.base_actions(&obs, &mut base);
        let clipped: Vec<f32> = wanted.iter().map(|a| a.clamp(-1.0, 1.0)).collect();
        let off = base.iter().zip(&clipped).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) <= 1e-5, "{name}");
    }
}

#[test]
fn what_is_not_run_is_refused_in_one_line() {
    let Some(dir) = written() else { return };
    for (name, fact) in [
        ("two-inputs", "of the inputs `a`, `b`, expected one"),
        (
            "two-outputs",
            "of the outputs `a`, `b`, expected one, or one called `action`",
        ),
        (
            "no-width",
            "expected single precision (1) and [rows, width]",
        ),
        ("doubles", "expected single precision (1) and [rows, width]"),
        ("bomb", "the operator `ConstantOfShape`, which is not run"),
        ("folded", "computes `MatMul` of constants alone"),
        ("doubling", "numbers, expected at most"),
        ("branch", "the operator `If`, which is not run"),
        ("other-domain", "the operator `Secret`, which is not run"),
        ("elsewhere", "`k0` is in another file"),
        ("short", "`k0` of shape [11, 3] has 8 bytes"),
        ("widths", "cannot be run"),
        ("no-graph", "ONNX model"),
    ] {
        let path = dir.path().join("refused").join(format!("{name}.onnx"));
        let error = Policy::load(&path).unwrap_err().to_string();
        assert!(error.contains(fact), "{name}: {error}");
        assert!(error.contains(&format!("{name}.onnx: ")), "{name}: {error}");
        assert!(!error.contains('\n'), "{name}: {error}");
    }
    // What is cut anywhere is refused, or, where a note at its end is lost, acts the same.
    let whole = fs::read(dir.path().join("chain-torch.onnx")).unwrap();
    let policy = Policy::from_bytes(&whole).unwrap();
    for end in (0..whole.len()).step_by(97) {
        if let Ok(cut) = Policy::from_bytes(&whole[..end]) {
            assert_eq!(cut, policy, "cut to {end} bytes");
        }
    }
}
