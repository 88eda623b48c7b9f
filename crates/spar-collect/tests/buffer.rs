//! A training's replay buffer as data: what its curve says of the episodes, in the order in which
//! they were played.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{path::Path, sync::Arc};

use spar_collect::{
    CollectError, buffer,
    online::{self, Training, read_curve},
    sac::SacConfig,
};
use spar_core::{EnvId, Origin};
use spar_data::{DataError, Dataset};

const ENVS: usize = 3;
/// Steps of each environment between two snapshots.
const STRETCH: usize = 130;

fn trained(folder: &Path, gradient_steps: usize, buffer_size: usize) {
    let config = SacConfig {
        hidden: vec![16],
        batch_size: 16,
        start_steps: 60,
        total_steps: 3 * ENVS * STRETCH,
        snapshot_every: ENVS * STRETCH,
        num_envs: ENVS,
        checkpoint_every: 1,
        gradient_steps,
        buffer_size,
        ..SacConfig::default()
    };
    let training = Training {
        env: EnvId::POINT_MASS,
        seed: 3,
        config,
    };
    online::train(&training, folder, &mut |_| {}).unwrap();
}

fn written(folder: &Path) -> Dataset {
    let out = folder.join("buffer.hdf5");
    let made = buffer::write(folder, &out).unwrap();
    let data = Dataset::read(&out).unwrap();
    assert_eq!(
        (made.origin, data.identity.origin),
        (Origin::User, Origin::User)
    );
    assert_eq!(made.sha256, data.identity.sha256);
    data
}

#[test]
fn episodes_are_those_of_the_training_s_curve() {
    let folder = tempfile::tempdir().unwrap();
    trained(folder.path(), 1, 10_000);
    let data = written(folder.path());
    assert_eq!(data.rows(), 3 * ENVS * STRETCH);
    let (width, next) = (data.obs_dim, data.successors().unwrap());
    let cuts = data.timeouts.as_ref().unwrap();
    // What the curve calls finished: all but what a snapshot cut before its time.
    let mut finished = vec![Vec::new(); 3];
    let (mut ret, mut length) = (0.0, 0);
    for row in 0..data.rows() {
        (ret, length) = (ret + f64::from(data.rewards[row]), length + 1);
        let whole = data.terminals[row] || length == EnvId::POINT_MASS.horizon();
        if whole {
            finished[row % (3 * STRETCH) / STRETCH].push(ret);
        }
        if whole || cuts[row] {
            (ret, length) = (0.0, 0);
        } else {
            let follows = &data.observations[(row + 1) * width..(row + 2) * width];
            assert_eq!(follows, &next[row * width..(row + 1) * width], "row {row}");
        }
        if (row + 1) % STRETCH == 0 {
            assert_eq!(length, 0, "row {row} ends a stretch");
        }
    }
    let curve = read_curve(folder.path()).unwrap();
    assert_eq!(curve.len(), 3);
    for (point, returns) in curve.iter().zip(finished) {
        let (want, got) = (point.mean_return.unwrap(), spar_stats::mean(&returns));
        assert!((want - got).abs() < 1e-4 * want.abs(), "{want} {got}");
    }
    assert!(spar_data::Transitions::new(Arc::new(data), EnvId::POINT_MASS.horizon()).is_ok());
}

/// Without updates what is played does not depend on what the buffer holds.
#[test]
fn of_a_full_buffer_the_newest_steps_are_there() {
    let (whole, few) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    trained(whole.path(), 0, 10_000);
    trained(few.path(), 0, 500);
    let (whole, few) = (written(whole.path()), written(few.path()));
    assert_eq!(few.rows(), 500);
    let mut at = 0;
    for env in 0..ENVS {
        // Steps 670 to 1169 of all.
        let kept = (670..1170).filter(|step| step % ENVS == env).count();
        let end = (env + 1) * 3 * STRETCH;
        let width = whole.act_dim;
        let newest = &whole.actions[(end - kept) * width..end * width];
        assert_eq!(&few.actions[at * width..(at + kept) * width], newest);
        at += kept;
    }
    assert_eq!(at, 500);
}

#[test]
fn what_is_there_stays_and_what_is_no_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("buffer.hdf5");
    let error = buffer::write(folder.path(), &out).unwrap_err();
    assert!(error.to_string().contains("training.json"), "{error}");
    trained(folder.path(), 0, 500);
    std::fs::write(&out, "mine").unwrap();
    let error = buffer::write(folder.path(), &out).unwrap_err();
    assert!(
        matches!(error, CollectError::Data(DataError::Exists { .. })),
        "{error}"
    );
    assert_eq!(std::fs::read(&out).unwrap(), b"mine");
}
