//! Third-party data that recipes need and this repository does not hold: files in the folder
//! that a variable names, proven by their sha256 or by what git names them by.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors};
use sha1::{Digest, Sha1};
use spar_core::{files::in_file, sha256_hex};
use spar_nn::Linear;

use crate::CollectError;

/// Names the folder.
pub const VARIABLE: &str = "SPAR_UPSTREAM_DIR";

/// One file of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its place in the folder.
    pub file: &'static str,
    /// SHA-256 of its bytes.
    pub sha256: &'static str,
    /// What can be done without it, as the end of a sentence; empty if nothing can.
    pub instead: &'static str,
}

impl Upstream {
    /// Whether the file is in the folder, whatever it holds.
    pub fn is_here(&self) -> bool {
        place(self.file, self.instead).is_ok_and(|path| path.is_file())
    }

    /// Whether a folder is named.
    pub fn is_named() -> bool {
        env::var_os(VARIABLE).is_some()
    }

    /// The file's path and its bytes.
    ///
    /// # Errors
    /// If no folder is named, or if the file is missing or is another one.
    pub fn read(&self) -> Result<(PathBuf, Vec<u8>), CollectError> {
        let path = place(self.file, self.instead)?;
        let bytes = fs::read(&path).map_err(|e| in_file(e, &path))?;
        let got = sha256_hex(&bytes);
        if got != self.sha256 {
            return Err(CollectError::Policy {
                file: path.display().to_string(),
                why: format!("its sha256 is {got}, expected {}", self.sha256),
            });
        }
        Ok((path, bytes))
    }
}

/// One file of the folder that is known by git's name for it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its place in the folder.
    pub file: &'static str,
    /// Git's name of its bytes: [`blob_id`].
    pub id: &'static str,
    /// Where it is to be had, as the end of a sentence.
    pub from: &'static str,
}

/// Most bytes of such a file; demonstrations have a few million.
const MOST_BYTES: u64 = 64 << 20;

impl Blob {
    /// The file's path and its bytes.
    ///
    /// # Errors
    /// If no folder is named or the file is not in it, if the file is too large to be the one
    /// that is meant, or if it is another one.
    pub fn read(&self) -> Result<(PathBuf, Vec<u8>), CollectError> {
        let path = place(self.file, self.from)?;
        let length = match fs::metadata(&path) {
            Ok(about) => about.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(missing(self.file, self.from));
            }
            Err(error) => return Err(in_file(error, &path).into()),
        };
        if length > MOST_BYTES {
            let why = format!("it has {length} bytes, expected at most {MOST_BYTES}");
            return Err(other(&path, why));
        }
        let bytes = fs::read(&path).map_err(|e| in_file(e, &path))?;
        let got = blob_id(&bytes);
        if got != self.id {
            let why = format!("git's name of it is {got}, expected {}", self.id);
            return Err(other(&path, why));
        }
        Ok((path, bytes))
    }

    /// Whether the file is in the folder, whatever it holds.
    pub fn is_here(&self) -> bool {
        place(self.file, self.from).is_ok_and(|path| path.is_file())
    }
}

/// What git names a file of these bytes by: the SHA-1 of `blob`, their number and them, in
/// lower-case hexadecimal.
pub fn blob_id(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Where `file` is in the folder, whether or not it is there.
fn place(file: &'static str, instead: &'static str) -> Result<PathBuf, CollectError> {
    match env::var_os(VARIABLE) {
        Some(folder) => Ok(PathBuf::from(folder).join(file)),
        None => Err(missing(file, instead)),
    }
}

fn missing(file: &'static str, instead: &'static str) -> CollectError {
    CollectError::Upstream {
        variable: VARIABLE,
        file,
        instead,
    }
}

/// The arrays of a policy's file: single precision, `weight` as `[out, in]`.
pub(crate) struct Weights<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
}

impl<'a> Weights<'a> {
    /// Those in `bytes`, which came from `path`.
    pub(crate) fn of(path: &'a Path, bytes: &'a [u8]) -> Result<Self, CollectError> {
        match SafeTensors::deserialize(bytes) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(wrong(path, error.to_string())),
        }
    }

    /// The array called `name`, flat.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>, CollectError> {
        let tensor = self.file.tensor(name);
        let tensor = tensor.map_err(|e| wrong(self.path, e.to_string()))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(wrong(self.path, format!("`{name}` is no F32")));
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        Ok(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// The layer whose outputs are those of the layers `names`, side by side.
    pub(crate) fn linear(&self, names: &[&str]) -> Result<Linear, CollectError> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            weight.extend(self.values(&format!("{name}.weight"))?);
            bias.extend(self.values(&format!("{name}.bias"))?);
        }
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len().max(1));
        let columns = (0..inputs).flat_map(|i| (0..outputs).map(move |o| o * inputs + i));
        Ok(Linear {
            weight: columns.map(|at| weight[at]).collect(),
            bias,
            norm: None,
        })
    }
}

fn other(path: &Path, why: String) -> CollectError {
    CollectError::Demonstrations {
        file: path.display().to_string(),
        why,
    }
}

fn wrong(path: &Path, why: String) -> CollectError {
    CollectError::Policy {
        file: path.display().to_string(),
        why,
    }
}
