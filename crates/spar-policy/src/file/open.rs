//! A policy file's bytes: found, bounded, and proven where it is one of ours.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use spar_core::{in_file, sha256_hex};

use super::{ACTIVATION_KEY, OUTPUT_KEY};
use crate::{about::About, error::PolicyError};

/// The format written: 2 has a version and a digest, which 1 had not.
pub(super) const FORMAT: u64 = 2;

/// Field of the metadata that holds the format.
pub(super) const FORMAT_KEY: &str = "format";

/// Field of the metadata that holds the digest.
pub(super) const DIGEST_KEY: &str = "digest";

/// Most bytes of a policy file: thirty networks of four layers of 1024 in single
/// precision, and far more than an acting policy has.
const MOST_BYTES: u64 = 256 << 20;

/// Name of the policy in a run's folder.
const IN_FOLDER: &str = "policy.safetensors";

/// Fields that the same metadata of a run's checkpoint has, and no policy file's.
const CHECKPOINT_KEYS: [&str; 2] = ["sha256", "text"];

/// The policy file that `path` means: itself, or the one in a run's folder.
///
/// # Errors
/// If `path` is a folder without one.
pub fn file_of(path: &Path) -> Result<PathBuf, PolicyError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join(IN_FOLDER);
    if file.is_file() {
        return Ok(file);
    }
    Err(PolicyError::File {
        file: path.to_owned(),
        why: format!(
            "is a folder without `{IN_FOLDER}`, which a run writes when it is finished; \
             finish it by the same `spar train`, or give a policy file"
        ),
    })
}

/// The bytes of the file at `path`.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, PolicyError> {
    let wrong = |why: String| PolicyError::File {
        file: path.to_owned(),
        why,
    };
    // Looked at before it is opened: opening a pipe waits for its other end.
    let found = fs::metadata(path).map_err(|e| in_file(e, path))?;
    if !found.is_file() {
        return Err(wrong(
            "is no regular file, expected a policy file (safetensors)".to_owned(),
        ));
    }
    if found.len() > MOST_BYTES {
        return Err(wrong(format!(
            "has {} bytes, expected a policy file of at most {MOST_BYTES}",
            found.len()
        )));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    read.map_err(|e| in_file(e, path))?;
    Ok(bytes)
}

/// Why `bytes` are no safetensors file.
pub(crate) fn not_safetensors(bytes: &[u8], error: &safetensors::SafeTensorError) -> String {
    let pickled = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02");
    if pickled {
        return "is a PyTorch or pickle file, which could run code; save the policy's \
                `state_dict()` with `safetensors.torch.save_file`"
            .to_owned();
    }
    format!(
        "not a safetensors file ({error}); expected a policy file, which is one, or an ONNX model"
    )
}

/// What the metadata of one of our files say.
pub(super) struct Entry {
    pub(super) format: u64,
    pub(super) about: About,
    /// Activation and output of a plain network.
    pub(super) plain: [Option<String>; 2],
}

/// Reads the metadata `text` of a file that holds `tensors`, and proves the digest.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn entry(text: &str, tensors: &SafeTensors<'_>) -> Result<Entry, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let Value::Object(mut fields) = value else {
        return Err(format!("is {value}, expected an object"));
    };
    if CHECKPOINT_KEYS.iter().all(|key| fields.contains_key(*key)) {
        return Err(format!(
            "says that the file is a run's checkpoint, not its policy; give the run's folder or \
             its {IN_FOLDER}, which is there once the run is finished"
        ));
    }
    let format = fields.get(FORMAT_KEY).map_or(Some(1), Value::as_u64);
    let format = format.filter(|format| *format >= 1).ok_or_else(|| {
        let got = &fields[FORMAT_KEY];
        format!("`{FORMAT_KEY}` is {got}, expected a number from 1 to {FORMAT}")
    })?;
    if format > FORMAT {
        return Err(format!(
            "the file is of format {format}, this `spar` reads formats up to {FORMAT}; \
             use the `spar` that wrote it, or a newer one"
        ));
    }
    let digest = fields.remove(DIGEST_KEY);
    fields.remove(FORMAT_KEY);
    let plain = [ACTIVATION_KEY, OUTPUT_KEY].map(|key| match fields.remove(key) {
        Some(Value::String(name)) => Some(name),
        Some(other) => Some(other.to_string()),
        None => None,
    });
    let about = serde_json::from_value(Value::Object(fields)).map_err(|e| e.to_string())?;
    let entry = Entry {
        format,
        about,
        plain,
    };
    match digest {
        None if format == 1 => {}
        None => return Err(format!("no `{DIGEST_KEY}`, which format {format} has")),
        Some(digest) => {
            let views: Vec<_> = tensors.iter().collect();
            let parts = views.iter().map(|(name, view)| Part {
                name,
                dtype: view.dtype(),
                shape: view.shape(),
                data: view.data(),
            });
            let found = entry.digest(parts.collect());
            if digest.as_str() != Some(&found) {
                return Err(format!(
                    "the file was changed after it was written: its digest is {found}, \
                     expected {digest}; copy it again, or train it anew"
                ));
            }
        }
    }
    Ok(entry)
}

/// One tensor as it lies in a file.
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    pub(super) shape: &'a [usize],
    pub(super) data: &'a [u8],
}

impl Entry {
    /// SHA-256 over what the file says of itself and every tensor's name, type, shape
    /// and values, in the order of names.
    pub(super) fn digest(&self, mut parts: Vec<Part<'_>>) -> String {
        parts.sort_unstable_by_key(|part| part.name);
        // Nothing here can fail to be JSON; if it did, the digest would never fit.
        let said = (self.format, &self.about, &self.plain);
        let mut text = serde_json::to_string(&said).unwrap_or_default();
        for part in parts {
            let Part {
                name,
                dtype,
                shape,
                data,
            } = part;
            let line = format!("\n{name} {dtype:?} {shape:?} {}", sha256_hex(data));
            text.push_str(&line);
        }
        sha256_hex(text.as_bytes())
    }
}
