//! The tensors of a checkpoint, and the file they are kept in.

use std::{collections::BTreeMap, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use spar_core::Stream;

/// The one metadata entry of the file, a JSON object.
const METADATA_KEY: &str = "spar";

/// Named flat arrays: everything numeric a run needs to go on. Written as one
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
pub enum StateError {
    /// The file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The bytes are not a safetensors file of ours.
    #[error(
        "{file} is not a valid checkpoint: {why}; delete it to start again from an earlier one"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
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
        let text = serde_json::to_string(&self.metadata).map_err(std::io::Error::from)?;
        // One entry: safetensors keeps several in a hash map's order.
        let metadata = Some([(METADATA_KEY.to_owned(), text)].into());
        safetensors::serialize(views, metadata).map_err(unwritable)
    }

    /// Reads a state back from the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is not a safetensors file, or holds other types.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        let bytes = std::fs::read(path).map_err(|e| spar_core::files::in_file(e, path))?;
        let corrupt = |why: String| StateError::Corrupt {
            file: path.display().to_string(),
            why,
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let mut state = Self::default();
        let text = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
        if let Some(text) = text {
            state.metadata = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
        }
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

fn unwritable(error: safetensors::SafeTensorError) -> StateError {
    StateError::Io(std::io::Error::other(error.to_string()))
}
