//! What is written is what is read; the same rows give the same bytes; and
//! nothing half-written stays.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;
use spar_core::{Origin, Stream};
use spar_data::{DataError, Dataset, DatasetIdentity, MetaValue, Row, Writer, local_metadata};

struct Rows {
    dims: [usize; 4],
    obs: Vec<f32>,
    next_obs: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    terminals: Vec<bool>,
    timeouts: Vec<bool>,
    qpos: Vec<f64>,
    qvel: Vec<f64>,
}

impl Rows {
    fn random(seed: u64, rows: usize, dims: [usize; 4]) -> Self {
        let mut stream = Stream::new(seed, "rows");
        let mut floats = |n: usize| {
            let mut out = vec![0f32; n];
            stream.fill_normal(3.0, &mut out);
            out
        };
        let [o, a, p, v] = dims;
        let (obs, next_obs, actions) = (floats(rows * o), floats(rows * o), floats(rows * a));
        let rewards = floats(rows);
        let mut doubles = |n: usize| (0..n).map(|_| stream.normal()).collect::<Vec<_>>();
        let (qpos, qvel) = (doubles(rows * p), doubles(rows * v));
        let mut flags = || (0..rows).map(|_| stream.index(10) == 0).collect::<Vec<_>>();
        let (terminals, timeouts) = (flags(), flags());
        Self {
            dims,
            obs,
            next_obs,
            actions,
            rewards,
            terminals,
            timeouts,
            qpos,
            qvel,
        }
    }

    fn push_all(&self, writer: &mut Writer) -> Result<(), DataError> {
        let [o, a, p, v] = self.dims;
        for i in 0..self.rewards.len() {
            writer.push(&Row {
                obs: &self.obs[i * o..][..o],
                action: &self.actions[i * a..][..a],
                reward: self.rewards[i],
                terminal: self.terminals[i],
                timeout: self.timeouts[i],
                next_obs: &self.next_obs[i * o..][..o],
                qpos: &self.qpos[i * p..][..p],
                qvel: &self.qvel[i * v..][..v],
            })?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, meta: &BTreeMap<String, MetaValue>) -> DatasetIdentity {
        let [o, a, p, v] = self.dims;
        let mut writer = Writer::create(path, o, a, p, v, meta).unwrap();
        self.push_all(&mut writer).unwrap();
        writer.finish().unwrap()
    }
}

fn metadata() -> BTreeMap<String, MetaValue> {
    let mut meta = local_metadata("hopper-medium".parse().unwrap());
    meta.insert("algorithm".into(), "SAC".into());
    meta.insert("seed".into(), 7i64.into());
    meta.insert("mean_return".into(), 1234.5.into());
    meta
}

fn names(folder: &Path) -> Vec<String> {
    let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
    fs::read_dir(folder).unwrap().map(name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(
        seed: u64, rows in 1..200usize, o in 1..5usize, a in 1..4usize, p in 0..3usize, v in 0..3usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/data.hdf5");
        let written = Rows::random(seed, rows, [o, a, p, v]);
        let identity = written.write(&path, &metadata());
        let read = Dataset::read(&path).unwrap();
        prop_assert_eq!(&read.identity, &identity);
        prop_assert_eq!((read.obs_dim, read.act_dim), (o, a));
        prop_assert_eq!(read.observations, written.obs);
        prop_assert_eq!(read.next_observations, Some(written.next_obs));
        prop_assert_eq!(read.actions, written.actions);
        prop_assert_eq!(read.rewards, written.rewards);
        prop_assert_eq!(read.terminals, written.terminals);
        prop_assert_eq!(read.timeouts, Some(written.timeouts));
        prop_assert_eq!(read.qpos, (p > 0).then_some(written.qpos));
        prop_assert_eq!(read.qvel, (v > 0).then_some(written.qvel));
        prop_assert_eq!(&read.metadata["seed"], "7");
        prop_assert_eq!(&read.metadata["mean_return"], "1234.5");
    }
}

#[test]
fn blocks_join_and_equal_rows_give_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let rows = Rows::random(1, 9000, [3, 2, 2, 1]);
    let first = rows.write(&folder.path().join("first.hdf5"), &metadata());
    let path = folder.path().join("second.hdf5");
    // Over an older file, and a second later by the clock HDF5 would record.
    fs::write(&path, b"old").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = rows.write(&path, &metadata());
    assert_eq!(first, second);
    assert_eq!(
        (second.id.as_str(), second.origin),
        ("hopper-medium-local", Origin::Local)
    );
    let read = Dataset::read(&path).unwrap();
    assert_eq!((read.observations, read.qpos), (rows.obs, Some(rows.qpos)));
    let mut left = names(folder.path());
    left.sort();
    assert_eq!(left, ["first.hdf5", "second.hdf5"]);
}

#[test]
fn a_writer_dropped_or_refused_leaves_the_old_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.hdf5");
    fs::write(&path, b"old").unwrap();
    let mut writer = Writer::create(&path, 3, 2, 1, 1, &BTreeMap::new()).unwrap();
    Rows::random(2, 5000, [3, 2, 1, 1])
        .push_all(&mut writer)
        .unwrap();
    drop(writer);
    let none = Writer::create(&path, 3, 2, 0, 0, &BTreeMap::new())
        .unwrap()
        .finish();
    assert!(none.unwrap_err().to_string().contains("no rows"));
    assert_eq!(names(folder.path()), ["data.hdf5"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn rows_that_no_reader_would_take_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.hdf5");
    let mut writer = Writer::create(&path, 2, 1, 0, 0, &BTreeMap::new()).unwrap();
    let good = Row {
        obs: &[0.0, 1.0],
        action: &[0.5],
        reward: 1.0,
        terminal: false,
        timeout: false,
        next_obs: &[1.0, 2.0],
        qpos: &[],
        qvel: &[],
    };
    writer.push(&good).unwrap();
    let error = writer
        .push(&Row {
            action: &[0.5, 0.5],
            ..good
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("row 1: `actions` has 2 numbers, expected 1"),
        "{error}"
    );
    let error = writer
        .push(&Row {
            qpos: &[0.5],
            ..good
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`infos/qpos` has 1 numbers, expected 0"),
        "{error}"
    );
    let error = writer
        .push(&Row {
            reward: f32::NAN,
            ..good
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("key `rewards`, row 1: value is NaN"),
        "{error}"
    );
    assert_eq!(writer.finish().unwrap().rows, 1);
}

#[test]
fn an_unwritable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), b"").unwrap();
    let path = folder.path().join("file/below.hdf5");
    let error = Writer::create(&path, 2, 1, 0, 0, &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, DataError::Write { .. }));
    assert!(
        error.to_string().contains("file/below.hdf5: cannot write"),
        "{error}"
    );
}

/// Only does something as the child of the test below.
#[test]
fn full_disk_child() {
    let Some(path) = std::env::var_os("SPAR_TEST_FULL_DISK") else {
        return;
    };
    let rows = Rows::random(3, 20_000, [11, 3, 6, 6]);
    let mut writer = Writer::create(Path::new(&path), 11, 3, 6, 6, &BTreeMap::new()).unwrap();
    let outcome = rows.push_all(&mut writer).and_then(|()| writer.finish());
    println!("OUTCOME {}", outcome.unwrap_err());
}

/// A limit on file size stands in for a full disk: the writes fail likewise.
#[test]
#[cfg(unix)]
fn a_full_disk_is_one_error_and_leaves_nothing() {
    for kilobytes in [1, 64, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.hdf5");
        let output = std::process::Command::new("bash")
            .args([
                "-c",
                "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"",
                "-",
            ])
            .arg(kilobytes.to_string())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "full_disk_child", "--nocapture"])
            .env("SPAR_TEST_FULL_DISK", &path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{kilobytes} kB: {:?}\n{text}\n{errors}",
            output.status
        );
        let line = text.lines().find(|l| l.contains("OUTCOME")).unwrap();
        assert!(
            line.contains("data.hdf5: cannot write the data file"),
            "{line}"
        );
        assert!(line.contains("(nothing was left behind)"), "{line}");
        assert!(!errors.contains("HDF5"), "{errors}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn other_infos_are_written_and_change_nothing_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let rows = Rows::random(8, 3, [2, 1, 0, 0]);
    let [plain, with] = ["plain.hdf5", "with.hdf5"].map(|name| folder.path().join(name));
    let create = |path: &Path| Writer::create(path, 2, 1, 0, 0, &BTreeMap::new()).unwrap();
    let mut writer = create(&plain);
    rows.push_all(&mut writer).unwrap();
    writer.finish().unwrap();
    let mut writer = create(&with).with_info("action_mean", 2).unwrap();
    let row = |i: usize| Row {
        obs: &rows.obs[2 * i..][..2],
        action: &rows.actions[i..][..1],
        reward: rows.rewards[i],
        terminal: rows.terminals[i],
        timeout: rows.timeouts[i],
        next_obs: &rows.next_obs[2 * i..][..2],
        qpos: &[],
        qvel: &[],
    };
    // As many numbers as were announced, all of them numbers; what is refused is not written.
    let refused: [&[&[f32]]; 4] = [&[], &[&[1.0]], &[&[1.0, f32::NAN]], &[&[1.0, 2.0], &[3.0]]];
    for infos in refused {
        writer.push_with(&row(0), infos).unwrap_err();
    }
    for i in 0..3 {
        writer.push_with(&row(i), &[&[i as f32, 0.5]]).unwrap();
    }
    assert_eq!(writer.finish().unwrap().rows, 3);
    let infos = spar_data::arrays(&with, &[("infos/action_mean", [3, 2])]).unwrap();
    assert_eq!(infos, [[0.0, 0.5, 1.0, 0.5, 2.0, 0.5]]);
    let [plain, with] = [plain, with].map(|path| Dataset::read(&path).unwrap());
    assert_eq!(plain.observations, with.observations);
    assert_eq!(plain.actions, with.actions);
    assert_eq!(plain.rewards, with.rewards);
    // None without a width, twice or after a row.
    let path = folder.path().join("never.hdf5");
    assert!(create(&path).with_info("action_mean", 0).is_err());
    let twice = create(&path).with_info("action_mean", 1).unwrap();
    assert!(twice.with_info("action_mean", 1).is_err());
    let mut late = create(&path);
    late.push(&row(0)).unwrap();
    assert!(late.with_info("action_mean", 1).is_err());
}
