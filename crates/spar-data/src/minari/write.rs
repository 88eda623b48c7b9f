//! Writes a Minari data set, an episode at a time.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use hdf5::H5Type;
use ndarray::ArrayView2;
use serde_json::{Map, Value, json};
use spar_core::{DatasetIdentity, Origin, files::sha256_file, partial};
use tempfile::TempDir;

use super::{MAIN, METADATA, check_id};
use crate::{
    error::DataError,
    h5::writer::{BLOCK, DEFLATE, folder_of, group, set_default_mode, write_error},
};

/// The oldest Minari that keeps the description in `metadata.json`; it and every
/// later one so far loads what names this version.
const MINARI_VERSION: &str = "0.5.0";

/// What is said of a data set being written.
pub(crate) struct About {
    pub(crate) id: String,
    pub(crate) obs_dim: usize,
    pub(crate) act_dim: usize,
    /// The bounds of every action component, where known.
    pub(crate) action_bounds: Option<(f32, f32)>,
    /// Further fields of the description.
    pub(crate) fields: Map<String, Value>,
}

/// The rows of one episode of `steps` steps; all are known to be finite.
pub(crate) struct EpisodeRows<'a> {
    /// `[steps, obs_dim]`.
    pub(crate) observations: &'a [f32],
    /// `[obs_dim]`: what was observed after the last step.
    pub(crate) last: &'a [f32],
    /// `[steps, act_dim]`.
    pub(crate) actions: &'a [f32],
    /// `[steps]`.
    pub(crate) rewards: &'a [f32],
    /// `[steps]`.
    pub(crate) terminations: &'a [bool],
    /// `[steps]`.
    pub(crate) truncations: &'a [bool],
    /// `[steps, nq]`, where recorded.
    pub(crate) qpos: Option<&'a [f64]>,
    /// `[steps, nv]`, where recorded.
    pub(crate) qvel: Option<&'a [f64]>,
}

/// A data set being written, in a folder beside its place until it is whole.
/// Dropped before that, it leaves nothing. The same episodes and description
/// give the same bytes.
pub(crate) struct MinariWriter {
    folder: PathBuf,
    // Fields drop in order: HDF5 lets go of the file before its folder is deleted.
    file: hdf5::File,
    scratch: TempDir,
    /// Says that `scratch` is being written.
    _lock: File,
    about: About,
    episodes: usize,
    steps: usize,
}

impl MinariWriter {
    /// Starts a data set in `folder`, which must not be there yet.
    pub(crate) fn create(folder: &Path, about: About) -> Result<Self, DataError> {
        check_id(&about.id)?;
        refuse_existing(folder)?;
        let build = || -> io::Result<(TempDir, File)> {
            let beside = folder_of(folder);
            fs::create_dir_all(beside)?;
            let (scratch, lock) = partial::folder_in(beside)?;
            fs::create_dir(scratch.path().join("data"))?;
            Ok((scratch, lock))
        };
        let (scratch, lock) = build().map_err(|e| write_error(folder, &e))?;
        crate::h5::plugins::refuse();
        hdf5::silence_errors(true);
        // Unlocked: nobody else knows the file yet, and a lock would outlive it in
        // any process started meanwhile.
        let file = hdf5::File::with_options()
            .with_fcpl(|p| p.obj_track_times(false))
            .with_fapl(|access| access.file_locking(false))
            .create(scratch.path().join("data").join(MAIN))
            .map_err(|e| write_error(folder, &e))?;
        Ok(Self {
            folder: folder.into(),
            file,
            scratch,
            _lock: lock,
            about,
            episodes: 0,
            steps: 0,
        })
    }

    /// Adds one episode.
    pub(crate) fn push(&mut self, episode: &EpisodeRows<'_>) -> Result<(), DataError> {
        self.write(episode)
            .map_err(|e| write_error(&self.folder, &e))?;
        self.episodes += 1;
        self.steps += episode.rewards.len();
        Ok(())
    }

    fn write(&self, rows: &EpisodeRows<'_>) -> hdf5::Result<()> {
        let steps = rows.rewards.len();
        let episode = group(&self.file, &format!("episode_{}", self.episodes))?;
        for (name, value) in [("id", self.episodes), ("total_steps", steps)] {
            let attribute = episode.new_attr::<i64>().create(name)?;
            attribute.write_scalar(&(value as i64))?;
        }
        let observations = [rows.observations, rows.last].concat();
        array(
            &episode,
            "observations",
            &observations,
            Some(self.about.obs_dim),
        )?;
        array(&episode, "actions", rows.actions, Some(self.about.act_dim))?;
        array(&episode, "rewards", rows.rewards, None)?;
        array(&episode, "terminations", rows.terminations, None)?;
        array(&episode, "truncations", rows.truncations, None)?;
        // Minari asks every episode for its infos, if only to print it.
        let infos = group(&episode, "infos")?;
        for (name, values) in [("qpos", rows.qpos), ("qvel", rows.qvel)] {
            if let Some(values) = values {
                array(&infos, name, values, Some(values.len() / steps))?;
            }
        }
        Ok(())
    }

    /// Describes what was written, syncs it and puts it in place.
    pub(crate) fn finish(self) -> Result<DatasetIdentity, DataError> {
        let Self {
            folder,
            file,
            scratch,
            _lock,
            about,
            episodes,
            steps,
        } = self;
        let failed = |e: &dyn std::fmt::Display| write_error(&folder, e);
        if steps == 0 {
            return Err(failed(
                &"no episode has a step whose next observation is known",
            ));
        }
        file.close().map_err(|e| failed(&e))?;
        let data = scratch.path().join("data");
        let main = data.join(MAIN);
        let settle = || -> io::Result<String> {
            let bytes = fs::metadata(&main)?.len();
            let text = describe(&about, episodes, steps, bytes);
            fs::write(data.join(METADATA), text)?;
            for name in [MAIN, METADATA] {
                let file = File::open(data.join(name))?;
                set_default_mode(&file)?;
                file.sync_all()?;
            }
            set_folder_mode(scratch.path())?;
            File::open(&data)?.sync_all()?;
            sha256_file(&main)
        };
        let sha256 = settle().map_err(|e| failed(&e))?;
        // Another process may have put something there meanwhile.
        refuse_existing(&folder)?;
        fs::rename(scratch.path(), &folder).map_err(|e| failed(&e))?;
        // What it would remove is in place now.
        let _ = scratch.keep();
        File::open(folder_of(&folder))
            .and_then(|f| f.sync_all())
            .map_err(|e| failed(&e))?;
        Ok(DatasetIdentity {
            id: about.id,
            origin: Origin::Minari,
            sha256,
            rows: steps,
        })
    }
}

/// Refuses a place that is taken.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), DataError> {
    match path.symlink_metadata() {
        Ok(_) => Err(DataError::Exists { path: path.into() }),
        Err(_) => Ok(()),
    }
}

/// `values` as `[n]`, or as `[n, width]`, in chunks that Minari can extend.
fn array<T: H5Type + Copy>(
    parent: &hdf5::Group,
    name: &str,
    values: &[T],
    width: Option<usize>,
) -> hdf5::Result<()> {
    let rows = values.len() / width.unwrap_or(1);
    let chunk = rows.min(BLOCK);
    let builder = parent
        .new_dataset::<T>()
        .shuffle()
        .deflate(DEFLATE)
        .obj_track_times(false);
    match width {
        None => builder
            .shape((rows..,))
            .chunk((chunk,))
            .create(name)?
            .write(values),
        Some(width) => {
            let set = builder
                .shape((rows.., width))
                .chunk((chunk, width))
                .create(name)?;
            set.write(ArrayView2::from_shape((rows, width), values)?)
        }
    }
}

/// The text of `metadata.json`.
fn describe(about: &About, episodes: usize, steps: usize, bytes: u64) -> String {
    let mut fields = about.fields.clone();
    let own = json!({
        "total_episodes": episodes,
        "total_steps": steps,
        "data_format": "hdf5",
        "observation_space": space(about.obs_dim, None),
        "action_space": space(about.act_dim, about.action_bounds),
        "dataset_id": about.id,
        "minari_version": MINARI_VERSION,
        // In megabytes, with one decimal.
        "dataset_size": (bytes as f64 / 1e5).round() / 10.0,
    });
    if let Value::Object(own) = own {
        fields.extend(own);
    }
    Value::Object(fields).to_string()
}

/// A Box as Minari writes it: in Python's JSON, which has infinite numbers.
fn space(width: usize, bounds: Option<(f32, f32)>) -> String {
    let (low, high) = match bounds {
        Some((low, high)) => (format!("{low:?}"), format!("{high:?}")),
        None => ("-Infinity".to_owned(), "Infinity".to_owned()),
    };
    let list = |bound: String| vec![bound; width].join(", ");
    format!(
        r#"{{"type": "Box", "dtype": "float32", "shape": [{width}], "low": [{}], "high": [{}]}}"#,
        list(low),
        list(high)
    )
}

/// Temporary folders are private; what stays is as open as any other.
#[cfg(unix)]
fn set_folder_mode(folder: &Path) -> io::Result<()> {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn set_folder_mode(_: &Path) -> io::Result<()> {
    Ok(())
}
