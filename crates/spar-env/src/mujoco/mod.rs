//! Finding, checking and sharing the MuJoCo library and its models; the calls
//! into it are in `binding`.

mod binding;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use spar_core::{EnvId, sha256_hex};

use crate::{EnvError, locomotion::Spec};

pub(crate) use binding::{Library, Model, Simulation};

/// A native part of the installation and where it may lie.
struct Part {
    what: &'static str,
    variable: &'static str,
    installed: &'static str,
}

const LIBRARY: Part = Part {
    what: "MuJoCo 3.17.0 library",
    variable: "SPAR_MUJOCO_LIB",
    installed: ".spar/native/mujoco-3.17.0/libmujoco.so.3.17.0",
};

const MODELS: Part = Part {
    what: "MuJoCo model folder",
    variable: "SPAR_MUJOCO_MODELS",
    installed: ".spar/native/models",
};

impl Part {
    fn find(&self) -> Result<PathBuf, EnvError> {
        let named = env::var_os(self.variable).map(PathBuf::from);
        let working = env::current_dir().ok();
        let program = env::current_exe().ok();
        let starts = [working.as_deref(), program.as_deref().and_then(Path::parent)];
        self.find_among(named, starts.into_iter().flatten())
    }

    /// The path the user named, else the first that exists in one of `starts`
    /// or its ancestors.
    fn find_among<'a>(
        &self,
        named: Option<PathBuf>,
        starts: impl Iterator<Item = &'a Path>,
    ) -> Result<PathBuf, EnvError> {
        let mut candidates: Vec<PathBuf> = Vec::new();
        if let Some(path) = named {
            candidates.push(path);
        } else {
            for folder in starts.flat_map(Path::ancestors) {
                let path = folder.join(self.installed);
                if !candidates.contains(&path) {
                    candidates.push(path);
                }
            }
        }
        match candidates.iter().position(|path| path.exists()) {
            Some(found) => Ok(candidates.swap_remove(found)),
            None => Err(EnvError::Missing {
                what: self.what,
                variable: self.variable,
                looked_at: candidates,
            }),
        }
    }
}

/// The process's MuJoCo library, opened on first use. A failure is not kept:
/// the next call tries again.
pub(crate) fn library() -> Result<&'static Library, EnvError> {
    static OPENED: OnceLock<Library> = OnceLock::new();
    if let Some(library) = OPENED.get() {
        return Ok(library);
    }
    let library = Library::open(&LIBRARY.find()?)?;
    Ok(OPENED.get_or_init(|| library))
}

/// The model of an environment, loaded once per process and shared.
pub(crate) fn model(spec: &Spec) -> Result<Arc<Model>, EnvError> {
    static LOADED: Mutex<BTreeMap<EnvId, Arc<Model>>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = loaded.get(&spec.id) {
        return Ok(model.clone());
    }
    let library = library()?;
    let path = MODELS.find()?.join(spec.model_file);
    let xml = read_pinned(&path, spec.model_sha256)?;
    let model = Arc::new(Model::parse(library, &xml, &path)?);
    loaded.insert(spec.id, model.clone());
    Ok(model)
}

/// Reads a file once and vouches for the bytes it returns.
fn read_pinned(path: &Path, expected: &'static str) -> Result<Vec<u8>, EnvError> {
    let bytes = fs::read(path).map_err(|source| EnvError::ModelRead {
        path: path.to_owned(),
        source,
    })?;
    let got = sha256_hex(&bytes);
    if got != expected {
        return Err(EnvError::ModelHash {
            path: path.to_owned(),
            expected,
            got,
        });
    }
    Ok(bytes)
}
