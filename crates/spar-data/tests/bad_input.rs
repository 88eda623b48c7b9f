//! Every way a file can be wrong, and the one line that is said about it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use hdf5::{File, H5Type};
use ndarray::{Array, ArrayBase, Dimension, OwnedRepr};
use spar_core::EnvId;
use spar_data::{DataError, Dataset};

/// A sound two-dimensional data set of three rows, to be spoiled.
struct Spoiled {
    folder: tempfile::TempDir,
    file: File,
}

impl Spoiled {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("data.hdf5")).unwrap();
        let this = Self { folder, file };
        this.put("observations", Array::<f32, _>::zeros((3, 2)));
        this.put("actions", Array::<f32, _>::zeros((3, 1)));
        this.put("rewards", Array::<f32, _>::zeros(3));
        this.put("terminals", Array::from_vec(vec![false, false, true]));
        this
    }

    fn put<T: H5Type, D: Dimension>(&self, key: &str, data: ArrayBase<OwnedRepr<T>, D>) {
        if self.file.link_exists(key) {
            self.file.unlink(key).unwrap();
        }
        self.file
            .new_dataset_builder()
            .with_data(&data)
            .create(key)
            .unwrap();
    }

    fn error(self) -> DataError {
        let path = self.folder.path().join("data.hdf5");
        self.file.close().unwrap();
        line(Dataset::read(&path).unwrap_err(), &path)
    }
}

/// Every message is one line that names the file.
fn line(error: DataError, path: &Path) -> DataError {
    let text = error.to_string();
    assert!(text.starts_with(&path.display().to_string()), "{text}");
    assert!(!text.contains('\n'), "{text}");
    error
}

fn read_bytes(bytes: &[u8]) -> DataError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.hdf5");
    std::fs::write(&path, bytes).unwrap();
    line(Dataset::read(&path).unwrap_err(), &path)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/d4rl")
        .join(name)
}

#[test]
fn a_missing_file_and_a_folder() {
    let path = Path::new("no/such/file.hdf5");
    let error = line(Dataset::read(path).unwrap_err(), path);
    assert!(matches!(error, DataError::NotFound { .. }));
    let folder = tempfile::tempdir().unwrap();
    let error = line(Dataset::read(folder.path()).unwrap_err(), folder.path());
    assert!(matches!(error, DataError::NotAFile { .. }), "{error}");
}

#[test]
fn files_that_are_not_hdf5_are_told_apart() {
    assert!(matches!(read_bytes(b""), DataError::Empty { .. }));
    let got = |bytes: &[u8]| match read_bytes(bytes) {
        DataError::NotHdf5 { got, .. } => got,
        other => panic!("{other}"),
    };
    assert_eq!(
        got(b"\n<!DOCTYPE html><html><body>404</body></html>"),
        "a web page"
    );
    assert_eq!(got(b"<HTML>"), "a web page");
    assert_eq!(
        got(b"version https://git-lfs.github.com/spec/v1\noid"),
        "a Git LFS pointer"
    );
    assert_eq!(got(b"\x1f\x8b\x08rest"), "an archive");
    assert_eq!(got(&[7; 5000]), "something else (no HDF5 signature)");
}

#[test]
fn a_cut_file_is_called_truncated() {
    let whole = std::fs::read(fixture("everything.hdf5")).unwrap();
    for keep in [200, 4096, whole.len() / 2, whole.len() - 1] {
        match read_bytes(&whole[..keep]) {
            DataError::Truncated { expected, got, .. } => {
                assert_eq!((expected, got), (whole.len() as u64, keep as u64));
            }
            other => panic!("{keep}: {other}"),
        }
    }
    assert!(matches!(
        read_bytes(&whole[..20]),
        DataError::Damaged { .. }
    ));
}

#[test]
fn a_user_block_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("block.hdf5");
    let file = File::with_options()
        .with_fcpl(|p| p.userblock(1024))
        .create(&path)
        .unwrap();
    let spoiled = Spoiled { folder, file };
    spoiled.put("observations", Array::<f32, _>::zeros((3, 2)));
    spoiled.put("actions", Array::<f32, _>::zeros((3, 1)));
    spoiled.put("rewards", Array::<f32, _>::zeros(3));
    spoiled.put("terminals", Array::from_vec(vec![false; 3]));
    spoiled.file.close().unwrap();
    assert_eq!(Dataset::read(&path).unwrap().rows(), 3);
    let bytes = std::fs::read(&path).unwrap();
    assert!(matches!(
        read_bytes(&bytes[..bytes.len() - 8]),
        DataError::Truncated { .. }
    ));
}

#[test]
fn each_mandatory_key_is_missed() {
    for key in ["observations", "actions", "rewards", "terminals"] {
        let spoiled = Spoiled::new();
        spoiled.file.unlink(key).unwrap();
        match spoiled.error() {
            DataError::MissingKey { key: missed, .. } => assert_eq!(missed, key),
            other => panic!("{other}"),
        }
    }
}

fn expect_shape(spoiled: Spoiled, spoiled_key: &str, shape: &str) {
    match spoiled.error() {
        DataError::Shape { key, got, .. } => assert_eq!((&*key, &*got), (spoiled_key, shape)),
        other => panic!("{other}"),
    }
}

#[test]
fn wrong_ranks_and_row_counts() {
    let cases: [(&str, &[usize], &str); 9] = [
        ("observations", &[3], "[3]"),
        ("observations", &[3, 2, 1], "[3, 2, 1]"),
        ("observations", &[0, 2], "[0, 2]"),
        ("actions", &[2, 1], "[2, 1]"),
        ("actions", &[3, 0], "[3, 0]"),
        ("rewards", &[4], "[4]"),
        ("rewards", &[3, 2], "[3, 2]"),
        ("next_observations", &[3, 4], "[3, 4]"),
        ("timeouts", &[1, 3], "[1, 3]"),
    ];
    for (key, shape, text) in cases {
        let spoiled = Spoiled::new();
        spoiled.put(key, Array::<f32, _>::zeros(shape));
        expect_shape(spoiled, key, text);
    }
    let spoiled = Spoiled::new();
    spoiled.file.create_group("infos").unwrap();
    spoiled.put("infos/qpos", Array::<f64, _>::zeros((2, 2)));
    expect_shape(spoiled, "infos/qpos", "[2, 2]");
}

#[test]
fn wrong_kinds_of_value() {
    let spoiled = Spoiled::new();
    spoiled.put("rewards", Array::from_vec(vec![true; 3]));
    let error = spoiled.error();
    assert!(matches!(error, DataError::Type { .. }), "{error}");

    let spoiled = Spoiled::new();
    spoiled.file.unlink("actions").unwrap();
    spoiled.file.create_group("actions").unwrap();
    assert!(matches!(spoiled.error(), DataError::Damaged { .. }));

    for bad in [0.5, 2.0, -1.0, f32::NAN] {
        let spoiled = Spoiled::new();
        spoiled.put("terminals", Array::from_vec(vec![0.0, bad, 1.0]));
        match spoiled.error() {
            DataError::Flag { key, row, got, .. } => {
                assert_eq!((&*key, row), ("terminals", 1));
                assert_eq!(got.to_bits(), f64::from(bad).to_bits());
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn numbers_that_are_not_finite() {
    let cases = [
        ("observations", f64::NAN),
        ("actions", f64::INFINITY),
        // Finite, but not in the precision that training computes in.
        ("rewards", 1e39),
        ("next_observations", f64::NEG_INFINITY),
        ("infos/qpos", f64::NAN),
    ];
    for (spoiled_key, bad) in cases {
        let spoiled = Spoiled::new();
        spoiled.file.create_group("infos").unwrap();
        let width = if spoiled_key == "rewards" { 1 } else { 2 };
        let mut values = Array::<f64, _>::zeros((3, width));
        values[[2, 0]] = bad;
        spoiled.put(spoiled_key, values);
        match spoiled.error() {
            DataError::NonFinite { key, row, .. } => assert_eq!((&*key, row), (spoiled_key, 2)),
            other => panic!("{spoiled_key}: {other}"),
        }
    }
}

#[test]
fn another_environments_data() {
    let path = fixture("f32.hdf5");
    match Dataset::read_for(&path, EnvId::HOPPER).unwrap_err() {
        DataError::WrongEnv {
            key, expected, got, ..
        } => {
            assert_eq!((key, expected, got), ("observations", 11, 4));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_shape_that_the_stored_bytes_cannot_fill() {
    let spoiled = Spoiled::new();
    spoiled.file.unlink("observations").unwrap();
    let set = spoiled
        .file
        .new_dataset::<f32>()
        .shape((1 << 40, 17))
        .chunk((1 << 10, 17));
    set.deflate(4).create("observations").unwrap();
    match spoiled.error() {
        DataError::TooLarge {
            key,
            declared,
            stored,
            ..
        } => {
            assert_eq!((&*key, declared, stored), ("observations", 17 << 42, 0));
        }
        other => panic!("{other}"),
    }
}

/// The other side of the limit: deflate does reach 1030:1 on constant arrays,
/// and flags that are never set are common.
#[test]
fn a_constant_array_is_believed() {
    let rows = 1 << 20;
    let spoiled = Spoiled::new();
    for key in ["observations", "actions", "rewards", "terminals"] {
        spoiled.file.unlink(key).unwrap();
    }
    let flat = || spoiled.file.new_dataset_builder().deflate(9).chunk((rows,));
    let matrix = || {
        spoiled
            .file
            .new_dataset_builder()
            .deflate(9)
            .chunk((rows, 1))
    };
    let zeros = Array::<f32, _>::zeros((rows, 1));
    matrix().with_data(&zeros).create("observations").unwrap();
    matrix().with_data(&zeros).create("actions").unwrap();
    flat()
        .with_data(&vec![0f64; rows])
        .create("rewards")
        .unwrap();
    flat()
        .with_data(&vec![false; rows])
        .create("terminals")
        .unwrap();
    let path = spoiled.folder.path().join("data.hdf5");
    spoiled.file.close().unwrap();
    assert_eq!(Dataset::read(&path).unwrap().rows(), rows);
}

#[test]
fn one_row_is_no_transition() {
    let spoiled = Spoiled::new();
    spoiled.put("observations", Array::<f32, _>::zeros((1, 2)));
    spoiled.put("actions", Array::<f32, _>::zeros((1, 1)));
    spoiled.put("rewards", Array::<f32, _>::zeros(1));
    spoiled.put("terminals", Array::from_vec(vec![0u8]));
    let path = spoiled.folder.path().join("data.hdf5");
    spoiled.file.close().unwrap();
    let data = std::sync::Arc::new(Dataset::read(&path).unwrap());
    let error = spar_data::Transitions::new(data, 1000).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("data: 1 rows hold no transition"),
        "{error}"
    );
}

/// Of d3rlpy's layout nothing is left but observations: it panicked.
#[test]
fn a_file_of_no_episode() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("data.hdf5")).unwrap();
    let spoiled = Spoiled { folder, file };
    spoiled.put("observations_0", Array::<f32, _>::zeros((3, 2)));
    let error = spoiled.error();
    assert!(matches!(error, DataError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("it has none"), "{error}");
}
