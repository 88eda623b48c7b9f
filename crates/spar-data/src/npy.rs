//! One NumPy array: its header, and the numbers behind it.

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use crate::elements::{Element, Real, numbers};

/// Longest header of an array. NumPy's have 128 bytes; what is parsed can nest.
const HEADER: usize = 512;
/// An array's numbers, as they are in the file.
pub(crate) struct Numbers {
    pub(crate) shape: Vec<usize>,
    pub(crate) boolean: bool,
    pub(crate) integers: bool,
    element: Element,
    bytes: Vec<u8>,
}

/// What is wrong with an array.
pub(crate) enum Wrong {
    Damaged(String),
    /// It holds this.
    Type(String),
}

impl Numbers {
    /// Those in the bytes of a `.npy` file.
    pub(crate) fn of(mut bytes: Vec<u8>) -> Result<Self, Wrong> {
        let damaged = |why: &str| Wrong::Damaged(why.to_owned());
        // Magic, version, and the header's length in 2 or 4 bytes.
        let length = match bytes.get(..12) {
            Some(&[0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..]) => {
                10 + usize::from(u16::from_le_bytes([a, b]))
            }
            Some(&[0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d]) => {
                let length = u32::from_le_bytes([a, b, c, d]);
                12usize.saturating_add(length as usize)
            }
            _ => return Err(damaged("it does not begin as a NumPy array does")),
        };
        if length > HEADER {
            let what = format!("a type that takes a header of {length} bytes");
            return Err(Wrong::Type(what));
        }
        let head = bytes
            .get(..length)
            .ok_or_else(|| damaged("it ends in its header"))?;
        let header = NpyHeader::from_reader(head).map_err(|e| Wrong::Damaged(e.to_string()))?;
        let DType::Plain(kind) = header.dtype() else {
            return Err(Wrong::Type("structures".to_owned()));
        };
        let (boolean, integers) = match kind.type_char() {
            TypeChar::Bool => (true, false),
            TypeChar::Int | TypeChar::Uint => (false, true),
            _ => (false, false),
        };
        let element = match (kind.type_char(), kind.size_field()) {
            (TypeChar::Bool, 1) | (TypeChar::Uint, 1) => Element::U8,
            (TypeChar::Int, 1) => Element::I8,
            (TypeChar::Int, 2) => Element::I16,
            (TypeChar::Int, 4) => Element::I32,
            (TypeChar::Int, 8) => Element::I64,
            (TypeChar::Uint, 2) => Element::U16,
            (TypeChar::Uint, 4) => Element::U32,
            (TypeChar::Uint, 8) => Element::U64,
            (TypeChar::Float, 2) => Element::F16,
            (TypeChar::Float, 4) => Element::F32,
            (TypeChar::Float, 8) => Element::F64,
            _ => return Err(Wrong::Type(format!("numbers of type {kind}"))),
        };
        let mut shape = Vec::new();
        for &n in header.shape() {
            shape.push(usize::try_from(n).map_err(|e| Wrong::Damaged(e.to_string()))?);
        }
        let count = shape
            .iter()
            .try_fold(element.size(), |n, &d| n.checked_mul(d));
        bytes.drain(..length);
        if count != Some(bytes.len()) {
            let why = format!(
                "its shape {shape:?} is not that of its {} bytes",
                bytes.len()
            );
            return Err(Wrong::Damaged(why));
        }
        if header.order() == Order::Fortran && shape.len() > 1 {
            return Err(Wrong::Type(
                "numbers in Fortran's order (save `numpy.ascontiguousarray` of them)".to_owned(),
            ));
        }
        let foreign = match kind.endianness() {
            Endianness::Big => cfg!(target_endian = "little"),
            Endianness::Little => cfg!(target_endian = "big"),
            Endianness::Irrelevant => false,
        };
        if foreign {
            bytes
                .chunks_exact_mut(element.size())
                .for_each(<[u8]>::reverse);
        }
        Ok(Self {
            shape,
            boolean,
            integers,
            element,
            bytes,
        })
    }

    /// Every number, in the array's order.
    pub(crate) fn values<T: Real>(&self) -> Vec<T> {
        let mut values = vec![T::default(); self.bytes.len() / self.element.size()];
        numbers(self.element, &self.bytes, false, &mut values);
        values
    }
}
