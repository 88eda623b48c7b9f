//! Writes data files in D4RL's layout, row by row in bounded memory.

mod columns;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use hdf5::{H5Type, types::VarLenUnicode};
use spar_core::{DatasetIdentity, TaskId, files::sha256_file, partial};
use tempfile::NamedTempFile;

use crate::{
    error::DataError,
    identity::{META_DATASET, META_ORIGIN, identify},
};
use columns::Columns;

/// Rows per chunk, and rows held in memory. Large enough that compression
/// works, small enough that a chunk stays within the library's 1 MB cache.
pub(crate) const BLOCK: usize = 4096;
/// Level 4 with byte shuffling, h5py's own default level.
pub(crate) const DEFLATE: u8 = 4;

/// One scalar under `metadata/`.
#[derive(Clone, Debug, PartialEq)]
pub enum MetaValue {
    /// A variable-length UTF-8 string.
    Text(String),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit float.
    Number(f64),
    /// An array of 32-bit floats.
    Numbers(Vec<f32>),
}

impl From<&str> for MetaValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for MetaValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for MetaValue {
    fn from(n: i64) -> Self {
        Self::Integer(n)
    }
}

impl From<f64> for MetaValue {
    fn from(x: f64) -> Self {
        Self::Number(x)
    }
}

/// The metadata that make a file [`Origin::Local`](spar_core::Origin::Local)
/// data of `task`; add what else is to be recorded.
pub fn local_metadata(task: TaskId) -> BTreeMap<String, MetaValue> {
    BTreeMap::from([
        (META_ORIGIN.into(), "local".into()),
        (META_DATASET.into(), task.local_id().into()),
    ])
}

/// One environment step, to be written.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// `[obs_dim]`: the observation before the step.
    pub obs: &'a [f32],
    /// `[act_dim]`.
    pub action: &'a [f32],
    /// Reward of the step.
    pub reward: f32,
    /// The environment terminated.
    pub terminal: bool,
    /// The episode was cut here without termination.
    pub timeout: bool,
    /// `[obs_dim]`: the observation after the step, before any reset.
    pub next_obs: &'a [f32],
    /// `[nq]`: simulator positions before the step.
    pub qpos: &'a [f64],
    /// `[nv]`: simulator velocities before the step.
    pub qvel: &'a [f64],
}

/// What a file's rows are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) obs_dim: usize,
    pub(crate) act_dim: usize,
    /// 0 where no `infos/qpos` is written.
    pub(crate) nq: usize,
    /// 0 where no `infos/qvel` is written.
    pub(crate) nv: usize,
    /// Whether what follows each row is recorded; else [`Row::next_obs`] is empty.
    pub(crate) next_observations: bool,
    /// Whether flags say where episodes were cut; else none is.
    pub(crate) timeouts: bool,
}

/// A data file being written.
///
/// Rows go to a temporary file beside `path`, which is renamed to `path` by
/// [`Self::finish`]. Dropped before that (or failed), it leaves nothing. The
/// same rows and metadata always give the same bytes.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    // Fields drop in order: HDF5 lets go of the file before it is deleted.
    columns: Columns,
    file: hdf5::File,
    temporary: NamedTempFile,
    metadata: BTreeMap<String, String>,
    rows: usize,
}

impl Writer {
    /// Starts a file at `path` (its folder is created where missing). `nq` and
    /// `nv` may be 0: then no `infos/qpos` or `infos/qvel` is written.
    ///
    /// # Errors
    /// [`DataError::Write`] if the folder or file cannot be written.
    pub fn create(
        path: &Path,
        obs_dim: usize,
        act_dim: usize,
        nq: usize,
        nv: usize,
        metadata: &BTreeMap<String, MetaValue>,
    ) -> Result<Self, DataError> {
        let shape = Shape {
            obs_dim,
            act_dim,
            nq,
            nv,
            next_observations: true,
            timeouts: true,
        };
        Self::shaped(path, shape, metadata)
    }

    /// [`Self::create`] of a file that need not have every array.
    pub(crate) fn shaped(
        path: &Path,
        shape: Shape,
        metadata: &BTreeMap<String, MetaValue>,
    ) -> Result<Self, DataError> {
        let system = |e: io::Error| write_error(path, &e);
        let folder = folder_of(path);
        std::fs::create_dir_all(folder).map_err(system)?;
        let temporary = partial::file_in(folder, ".hdf5").map_err(system)?;
        let build = || -> hdf5::Result<_> {
            crate::h5::plugins::refuse();
            hdf5::silence_errors(true);
            // Unlocked by the library: the file is locked by its name already.
            let file = hdf5::File::with_options()
                .with_fcpl(|p| p.obj_track_times(false))
                .with_fapl(|access| access.file_locking(false))
                .create(temporary.path())?;
            let columns = Columns::create(&file, shape)?;
            write_metadata(&file, metadata)?;
            Ok((file, columns))
        };
        let (file, columns) = build().map_err(|e| write_error(path, &e))?;
        let metadata = metadata
            .iter()
            .filter_map(|(k, v)| match v {
                MetaValue::Text(text) => Some((k.clone(), text.clone())),
                _ => None,
            })
            .collect();
        Ok(Self {
            path: path.into(),
            columns,
            file,
            temporary,
            metadata,
            rows: 0,
        })
    }

    /// Adds the array `infos/NAME`, `[rows, width]`, that no reader needs, before the first
    /// row; [`Self::push_with`] has its numbers.
    ///
    /// # Errors
    /// [`DataError::Write`] if there are rows already, if `width` is 0, or if there is such an
    /// array.
    pub fn with_info(mut self, name: &'static str, width: usize) -> Result<Self, DataError> {
        if self.rows > 0 || width == 0 {
            let why = format!("infos/{name} is {width} wide, after {} rows", self.rows);
            return Err(write_error(&self.path, &why));
        }
        let added = self.columns.add_info(&self.file, name, width);
        added.map_err(|e| write_error(&self.path, &e))?;
        Ok(self)
    }

    /// Rows pushed so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds one row.
    ///
    /// # Errors
    /// [`DataError::RowWidth`] or [`DataError::NonFinite`] for a row that a
    /// reader would refuse, [`DataError::Write`] if the disk does.
    pub fn push(&mut self, row: &Row<'_>) -> Result<(), DataError> {
        self.push_with(row, &[])
    }

    /// [`Self::push`] with the numbers of each array of [`Self::with_info`], in their order.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_with(&mut self, row: &Row<'_>, infos: &[&[f32]]) -> Result<(), DataError> {
        self.check(row)?;
        self.check_infos(infos)?;
        self.columns.push(row, infos);
        self.rows += 1;
        if self.rows.is_multiple_of(BLOCK) {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left, syncs, puts the file in place and returns which
    /// data it now holds.
    ///
    /// # Errors
    /// [`DataError::Write`]; nothing is left behind then, and a file that was
    /// at the path before still stands.
    pub fn finish(mut self) -> Result<DatasetIdentity, DataError> {
        if self.rows == 0 {
            return Err(write_error(&self.path, &"no rows were written"));
        }
        self.flush()?;
        let Self {
            path,
            columns,
            file,
            temporary,
            metadata,
            rows,
        } = self;
        file.flush().map_err(|e| write_error(&path, &e))?;
        drop(columns);
        file.close().map_err(|e| write_error(&path, &e))?;
        let settle = || -> io::Result<String> {
            temporary.as_file().sync_all()?;
            let sha256 = sha256_file(temporary.path())?;
            temporary.persist(&path)?;
            File::open(folder_of(&path))?.sync_all()?;
            Ok(sha256)
        };
        let sha256 = settle().map_err(|e| write_error(&path, &e))?;
        Ok(identify(&path, sha256, rows, &metadata).0)
    }

    fn flush(&mut self) -> Result<(), DataError> {
        self.columns
            .flush()
            .map_err(|e| write_error(&self.path, &e))
    }

    fn check(&self, row: &Row<'_>) -> Result<(), DataError> {
        let c = &self.columns;
        let width = |key, column: Option<usize>, got: usize| {
            let expected = column.unwrap_or(0);
            if got == expected {
                return Ok(());
            }
            Err(DataError::RowWidth {
                path: self.path.clone(),
                row: self.rows,
                key,
                expected,
                got,
            })
        };
        width("observations", Some(c.observations.width), row.obs.len())?;
        width(
            "next_observations",
            c.next_observations.as_ref().map(|next| next.width),
            row.next_obs.len(),
        )?;
        width("actions", Some(c.actions.width), row.action.len())?;
        width(
            "infos/qpos",
            c.qpos.as_ref().map(|q| q.width),
            row.qpos.len(),
        )?;
        width(
            "infos/qvel",
            c.qvel.as_ref().map(|q| q.width),
            row.qvel.len(),
        )?;
        self.finite("observations", row.obs)?;
        self.finite("next_observations", row.next_obs)?;
        self.finite("actions", row.action)?;
        self.finite("rewards", &[row.reward])?;
        self.finite("infos/qpos", row.qpos)?;
        self.finite("infos/qvel", row.qvel)
    }

    fn check_infos(&self, infos: &[&[f32]]) -> Result<(), DataError> {
        let width = |key, expected, got| DataError::RowWidth {
            path: self.path.clone(),
            row: self.rows,
            key,
            expected,
            got,
        };
        let columns = &self.columns.infos;
        if infos.len() > columns.len() {
            return Err(width("infos", columns.len(), infos.len()));
        }
        for (i, (key, column)) in columns.iter().enumerate() {
            let values = infos.get(i).copied().unwrap_or(&[]);
            if values.len() != column.width {
                return Err(width(key, column.width, values.len()));
            }
            self.finite(key, values)?;
        }
        Ok(())
    }

    fn finite<T: Copy + Into<f64>>(&self, key: &str, values: &[T]) -> Result<(), DataError> {
        let bad = values.iter().map(|&x| x.into()).find(|x| !x.is_finite());
        bad.map_or(Ok(()), |got| {
            Err(DataError::NonFinite {
                path: self.path.clone(),
                key: key.into(),
                row: self.rows,
                got,
            })
        })
    }
}

fn write_metadata(file: &hdf5::File, metadata: &BTreeMap<String, MetaValue>) -> hdf5::Result<()> {
    let group = group(file, "metadata")?;
    for (key, value) in metadata {
        match value {
            MetaValue::Text(text) => {
                let text = text.parse::<VarLenUnicode>().map_err(|e| e.to_string())?;
                write_scalar(&group, key, &text)?;
            }
            MetaValue::Integer(n) => write_scalar(&group, key, n)?,
            MetaValue::Number(x) => write_scalar(&group, key, x)?,
            MetaValue::Numbers(row) => write_row(&group, key, row)?,
        }
    }
    Ok(())
}

fn write_scalar<T: H5Type>(group: &hdf5::Group, key: &str, value: &T) -> hdf5::Result<()> {
    if key.is_empty() || key.contains('/') {
        return Err(format!("metadata key `{key}` is not a plain name").into());
    }
    let set = group.new_dataset::<T>().shape(()).obj_track_times(false);
    set.create(key)?.write_scalar(value)
}

fn write_row(group: &hdf5::Group, key: &str, row: &[f32]) -> hdf5::Result<()> {
    let set = group.new_dataset::<f32>().shape((row.len(),));
    set.obj_track_times(false).create(key)?.write_raw(row)
}

pub(crate) fn group(file: &hdf5::Group, name: &str) -> hdf5::Result<hdf5::Group> {
    file.create_group_builder()
        .obj_track_times(false)
        .create(name)
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Temporary files are private; what stays is as readable as any other file.
#[cfg(unix)]
pub(crate) fn set_default_mode(file: &File) -> io::Result<()> {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};
    file.set_permissions(Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
pub(crate) fn set_default_mode(_: &File) -> io::Result<()> {
    Ok(())
}

pub(crate) fn write_error(path: &Path, reason: &dyn std::fmt::Display) -> DataError {
    DataError::Write {
        path: path.into(),
        reason: reason.to_string(),
    }
}
