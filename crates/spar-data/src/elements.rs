//! The numbers in a file's bytes, as those that are asked for.

use std::path::Path;

use half::f16;
#[cfg(feature = "hdf5")]
use hdf5::{
    Datatype, H5Type as Stored,
    types::{FloatSize, IntSize, TypeDescriptor},
};

use crate::error::DataError;

/// Deflate packs at most 1032:1; shape declarations beyond that (and a little,
/// for small arrays) cannot be true and are refused before memory is taken.
const MAX_PACKING: u128 = 1100;
const SMALL: u128 = 1 << 16;
/// All arrays together, which are not all constant: a file may ask for so many bytes,
/// and for so many more for each of its own. Memory that reading takes is near that
/// at most.
const FREE: u128 = 256 << 20;
const MAX_PACKING_OF_ALL: u128 = 100;

/// What the library, where there is one, asks of a number.
#[cfg(not(feature = "hdf5"))]
pub(crate) trait Stored {}
#[cfg(not(feature = "hdf5"))]
impl<T> Stored for T {}

/// A number an array can be read as; others become it as C converts them, too large
/// ones infinite.
pub(crate) trait Real: Stored + Copy + Default + Into<f64> + Send + Sync {
    fn of_f32(x: f32) -> Self;
    fn of_f64(x: f64) -> Self;
    fn of_i64(x: i64) -> Self;
    fn of_u64(x: u64) -> Self;
}

macro_rules! real {
    ($($type:ty),*) => { $(
        impl Real for $type {
            fn of_f32(x: f32) -> Self {
                x as Self
            }
            fn of_f64(x: f64) -> Self {
                x as Self
            }
            fn of_i64(x: i64) -> Self {
                x as Self
            }
            fn of_u64(x: u64) -> Self {
                x as Self
            }
        }
    )* };
}

real!(f32, f64);

/// The type of the numbers in the file, in this machine's byte order.
#[derive(Clone, Copy)]
pub(crate) enum Element {
    F16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

impl Element {
    /// `None` if the library has to convert.
    #[cfg(feature = "hdf5")]
    pub(crate) fn of(kind: &TypeDescriptor, dtype: &Datatype) -> Option<Self> {
        let native = Datatype::from_descriptor(kind).ok()?;
        if native != *dtype {
            return None;
        }
        Some(match kind {
            TypeDescriptor::Float(FloatSize::U2) => Self::F16,
            TypeDescriptor::Float(FloatSize::U4) => Self::F32,
            TypeDescriptor::Float(FloatSize::U8) => Self::F64,
            TypeDescriptor::Integer(IntSize::U1) | TypeDescriptor::Boolean => Self::I8,
            TypeDescriptor::Integer(IntSize::U2) => Self::I16,
            TypeDescriptor::Integer(IntSize::U4) => Self::I32,
            TypeDescriptor::Integer(IntSize::U8) => Self::I64,
            TypeDescriptor::Unsigned(IntSize::U1) => Self::U8,
            TypeDescriptor::Unsigned(IntSize::U2) => Self::U16,
            TypeDescriptor::Unsigned(IntSize::U4) => Self::U32,
            TypeDescriptor::Unsigned(IntSize::U8) => Self::U64,
            _ => return None,
        })
    }

    /// Bytes of one.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }
}

/// The first `out.len()` numbers in `bytes`.
pub(crate) fn numbers<T: Real>(element: Element, bytes: &[u8], shuffled: bool, out: &mut [T]) {
    macro_rules! each {
        ($type:ty, $make:expr) => {
            each(bytes, shuffled, out, |b| $make(<$type>::from_ne_bytes(b)))
        };
    }
    match element {
        Element::F16 => each!(f16, |x: f16| T::of_f32(x.to_f32())),
        Element::F32 => each!(f32, T::of_f32),
        Element::F64 => each!(f64, T::of_f64),
        Element::I8 => each!(i8, |x| T::of_i64(i64::from(x))),
        Element::I16 => each!(i16, |x| T::of_i64(i64::from(x))),
        Element::I32 => each!(i32, |x| T::of_i64(i64::from(x))),
        Element::I64 => each!(i64, T::of_i64),
        Element::U8 => each!(u8, |x| T::of_u64(u64::from(x))),
        Element::U16 => each!(u16, |x| T::of_u64(u64::from(x))),
        Element::U32 => each!(u32, |x| T::of_u64(u64::from(x))),
        Element::U64 => each!(u64, T::of_u64),
    }
}

/// Refuses the array `key` whose shape takes `declared` bytes, of which the file has
/// `stored`, or with which `all` arrays so far take more than a file of `length` bytes may.
pub(crate) fn fits_stored(
    path: &Path,
    key: &str,
    declared: u128,
    stored: u64,
    all: u128,
    length: u64,
) -> Result<(), DataError> {
    let within = |declared, stored: u64, limit| {
        if declared <= limit {
            return Ok(());
        }
        Err(DataError::TooLarge {
            path: path.into(),
            key: key.into(),
            declared,
            stored,
            limit,
        })
    };
    let limit = |stored: u64| u128::from(stored) * MAX_PACKING + SMALL;
    within(declared, stored, limit(stored))?;
    let whole = u128::from(length) * MAX_PACKING_OF_ALL + FREE;
    within(all, length, whole.min(limit(length)))
}

/// Shuffled, all first bytes stand before all second ones.
fn each<T, const N: usize>(
    bytes: &[u8],
    shuffled: bool,
    out: &mut [T],
    make: impl Fn([u8; N]) -> T,
) {
    if shuffled {
        let (count, n) = (bytes.len() / N, out.len());
        let planes: [&[u8]; N] = std::array::from_fn(|byte| &bytes[byte * count..][..n]);
        for (i, to) in out.iter_mut().enumerate() {
            *to = make(std::array::from_fn(|byte| planes[byte][i]));
        }
    } else {
        let (whole, _) = bytes.as_chunks::<N>();
        for (to, &from) in out.iter_mut().zip(whole) {
            *to = make(from);
        }
    }
}
