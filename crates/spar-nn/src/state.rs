//! The tensors of a checkpoint, and the file they are kept in.
//!
//! The file is a safetensors file whose one metadata entry `spar` is a JSON object:
//! `format` says how the rest is to be read, `sha256` is the hash of the whole file with
//! the hash's own digits written as zeros, `text` holds [`State::metadata`]. A file of
//! another format, or one of which a single bit has changed, is not read.

use std::{collections::BTreeMap, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use spar_core::{Stream, sha256_hex};

/// The one metadata entry of the file, a JSON object.
const METADATA_KEY: &str = "spar";

/// The format that is written and read. Files from before there was a number are 1.
pub const CHECKPOINT_FORMAT: u64 = 2;

/// Stands where the hash goes while the file is hashed.
const NO_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What the metadata entry holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u64,
    sha256: String,
    text: BTreeMap<String, String>,
}

/// What of [`Header`] every format has, newer ones among them.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    format: Option<u64>,
}

/// Named flat arrays: everything numeric a run needs to resume. Written as one
/// safetensors file; names are kept in order, so equal states give equal bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    arrays: BTreeMap<String, Vec<f32>>,
    counts: BTreeMap<String, u64>,
    /// Text that travels with the arrays: specs, random streams.
    pub metadata: BTreeMap<String, String>,
}

/// Why a state could not be read or does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The bytes are not a safetensors file of ours. What helps depends on what the file was
    /// read for: callers say it.
    #[error("{file} is not a valid checkpoint: {why}")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file is of another format.
    #[error(
        "{file} is a checkpoint of format {got}, expected {CHECKPOINT_FORMAT}: \
         {}",
        if *got > CHECKPOINT_FORMAT {
            "a newer version of spar wrote it; resume it with that version"
        } else {
            "an older version of spar wrote it, without a checksum; use it with that version, \
             or train the run again in another folder"
        }
    )]
    Format {
        /// The file.
        file: String,
        /// Its format.
        got: u64,
    },
    /// An array is absent.
    #[error("checkpoint has no `{0}`: it was written by another method or version")]
    Missing(String),
    /// An array has another size.
    #[error(
        "checkpoint array `{name}` has {got} elements, expected {expected}: other network sizes"
    )]
    Size {
        /// The array.
        name: String,
        /// Elements expected.
        expected: usize,
        /// Elements found.
        got: usize,
    },
    /// Networks that learn together are not equally far.
    #[error("checkpoint arrays {names:?} have taken {steps:?} steps of Adam, expected one number")]
    Steps {
        /// The networks.
        names: Vec<String>,
        /// Their steps.
        steps: Vec<u64>,
    },
    /// A device's buffers could not be read or written.
    #[error(transparent)]
    Device(#[from] spar_kernels::cuda::CudaError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl State {
    /// Adds an array.
    pub fn insert(&mut self, name: &str, values: Vec<f32>) {
        self.arrays.insert(name.to_owned(), values);
    }

    /// Adds a counter.
    pub fn insert_count(&mut self, name: &str, count: u64) {
        self.counts.insert(name.to_owned(), count);
    }

    /// A copy of the array `name`.
    ///
    /// # Errors
    /// If it is absent or has not `expected` elements.
    pub fn get(&self, name: &str, expected: usize) -> Result<Vec<f32>, StateError> {
        let values = self.arrays.get(name);
        let values = values.ok_or_else(|| StateError::Missing(name.to_owned()))?;
        if values.len() != expected {
            return Err(StateError::Size {
                name: name.to_owned(),
                expected,
                got: values.len(),
            });
        }
        Ok(values.clone())
    }

    /// Every array with its name, in the order of the names.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &[f32])> {
        let arrays = self.arrays.iter();
        arrays.map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Adds the state of a random stream.
    pub fn insert_stream(&mut self, name: &str, stream: &Stream) {
        // A stream is four integers: writing them as JSON cannot fail.
        let text = serde_json::to_string(stream).unwrap_or_default();
        self.metadata.insert(format!("stream.{name}"), text);
    }

    /// The random stream `name`, standing where it stood when it was added.
    ///
    /// # Errors
    /// If it is absent or unreadable.
    pub fn get_stream(&self, name: &str) -> Result<Stream, StateError> {
        let key = format!("stream.{name}");
        let text = self.metadata.get(&key);
        text.and_then(|text| serde_json::from_str(text).ok())
            .ok_or(StateError::Missing(key))
    }

    /// The counter `name`.
    ///
    /// # Errors
    /// If it is absent.
    pub fn get_count(&self, name: &str) -> Result<u64, StateError> {
        let count = self.counts.get(name).copied();
        count.ok_or_else(|| StateError::Missing(name.to_owned()))
    }

    /// The state as the bytes of a safetensors file.
    ///
    /// # Errors
    /// Only if safetensors refuses the arrays.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        let floats = self.arrays.iter().map(|(name, values)| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name.clone(), Dtype::F32, values.len(), bytes)
        });
        let counts = self
            .counts
            .iter()
            .map(|(name, count)| (name.clone(), Dtype::U64, 1, count.to_le_bytes().to_vec()));
        let arrays: Vec<_> = floats.chain(counts).collect();
        let views = arrays.iter().map(|(name, dtype, len, bytes)| {
            TensorView::new(*dtype, vec![*len], bytes).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(unwritable)?;
        let header = Header {
            format: CHECKPOINT_FORMAT,
            sha256: NO_SHA256.to_owned(),
            text: self.metadata.clone(),
        };
        let text = serde_json::to_string(&header).map_err(std::io::Error::from)?;
        // One entry: safetensors keeps several in a hash map's order.
        let metadata = Some([(METADATA_KEY.to_owned(), text)].into());
        let mut bytes = safetensors::serialize(views, metadata).map_err(unwritable)?;
        let Some(place) = find(&bytes, NO_SHA256) else {
            let why = "safetensors wrote the metadata in another form";
            return Err(std::io::Error::other(why).into());
        };
        let hash = sha256_hex(&bytes);
        bytes[place..place + hash.len()].copy_from_slice(hash.as_bytes());
        Ok(bytes)
    }

    /// Reads a state back from the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is not a safetensors file, or holds other types.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        let bytes = std::fs::read(path).map_err(|e| spar_core::in_file(e, path))?;
        let corrupt = |why: String| StateError::Corrupt {
            file: path.display().to_string(),
            why,
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let text = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
        let text = text.ok_or_else(|| corrupt("it has no metadata of ours".to_owned()))?;
        let version: Version = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
        let format = version.format.unwrap_or(1);
        if format != CHECKPOINT_FORMAT {
            let file = path.display().to_string();
            return Err(StateError::Format { file, got: format });
        }
        let header: Header = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
        check_sha256(&bytes, &header.sha256).map_err(corrupt)?;
        let mut state = Self {
            metadata: header.text,
            ..Self::default()
        };
        for (name, view) in file.iter() {
            match (view.dtype(), view.data()) {
                (Dtype::F32, data) => {
                    let (values, _) = data.as_chunks::<4>();
                    let values = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
                    state.insert(name, values);
                }
                (Dtype::U64, data) if data.len() == 8 => {
                    let (values, _) = data.as_chunks::<8>();
                    state.insert_count(name, u64::from_le_bytes(values[0]));
                }
                (other, _) => return Err(corrupt(format!("`{name}` is {other:?}"))),
            }
        }
        Ok(state)
    }
}

/// Refuses `bytes` whose hash is not `expected`, which they hold themselves.
fn check_sha256(bytes: &[u8], expected: &str) -> Result<(), String> {
    let place = (expected.len() == NO_SHA256.len())
        .then(|| find(bytes, expected))
        .flatten();
    let Some(place) = place else {
        return Err(format!("its sha256 is {expected:?}, expected 64 digits"));
    };
    let mut plain = bytes.to_vec();
    plain[place..place + expected.len()].copy_from_slice(NO_SHA256.as_bytes());
    let got = sha256_hex(&plain);
    if got == expected {
        return Ok(());
    }
    Err(format!("its sha256 is {got}, expected {expected}"))
}

/// Where `text` begins in `bytes`, the first time.
fn find(bytes: &[u8], text: &str) -> Option<usize> {
    memchr::memmem::find(bytes, text.as_bytes())
}

fn unwritable(error: safetensors::SafeTensorError) -> StateError {
    StateError::Io(std::io::Error::other(error.to_string()))
}
