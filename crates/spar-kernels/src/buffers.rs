//! Memory that is kept between calls.

/// The first `len` elements of a buffer that only ever grows.
pub(crate) fn grow<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}
