//! Both ways with the real `minari` package: what it writes is read here, what is
//! written here it loads and iterates.
//!
//! `SPAR_MINARI_PYTHON` names a Python that has it; `cargo xtask test` provides
//! one, and on a CI machine fails if it cannot. Without it these tests say so and
//! pass.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use spar_core::EnvId;
use spar_data::{Conversion, Dataset, Reading, Row, Writer};

mod support;
use support::{arrays_of, narrowed};

/// The script, run on data sets below `root`; `None` without minari.
fn script(root: &Path, args: &[&str]) -> Option<String> {
    let Some(python) = std::env::var_os("SPAR_MINARI_PYTHON") else {
        eprintln!("skipped: SPAR_MINARI_PYTHON names no Python with minari; use cargo xtask test");
        return None;
    };
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scripts");
    let output = Command::new(python)
        .arg(Path::new(here).join("minari_fixtures.py"))
        .args(args)
        .env("MINARI_DATASETS_PATH", root)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn what_minari_writes_now_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let Some(_) = script(root, &["--out", root.to_str().unwrap()]) else {
        return;
    };
    for name in ["plain", "gzip", "old"] {
        let text = std::fs::read_to_string(root.join(format!("{name}.json"))).unwrap();
        let theirs: Value = serde_json::from_str(&text).unwrap();
        let data = Dataset::read(&root.join(format!("test/{name}-v0"))).unwrap();
        assert_eq!(arrays_of(&data), narrowed(&theirs["episodes"]), "{name}");
    }
    for name in ["dict", "tuple", "image", "discrete", "choice"] {
        let refused = Dataset::read(&root.join(format!("test/{name}-v0")));
        assert!(refused.is_err(), "{name}");
    }
}

/// The same rows at the point mass's widths.
fn narrow(data: &Dataset, path: &Path) {
    let (nq, nv) = (data.nq().unwrap(), data.nv().unwrap());
    let mut writer = Writer::create(path, 2, 1, nq, nv, &BTreeMap::new()).unwrap();
    for row in 0..data.rows() {
        let of = |values: &Option<Vec<f64>>, width| {
            values.as_ref().unwrap()[row * width..][..width].to_vec()
        };
        let row = Row {
            obs: &data.observation(row)[..2],
            action: &data.action(row)[..1],
            reward: data.rewards[row],
            terminal: data.terminals[row],
            timeout: data.timeouts.as_ref().unwrap()[row],
            next_obs: &next_obs(data, row)[..2],
            qpos: &of(&data.qpos, nq),
            qvel: &of(&data.qvel, nv),
        };
        writer.push(&row).unwrap();
    }
    writer.finish().unwrap();
}

/// What follows `row`: the next row's observation where the episode has one. The
/// fixture's own successors are numbers that follow nothing.
fn next_obs(data: &Dataset, row: usize) -> &[f32] {
    let ends = data.terminals[row] || data.timeouts.as_ref().unwrap()[row];
    if ends || row + 1 == data.rows() {
        data.observation_after(row, true).unwrap()
    } else {
        data.observation(row + 1)
    }
}

#[test]
fn what_is_written_here_minari_loads() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/d4rl");
    let fixture = PathBuf::from(fixture).join("everything.hdf5");
    let source = folder.path().join("narrow.hdf5");
    narrow(&Dataset::read(&fixture).unwrap(), &source);
    let flat = Dataset::read(&source).unwrap();
    for (id, env) in [
        ("bare-v0", None),
        ("name/space/bound-v12", Some(EnvId::POINT_MASS)),
    ] {
        let conversion = Conversion::open(&source, env, Reading::default()).unwrap();
        conversion.to_minari(&root.join(id), id).unwrap();
        let Some(text) = script(root, &["--load", id]) else {
            return;
        };
        let theirs: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(theirs["id"], id);
        assert_eq!(
            (&theirs["total_episodes"], &theirs["total_steps"]),
            (&6.into(), &44.into())
        );
        assert_eq!(
            (&theirs["listed"], &theirs["dtype"]),
            (&true.into(), &"float32".into())
        );
        let low = if env.is_some() {
            (-1.0).into()
        } else {
            Value::Null
        };
        let found = theirs["action_low"][0].as_f64();
        assert_eq!(found, low.as_f64(), "{}", theirs["action_low"]);
        let ours = Dataset::read(&root.join(id)).unwrap();
        assert_eq!(arrays_of(&ours), narrowed(&theirs["episodes"]));
        let states: Vec<f64> = theirs["episodes"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|e| e["infos"]["qpos"].as_array().unwrap())
            .flat_map(|row| row.as_array().unwrap())
            .map(|x| x.as_f64().unwrap())
            .collect();
        assert_eq!(Some(states), flat.qpos);
    }
}
