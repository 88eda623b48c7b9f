//! The elements of candle's tensors, as slices.

use candle_core::{CpuStorage, Layout, Result, Tensor, bail};

fn cpu(storage: &candle_core::Storage) -> Result<&CpuStorage> {
    match storage {
        candle_core::Storage::Cpu(cpu) => Ok(cpu),
        other => bail!(
            "networks run on the CPU, got a tensor on {:?}",
            other.device().location()
        ),
    }
}

/// What `read` makes of the elements of a contiguous `f32` tensor.
pub(crate) fn values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    read(slice(cpu(&storage)?, layout)?)
}

/// The elements of a contiguous `f32` tensor.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("expected a contiguous tensor, got {layout:?}"),
    }
}

/// The elements of a contiguous `f32` tensor, for writing.
pub(crate) fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let CpuStorage::F32(values) = storage else {
        bail!("expected an f32 tensor");
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&mut values[start..end]),
        None => bail!("expected a contiguous tensor, got {layout:?}"),
    }
}
