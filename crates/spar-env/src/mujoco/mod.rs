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
        let starts = [
            working.as_deref(),
            program.as_deref().and_then(Path::parent),
        ];
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;

    fn open_error(path: &Path) -> String {
        Library::open(path).err().unwrap().to_string()
    }

    /// A shared library of one C function.
    fn compile(folder: &Path, name: &str, code: &str) -> PathBuf {
        let source = folder.join(format!("{name}.c"));
        let library = folder.join(format!("lib{name}.so"));
        fs::write(&source, code).unwrap();
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .unwrap();
        assert!(status.success());
        library
    }

    #[test]
    fn a_named_path_is_the_only_one_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let installed = folder.path().join(MODELS.installed);
        fs::create_dir_all(&installed).unwrap();
        let deep = folder.path().join("a/b");
        let starts = || [Path::new("nowhere"), deep.as_path()].into_iter();
        assert_eq!(MODELS.find_among(None, starts()).unwrap(), installed);
        let named = Some(PathBuf::from("elsewhere"));
        let error = MODELS.find_among(named, starts()).unwrap_err().to_string();
        assert!(error.contains("looked at: elsewhere;"), "{error}");
    }

    #[test]
    fn a_missing_part_names_every_place_looked_at() {
        let starts = ["/there/is/nothing", "/there"].map(Path::new);
        let error = LIBRARY.find_among(None, starts.into_iter()).unwrap_err();
        let places: Vec<String> = ["/there/is/nothing", "/there/is", "/there", ""]
            .map(|folder| format!("{folder}/{}", LIBRARY.installed))
            .to_vec();
        let expected = format!(
            "MuJoCo 3.17.0 library not found; looked at: {}; \
             run `cargo xtask setup` to fetch it, or set SPAR_MUJOCO_LIB",
            places.join(", ")
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_file_that_is_no_mujoco_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let garbage = folder.path().join("garbage.so");
        fs::write(&garbage, "<html>not found</html>").unwrap();
        let other = compile(folder.path(), "other", "int answer(void) { return 42; }");
        // Says the right version but has none of the functions.
        let hollow = compile(
            folder.path(),
            "hollow",
            "int mj_version(void) { return 3017000; }",
        );
        for path in [&garbage, &other, &hollow] {
            let error = open_error(path);
            let expected = format!("{}: not a usable MuJoCo library: ", path.display());
            assert!(error.starts_with(&expected), "{error}");
            assert!(error.contains("cargo xtask setup"), "{error}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, number) in [("old", 337), ("older", 3_016_002), ("newer", 4_000_000)] {
            let code = format!("int mj_version(void) {{ return {number}; }}");
            let error = open_error(&compile(folder.path(), name, &code));
            let expected = format!("expected 3.17.x, got version number {number} ");
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn a_model_other_than_the_pinned_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hopper.xml");
        let missing = read_pinned(&path, "00").unwrap_err();
        assert!(matches!(missing, EnvError::ModelRead { .. }), "{missing}");
        fs::write(&path, "<mujoco/>").unwrap();
        let got = sha256_hex(b"<mujoco/>");
        let expected = format!(
            "{}: model file: expected sha256 00, got {got}; \
             delete it and run `cargo xtask setup` to fetch the right one",
            path.display()
        );
        assert_eq!(read_pinned(&path, "00").unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_model_mujoco_refuses_is_an_error_in_its_words() {
        let library = library().unwrap_or_else(|e| panic!("{e}"));
        for xml in ["", "<mujoco><no-such-element/></mujoco>", "a\0b"] {
            let result = Model::parse(library, xml.as_bytes(), Path::new("bad.xml"));
            let error = result.err().unwrap().to_string();
            assert!(
                error.starts_with("bad.xml: MuJoCo cannot load this model: ") && error.len() > 45,
                "{error}"
            );
        }
    }
}
