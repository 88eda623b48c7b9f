//! Finding, checking and sharing the MuJoCo library and its models; the calls
//! into it are in `binding`.

mod binding;
mod places;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use spar_core::EnvId;

use places::{LIBRARY, MODELS, library_sha256, proven};

use crate::EnvError;

pub(crate) use binding::{Body, GOAL_RADIUS, Library, Model, Sensor, Simulation, Viewpoint};
pub use binding::{OffScreen, Subject};

/// The process's MuJoCo library, opened on first use. A failure is not kept:
/// the next call tries again.
pub(crate) fn library() -> Result<&'static Library, EnvError> {
    static OPENED: OnceLock<Library> = OnceLock::new();
    if let Some(library) = OPENED.get() {
        return Ok(library);
    }
    let library = Library::open(&LIBRARY.find()?, &library_sha256())?;
    Ok(OPENED.get_or_init(|| library))
}

/// The model of the environment `id`, made once per process by `compile` and shared.
pub(crate) fn model(
    id: EnvId,
    compile: impl FnOnce(&'static Library) -> Result<Model, EnvError>,
) -> Result<Arc<Model>, EnvError> {
    static LOADED: Mutex<BTreeMap<EnvId, Arc<Model>>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = loaded.get(&id) {
        return Ok(model.clone());
    }
    let model = Arc::new(compile(library()?)?);
    loaded.insert(id, model.clone());
    Ok(model)
}

/// The file `name` of gymnasium's models, whose bytes hash to `sha256`.
pub(crate) fn model_file(name: &str, sha256: &str) -> Result<(PathBuf, Vec<u8>), EnvError> {
    let path = MODELS.find()?.join(name);
    let (_, xml) = proven("model file", &path, sha256)?;
    Ok((path, xml))
}

/// `xml` without what is only seen and with `edits`, each of which has one place.
///
/// # Errors
/// In words, if one of them has not.
pub(crate) fn edited(xml: &str, edits: &[(&str, &str)]) -> Result<String, String> {
    let opened = xml.find("<mujoco ").and_then(|at| {
        let end = xml[at..].find('>')?;
        Some(at + end + 1)
    });
    let Some(opened) = opened else {
        return Err("it has no <mujoco>".to_owned());
    };
    let mut xml = xml.to_owned();
    xml.insert_str(opened, "<compiler discardvisual=\"true\"/>");
    for (from, to) in edits {
        let places = xml.matches(from).count();
        if places != 1 {
            return Err(format!("it has `{from}` {places} times, expected once"));
        }
        xml = xml.replace(from, to);
    }
    Ok(xml)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    use spar_core::sha256_file;

    use super::*;

    /// Why a library cannot be used whose bytes are those expected.
    fn open_error(path: &Path) -> String {
        let hash = sha256_file(path).unwrap();
        Library::open(path, &hash).err().unwrap().to_string()
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
            assert!(error.contains("spar setup"), "{error}");
        }
    }

    /// Loading runs a library's own code: it must not come to that.
    #[test]
    fn a_library_of_other_bytes_is_refused_before_its_code_runs() {
        let folder = tempfile::tempdir().unwrap();
        let ran = folder.path().join("ran");
        let code = format!(
            "#include <stdio.h>\n\
             __attribute__((constructor)) void run(void) {{ fopen(\"{}\", \"w\"); }}\n\
             int mj_version(void) {{ return 3017000; }}",
            ran.display()
        );
        let path = compile(folder.path(), "evil", &code);
        let error = Library::open(&path, &library_sha256()).err().unwrap();
        assert!(matches!(error, EnvError::Hash { .. }), "{error}");
        assert!(!ran.exists(), "the library's code ran");
        // The file is not merely unloadable.
        open_error(&path);
        assert!(ran.exists());
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
    fn a_model_mujoco_refuses_is_an_error_in_its_words() {
        let library = library().unwrap_or_else(|e| panic!("{e}"));
        for xml in ["", "<mujoco><no-such-element/></mujoco>", "a\0b"] {
            let result = Model::parse(library, xml.as_bytes(), &[], Path::new("bad.xml"));
            let error = result.err().unwrap().to_string();
            assert!(
                error.starts_with("bad.xml: MuJoCo cannot load this model: ") && error.len() > 45,
                "{error}"
            );
        }
    }
}
