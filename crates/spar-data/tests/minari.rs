//! Minari data sets: those the real `minari` package wrote
//! (`tests/scripts/minari_fixtures.py`).
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use spar_core::EnvId;
use spar_data::{DataError, Dataset, EpisodeEnd, Layout, Origin, Transitions, info};

mod support;
use support::{arrays_of, narrowed};

/// The folder of a data set that the script wrote.
fn fixture(name: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/minari");
    Path::new(root).join(format!("test/{name}-v0"))
}

fn read(name: &str) -> Arc<Dataset> {
    Arc::new(Dataset::read(&fixture(name)).unwrap())
}

fn expected(name: &str) -> Value {
    let path = fixture(name).with_file_name(format!("../{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn what_minari_wrote_is_read() {
    for name in ["plain", "gzip", "old"] {
        let data = read(name);
        let theirs = expected(name);
        assert_eq!(data.layout(), Layout::Minari);
        assert_eq!(arrays_of(&data), narrowed(&theirs["episodes"]), "{name}");
        let identity = &data.identity;
        assert_eq!((identity.origin, identity.rows), (Origin::Minari, 14));
        assert_eq!(theirs["id"], identity.id.as_str());
        let main = fixture(name).join("data/main_data.hdf5");
        assert_eq!(
            identity.sha256,
            spar_core::files::sha256_file(&main).unwrap()
        );
        assert_eq!(data.metadata["algorithm_name"], "random numbers");
        // Folder, data folder and file are the same data.
        for path in [fixture(name).join("data"), main] {
            assert_eq!(Dataset::read(&path).unwrap(), *data);
        }
    }
}

#[test]
fn states_are_those_before_each_step() {
    let data = read("gzip");
    assert_eq!((data.nq(), data.nv()), (Some(2), Some(1)));
    let theirs = expected("gzip");
    let mut row = 0;
    for episode in theirs["episodes"].as_array().unwrap() {
        // One info more than steps, as for observations.
        let steps = episode["rewards"].as_array().unwrap().len();
        let qpos = episode["infos"]["qpos"].as_array().unwrap();
        assert_eq!(qpos.len(), steps + 1);
        for state in &qpos[..steps] {
            let ours = &data.qpos.as_ref().unwrap()[2 * row..][..2];
            assert_eq!(serde_json::to_value(ours).unwrap(), *state);
            row += 1;
        }
    }
    assert_eq!(row, data.rows());
    assert_eq!(read("plain").qpos, None);
}

#[test]
fn every_step_is_a_transition_with_its_own_successor() {
    let data = read("plain");
    use EpisodeEnd::{Terminal, Timeout, Unfinished};
    // By the script's list; no horizon has a part in it.
    let ends = [(4, Terminal), (6, Timeout), (1, Terminal), (3, Unfinished)];
    for horizon in [2, 1000] {
        let found: Vec<_> = data
            .episodes(horizon)
            .map(|e| (e.rows.len(), e.end))
            .collect();
        assert_eq!(found, ends);
        let transitions = Transitions::new(Arc::clone(&data), horizon).unwrap();
        assert_eq!(transitions.len(), 14);
        let theirs = expected("plain");
        let mut i = 0;
        for episode in theirs["episodes"].as_array().unwrap() {
            let observations = episode["observations"].as_array().unwrap();
            for pair in observations.windows(2) {
                let narrow = |of: &Value| -> Vec<f32> {
                    let values = of.as_array().unwrap();
                    values.iter().map(|x| x.as_f64().unwrap() as f32).collect()
                };
                assert_eq!(transitions.obs(i), narrow(&pair[0]));
                assert_eq!(transitions.next_obs(i), narrow(&pair[1]));
                i += 1;
            }
        }
        assert_eq!(i, 14);
    }
    let about = info(&data, Some(EnvId::POINT_MASS)).unwrap();
    assert_eq!((about.episodes, about.complete_episodes), (4, 3));
    assert_eq!(
        (about.terminals, about.timeouts, about.transitions),
        (2, Some(1), 14)
    );
}

#[test]
fn other_spaces_are_refused() {
    let cases = [
        ("dict", "observations", "a Dict space", "FlattenObservation"),
        (
            "tuple",
            "observations",
            "a Tuple space",
            "FlattenObservation",
        ),
        (
            "image",
            "observations",
            "a Box of shape [8, 8, 3] (uint8)",
            "FlattenObservation",
        ),
        (
            "discrete",
            "observations",
            "a Discrete space",
            "FlattenObservation",
        ),
        (
            "choice",
            "actions",
            "a Discrete space",
            "continuous actions",
        ),
    ];
    for (name, what, got, mend) in cases {
        let error = Dataset::read(&fixture(name)).unwrap_err();
        assert!(matches!(error, DataError::Space { .. }), "{error}");
        let text = error.to_string();
        for fact in [
            what,
            got,
            "expected a Box of one dimension",
            mend,
            "metadata.json",
        ] {
            assert!(text.contains(fact), "{text}");
        }
        // The arrays alone say so too.
        let folder = tempfile::tempdir().unwrap();
        let alone = folder.path().join("alone.hdf5");
        fs::copy(fixture(name).join("data/main_data.hdf5"), &alone).unwrap();
        let error = Dataset::read(&alone).unwrap_err();
        assert!(
            matches!(error, DataError::Space { what: w, .. } if w == what),
            "{error}"
        );
    }
}
