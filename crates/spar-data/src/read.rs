//! A path in, an open file out: the checks before any layout is known.

mod csv_file;

use std::path::{Path, PathBuf};
#[cfg(feature = "hdf5")]
use std::{panic::resume_unwind, thread};

use spar_core::EnvId;

use crate::{
    dataset::Dataset,
    error::DataError,
    lerobot::Folder,
    minari, npz, parquet_file,
    precheck::{Kind, Scanned, precheck, scan},
    reading::{Asked, Reading},
    rehearsal,
};
#[cfg(feature = "hdf5")]
use crate::{
    dataset::Layout,
    h5::{d4rl::D4rl, groups::Groups, source::Source},
    minari::{Description, Episodes},
};

/// A file that the library may open.
pub(crate) struct Checked {
    path: PathBuf,
    /// What stands beside it, if it is a Minari data set's.
    #[cfg(feature = "hdf5")]
    described: Option<Description>,
    /// What it is, if it is LeRobot's.
    folder: Option<Folder>,
    kind: Kind,
    length: u64,
}

impl Checked {
    /// What `path` means, after a look at its first bytes, and after another process
    /// has opened it, where there can be one.
    pub(crate) fn at(path: &Path, reading: &Reading) -> Result<Self, DataError> {
        let checked = Self::unrehearsed(path)?;
        // Only where a library does more than is seen from here.
        let library = match checked.kind {
            Kind::Hdf5 => "HDF5",
            Kind::Parquet => "Parquet",
            Kind::Npz | Kind::Csv => return Ok(checked),
        };
        rehearsal::before(&checked.path, library, &reading.observations)?;
        Ok(checked)
    }

    /// The same for that other process.
    pub(crate) fn unrehearsed(path: &Path) -> Result<Self, DataError> {
        let path = minari::locate(path);
        if let Some(folder) = Folder::at(&path)? {
            return Ok(Self {
                path: folder.path().to_owned(),
                #[cfg(feature = "hdf5")]
                described: None,
                kind: Kind::Parquet,
                length: folder.length(),
                folder: Some(folder),
            });
        }
        #[cfg(feature = "hdf5")]
        let described = Description::beside(&path)?;
        let (kind, length) = precheck(&path)?;
        Ok(Self {
            path,
            #[cfg(feature = "hdf5")]
            described,
            folder: None,
            kind,
            length,
        })
    }

    /// Its bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What all of its bytes tell.
    pub(crate) fn scan(&self) -> Result<Scanned, DataError> {
        let scanned = match &self.folder {
            None => scan(&self.path),
            Some(folder) => folder.sha256().map(|sha256| Scanned {
                sha256,
                heaps_end: true,
            }),
        };
        scanned.map_err(|source| DataError::Io {
            path: self.path.clone(),
            doing: "read the data file",
            source,
        })
    }

    /// The folder, if it is LeRobot's.
    pub(crate) fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }

    #[cfg(feature = "hdf5")]
    pub(crate) fn open(&self) -> Result<Source<'_>, DataError> {
        Source::open(&self.path, self.length)
    }

    /// The episodes of `source`, which has Minari's layout.
    #[cfg(feature = "hdf5")]
    pub(crate) fn episodes<'a>(
        &self,
        source: &'a Source<'a>,
        asked: Asked<'a>,
    ) -> Result<Episodes<'a>, DataError> {
        Episodes::new(source, self.described.clone(), asked)
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

pub(crate) fn read_file(path: &Path, asked: Asked<'_>) -> Result<Dataset, DataError> {
    let checked = Checked::at(path, asked.reading)?;
    match checked.kind() {
        Kind::Csv => return csv_file::read(&checked, asked),
        Kind::Parquet => return parquet_file::read(&checked, asked),
        Kind::Npz | Kind::Hdf5 if asked.reading.reward.is_some() => {
            let path = checked.path().into();
            return Err(DataError::NoColumns { path });
        }
        Kind::Npz => return npz::read(&checked, asked),
        Kind::Hdf5 => {}
    }
    read_hdf5(&checked, asked)
}

/// Where HDF5 is left out of the program, its files are refused by name.
#[cfg(not(feature = "hdf5"))]
fn read_hdf5(checked: &Checked, _: Asked<'_>) -> Result<Dataset, DataError> {
    let path = checked.path().into();
    Err(DataError::WithoutHdf5 { path })
}

#[cfg(feature = "hdf5")]
fn read_hdf5(checked: &Checked, asked: Asked<'_>) -> Result<Dataset, DataError> {
    // Hashing takes as long as reading, so each has a thread.
    thread::scope(|scope| {
        let scan = scope.spawn(|| checked.scan());
        let scanned = || scan.join().unwrap_or_else(|panic| resume_unwind(panic));
        let source = checked.open()?;
        if let Some(groups) = Groups::of(&source) {
            let table = groups.read(asked.reading)?;
            return table.dataset(checked.path(), scanned()?.sha256, asked);
        }
        match source.layout {
            Layout::D4rl => D4rl::open(&source, asked)?.read(scanned),
            Layout::Minari => minari::read(checked.episodes(&source, asked)?, scanned),
        }
    })
}

/// Refuses widths that are not `env`'s.
pub(crate) fn check_env(
    path: &Path,
    env: Option<EnvId>,
    obs_dim: usize,
    act_dim: usize,
) -> Result<(), DataError> {
    let Some(env) = env else { return Ok(()) };
    let widths = [
        ("observations", env.obs_dim(), obs_dim),
        ("actions", env.act_dim(), act_dim),
    ];
    match widths
        .into_iter()
        .find(|(_, expected, got)| expected != got)
    {
        None => Ok(()),
        Some((key, expected, got)) => Err(DataError::WrongEnv {
            path: path.into(),
            key,
            env,
            expected,
            got,
        }),
    }
}
