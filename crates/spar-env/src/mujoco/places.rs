//! Where the native parts may lie, and the proof that what lies there is what the numbers
//! were made with: code and models are only ever used after their bytes were hashed.
//!
//! They lie where the user says, in the folders of the program, or in the user's data
//! folder, where `spar setup` puts them. The working directory is no such place: a library
//! found there runs with the rights of whoever happens to stand in a folder that someone
//! else filled.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use spar_core::{
    files::{data_home, in_file},
    sha256_hex,
};

use crate::EnvError;

/// A native part of the installation and where it may lie.
pub(super) struct Part {
    what: &'static str,
    variable: &'static str,
    /// Below a folder where set-up puts native parts.
    installed: &'static str,
}

pub(super) const LIBRARY: Part = Part {
    what: "MuJoCo 3.17.0 library",
    variable: "SPAR_MUJOCO_LIB",
    installed: "mujoco-3.17.0/libmujoco.so.3.17.0",
};

pub(super) const MODELS: Part = Part {
    what: "MuJoCo model folder",
    variable: "SPAR_MUJOCO_MODELS",
    installed: "models",
};

/// SHA-256 of the library that set-up provides; its tests compare.
const LIBRARY_SHA256: &str = "23496b023ee80fb61ab71167e94bc649f9941710fde96b18bb8204fb332523ad";

/// Names the SHA-256 of the library that `SPAR_MUJOCO_LIB` names, where it is another
/// build of this version than set-up's, as on another kind of machine.
const OTHER_SHA256: &str = "SPAR_MUJOCO_LIB_SHA256";

/// What the library's bytes have to hash to.
pub(super) fn library_sha256() -> String {
    let named = env::var_os(LIBRARY.variable).and(env::var_os(OTHER_SHA256));
    named.map_or_else(
        || LIBRARY_SHA256.to_owned(),
        |hash| hash.to_string_lossy().to_ascii_lowercase(),
    )
}

impl Part {
    /// Where the part is.
    ///
    /// # Errors
    /// [`EnvError::Missing`] if it is in no place it may be in.
    pub(super) fn find(&self) -> Result<PathBuf, EnvError> {
        let named = env::var_os(self.variable).map(PathBuf::from);
        // Links are followed first: a link to the program is not its place.
        let program = env::current_exe().and_then(|path| path.canonicalize());
        let built = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let mut own = program.map_or_else(|_| Vec::new(), |program| own_folders(&program));
        own.extend(built.canonicalize());
        let mut native: Vec<PathBuf> = own.iter().map(|own| own.join(".spar/native")).collect();
        native.extend(data_home().map(|home| home.join("native")));
        self.find_among(named, &native)
    }

    /// The path the user named, else the first that exists in a folder of `native`.
    fn find_among(&self, named: Option<PathBuf>, native: &[PathBuf]) -> Result<PathBuf, EnvError> {
        let mut candidates: Vec<PathBuf> = Vec::new();
        match named {
            Some(path) => candidates.push(path),
            None => {
                for folder in native {
                    let path = folder.join(self.installed);
                    if !candidates.contains(&path) {
                        candidates.push(path);
                    }
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

/// The folders that belong to the program at `program`: its own, and, where cargo built
/// it, the workspace whose `target` it lies in.
fn own_folders(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else {
        return Vec::new();
    };
    let target = folder.ancestors().find(|path| path.ends_with("target"));
    let workspace = target.and_then(Path::parent);
    let folders = [Some(folder), workspace].into_iter().flatten();
    folders.map(Path::to_owned).collect()
}

/// Opens the file at `path`, reads all of it and compares its hash: what is read from
/// `File` afterwards is the same file, whatever the path names by then.
///
/// # Errors
/// If it cannot be read, is no plain file, or hashes to something else than `expected`.
pub(super) fn proven(
    what: &'static str,
    path: &Path,
    expected: &str,
) -> Result<(File, Vec<u8>), EnvError> {
    let read = || {
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok((file, bytes))
    };
    let (file, bytes) = read().map_err(|e| EnvError::Unreadable {
        what,
        source: in_file(e, path),
    })?;
    let got = sha256_hex(&bytes);
    if got != expected {
        return Err(EnvError::Hash {
            what,
            path: path.to_owned(),
            expected: expected.to_owned(),
            got,
        });
    }
    Ok((file, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_named_path_is_the_only_one_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let installed = folder.path().join(MODELS.installed);
        fs::create_dir_all(&installed).unwrap();
        let own = [PathBuf::from("nowhere"), folder.path().to_owned()];
        assert_eq!(MODELS.find_among(None, &own).unwrap(), installed);
        let named = Some(PathBuf::from("elsewhere"));
        let error = MODELS.find_among(named, &own).unwrap_err().to_string();
        assert!(error.contains("looked at: elsewhere;"), "{error}");
    }

    #[test]
    fn a_missing_part_names_every_place_looked_at() {
        let own = ["/there/is/nothing", "/there"].map(PathBuf::from);
        let error = LIBRARY.find_among(None, &own).unwrap_err();
        let places = ["/there/is/nothing", "/there"];
        let places = places.map(|folder| format!("{folder}/{}", LIBRARY.installed));
        let expected = format!(
            "MuJoCo 3.17.0 library not found; looked at: {}; \
             run `spar setup` to fetch it, or set SPAR_MUJOCO_LIB",
            places.join(", ")
        );
        assert_eq!(error.to_string(), expected);
    }

    /// Neither a folder above the program's, which anyone may fill as `/tmp`, nor the one
    /// a user stands in.
    #[test]
    fn only_the_programs_own_folders_are_looked_at() {
        let root = Path::new("/");
        let at = |path: &str| root.join(path);
        for (program, own) in [
            ("a/work/spar", vec!["a/work"]),
            ("usr/bin/spar", vec!["usr/bin"]),
            (
                "me/w/target/release/spar",
                vec!["me/w/target/release", "me/w"],
            ),
            (
                "me/w/target/sanitize/x86_64/release/deps/test-1",
                vec!["me/w/target/sanitize/x86_64/release/deps", "me/w"],
            ),
        ] {
            let own: Vec<PathBuf> = own.into_iter().map(at).collect();
            assert_eq!(own_folders(&at(program)), own, "{program}");
        }
    }

    #[test]
    fn bytes_other_than_the_pinned_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hopper.xml");
        let proven = |hash: &str| proven("model file", &path, hash).map(|(_, bytes)| bytes);
        let missing = proven("00").unwrap_err();
        assert!(matches!(missing, EnvError::Unreadable { .. }), "{missing}");
        fs::write(&path, "<mujoco/>").unwrap();
        let got = sha256_hex(b"<mujoco/>");
        let expected = format!(
            "{}: model file: expected sha256 00, got {got}; \
             delete it and run `spar setup` to fetch the right one",
            path.display()
        );
        assert_eq!(proven("00").unwrap_err().to_string(), expected);
        assert_eq!(proven(&got).unwrap(), b"<mujoco/>");
    }
}
