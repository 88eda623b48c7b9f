//! Every way a Minari data set can be wrong, and the one line that is said.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use hdf5::{File, H5Type};
use ndarray::{Array, ArrayBase, Dimension, OwnedRepr};
use spar_data::{DataError, Dataset};

/// A sound data set of two episodes of three steps, two numbers observed and one
/// acted, to be spoiled.
struct Spoiled {
    folder: tempfile::TempDir,
    file: File,
}

const SOUND: &str = r#"{
    "total_episodes": 2, "total_steps": 6, "data_format": "hdf5", "dataset_id": "ns/sound-v0",
    "observation_space": "{\"type\": \"Box\", \"shape\": [2], \"dtype\": \"float32\", \"low\": [-Infinity, -Infinity]}",
    "action_space": "{\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\"}"
}"#;

impl Spoiled {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let file = File::create(folder.path().join("data/main_data.hdf5")).unwrap();
        let this = Self { folder, file };
        this.describe(SOUND);
        for episode in ["episode_0", "episode_1"] {
            this.file.create_group(episode).unwrap();
            this.put(
                &format!("{episode}/observations"),
                Array::<f64, _>::zeros((4, 2)),
            );
            this.put(
                &format!("{episode}/actions"),
                Array::<f32, _>::zeros((3, 1)),
            );
            this.put(&format!("{episode}/rewards"), Array::<f64, _>::zeros(3));
            this.put(
                &format!("{episode}/terminations"),
                Array::from_elem(3, false),
            );
            this.put(
                &format!("{episode}/truncations"),
                Array::from_elem(3, false),
            );
        }
        this
    }

    fn describe(&self, text: &str) {
        fs::write(self.folder.path().join("data/metadata.json"), text).unwrap();
    }

    fn put<T: H5Type, D: Dimension>(&self, key: &str, data: ArrayBase<OwnedRepr<T>, D>) {
        if self.file.link_exists(key) {
            self.file.unlink(key).unwrap();
        }
        let set = self.file.new_dataset_builder().with_data(&data);
        set.create(key).unwrap();
    }

    fn read(self) -> Result<Dataset, DataError> {
        self.file.close().unwrap();
        Dataset::read(self.folder.path())
    }

    /// The error, which is one line that names the data set's folder.
    #[track_caller]
    fn error(self) -> DataError {
        let folder = self.folder.path().to_owned();
        let error = self.read().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&folder.display().to_string()), "{text}");
        assert!(!text.contains('\n'), "{text}");
        error
    }
}

#[test]
fn the_sound_one_is_read() {
    let data = Spoiled::new().read().unwrap();
    assert_eq!((data.rows(), data.obs_dim, data.act_dim), (6, 2, 1));
    assert_eq!(data.identity.id, "ns/sound-v0");
}

#[test]
fn each_array_is_missed_in_any_episode() {
    for name in [
        "observations",
        "actions",
        "rewards",
        "terminations",
        "truncations",
    ] {
        for episode in 0..2 {
            let spoiled = Spoiled::new();
            let key = format!("episode_{episode}/{name}");
            spoiled.file.unlink(&key).unwrap();
            let error = spoiled.error();
            assert!(
                error.to_string().contains("terminations and truncations"),
                "{error}"
            );
            assert!(matches!(error, DataError::MissingKey { key: missed, .. } if missed == key));
        }
    }
}

#[test]
fn wrong_lengths_and_widths() {
    let cases: [(&str, &[usize], &str); 9] = [
        // As many observations as steps: the last is what Minari is for.
        ("episode_1/observations", &[3, 2], "[4, 2]"),
        ("episode_1/observations", &[4, 3], "[4, 2]"),
        ("episode_0/observations", &[4, 5], "[4, 2]"),
        ("episode_1/actions", &[3, 2], "row, 1]"),
        ("episode_0/actions", &[0, 1], "at least 1 row"),
        ("episode_1/rewards", &[4], "[3]"),
        ("episode_1/terminations", &[2], "[3]"),
        ("episode_1/truncations", &[3, 2], "[3]"),
        ("episode_1/infos/qpos", &[5, 1], "[3 or 4, 1]"),
    ];
    for (spoilt, shape, fact) in cases {
        let spoiled = Spoiled::new();
        for episode in 0..2 {
            let infos = spoiled
                .file
                .create_group(&format!("episode_{episode}/infos"));
            infos.unwrap();
            spoiled.put(
                &format!("episode_{episode}/infos/qpos"),
                Array::<f64, _>::zeros((4, 1)),
            );
        }
        spoiled.put(spoilt, Array::<f32, _>::zeros(shape));
        match spoiled.error() {
            DataError::Shape {
                key, got, expected, ..
            } => {
                assert_eq!((&*key, got), (spoilt, format!("{shape:?}")));
                assert!(expected.contains(fact), "{spoilt}: {expected}");
            }
            other => panic!("{spoilt}: {other}"),
        }
    }
}

#[test]
fn wrong_numbers_and_kinds() {
    let spoiled = Spoiled::new();
    let mut observations = Array::<f64, _>::zeros((4, 2));
    observations[[3, 1]] = f64::NAN;
    spoiled.put("episode_1/observations", observations);
    match spoiled.error() {
        DataError::NonFinite { key, row, .. } => {
            assert_eq!((&*key, row), ("episode_1/observations", 3));
        }
        other => panic!("{other}"),
    }
    let spoiled = Spoiled::new();
    spoiled.put(
        "episode_1/truncations",
        Array::from_vec(vec![0.0, 0.5, 1.0]),
    );
    assert!(matches!(spoiled.error(), DataError::Flag { row: 1, .. }));
    let spoiled = Spoiled::new();
    spoiled.put("episode_0/rewards", Array::from_elem(3, true));
    assert!(matches!(spoiled.error(), DataError::Type { .. }));
    let spoiled = Spoiled::new();
    spoiled.file.unlink("episode_1").unwrap();
    spoiled.put("episode_1", Array::<f32, _>::zeros(3));
    assert!(spoiled.read().is_err());
}

#[test]
fn descriptions_that_are_none_or_of_other_data() {
    let wrong = |text: &str, fact: &str| {
        let spoiled = Spoiled::new();
        spoiled.describe(text);
        let error = spoiled.error();
        assert!(error.to_string().contains(fact), "{error}");
        assert!(matches!(error, DataError::Description { .. }), "{error}");
    };
    wrong("", "EOF");
    wrong("<html>404</html>", "expected value");
    wrong("[1, 2]", "no JSON object");
    wrong(&SOUND.replace("hdf5", "arrow"), "`data_format` is `arrow`");
    wrong(
        &SOUND.replace("\"total_episodes\": 2", "\"total_episodes\": 3"),
        "`total_episodes` is 3, but the arrays hold 2",
    );
    for count in ["-1", "2.5", "\"2\""] {
        let text = SOUND.replace(
            "\"total_episodes\": 2",
            &format!("\"total_episodes\": {count}"),
        );
        wrong(&text, "expected a count");
    }
    // An absurd count of steps takes no memory.
    for steps in ["7", "1000000000000000"] {
        let text = SOUND.replace("\"total_steps\": 6", &format!("\"total_steps\": {steps}"));
        wrong(&text, "but the arrays hold 6");
    }
    wrong(&SOUND.replace("{\\\"type", "{{\\\"type"), "is no space");
    wrong(&" ".repeat((4 << 20) + 1), "longer than");
    let spoiled = Spoiled::new();
    spoiled.describe(&SOUND.replace("[2]", "[0]"));
    assert!(matches!(spoiled.error(), DataError::Space { .. }));
}

#[test]
fn arrays_alone_and_descriptions_alone() {
    let spoiled = Spoiled::new();
    fs::remove_file(spoiled.folder.path().join("data/metadata.json")).unwrap();
    let name = spoiled.folder.path().file_name().unwrap().to_owned();
    let data = spoiled.read().unwrap();
    assert_eq!(
        (data.rows(), data.identity.id),
        (6, name.into_string().unwrap())
    );

    let spoiled = Spoiled::new();
    let main = spoiled.folder.path().join("data/main_data.hdf5");
    fs::remove_file(&main).unwrap();
    let error = Dataset::read(spoiled.folder.path()).unwrap_err();
    assert!(
        matches!(&error, DataError::NotFound { path } if *path == main),
        "{error}"
    );

    let id = PathBuf::from("no/such-v0");
    let error = Dataset::read(&id).unwrap_err();
    assert!(
        error.to_string().contains("no/such-v0: no such data file"),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("id of a Minari or LeRobot data set"),
        "{error}"
    );
}

#[test]
fn cut_files_are_called_truncated() {
    let spoiled = Spoiled::new();
    let main = spoiled.folder.path().join("data/main_data.hdf5");
    spoiled.file.close().unwrap();
    let whole = fs::read(&main).unwrap();
    for keep in [200, whole.len() / 2, whole.len() - 1] {
        fs::write(&main, &whole[..keep]).unwrap();
        let error = Dataset::read(spoiled.folder.path()).unwrap_err();
        assert!(
            matches!(error, DataError::Truncated { .. }),
            "{keep}: {error}"
        );
    }
}

#[test]
fn shapes_that_the_stored_bytes_cannot_fill() {
    let spoiled = Spoiled::new();
    spoiled.file.unlink("episode_1/observations").unwrap();
    let shape = spoiled.file.new_dataset::<f32>().shape((1 << 40, 2));
    let key = "episode_1/observations";
    shape.chunk((1 << 10, 2)).deflate(4).create(key).unwrap();
    match spoiled.error() {
        DataError::TooLarge { key, .. } => assert_eq!(key, "episode_1/observations"),
        other => panic!("{other}"),
    }
}

/// A gzip bomb behind many names: each alone could be true, all together cannot.
#[test]
fn one_array_under_many_names() {
    let spoiled = Spoiled::new();
    spoiled.describe("{}");
    let steps = 1 << 20;
    let zeros = Array::<f32, _>::zeros((steps, 8));
    spoiled.file.unlink("episode_0/actions").unwrap();
    let set = spoiled
        .file
        .new_dataset_builder()
        .deflate(9)
        .chunk((1 << 15, 8));
    set.with_data(&zeros).create("episode_0/actions").unwrap();
    for (name, n) in [("observations", steps + 1), ("rewards", steps)] {
        let key = format!("episode_0/{name}");
        spoiled.file.unlink(&key).unwrap();
        let set = spoiled.file.new_dataset_builder().deflate(9);
        if name == "rewards" {
            let zeros = Array::<f32, _>::zeros(n);
            set.chunk((1 << 18,))
                .with_data(&zeros)
                .create(&*key)
                .unwrap();
        } else {
            let zeros = Array::<f32, _>::zeros((n, 2));
            set.chunk((1 << 17, 2))
                .with_data(&zeros)
                .create(&*key)
                .unwrap();
        }
    }
    for name in ["terminations", "truncations"] {
        let key = format!("episode_0/{name}");
        spoiled.file.unlink(&key).unwrap();
        let set = spoiled
            .file
            .new_dataset_builder()
            .deflate(9)
            .chunk((1 << 20,));
        set.with_data(&Array::from_elem(steps, false))
            .create(&*key)
            .unwrap();
    }
    spoiled.file.unlink("episode_1").unwrap();
    for episode in 1..200 {
        let name = format!("episode_{episode}");
        spoiled.file.link_hard("episode_0", &name).unwrap();
    }
    match spoiled.error() {
        DataError::TooLarge {
            declared, limit, ..
        } => assert!(declared > limit),
        other => panic!("{other}"),
    }
}
