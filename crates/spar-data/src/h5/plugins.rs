//! No code is loaded on a file's word.
//!
//! libhdf5 looks for a shared library when a file names a filter that it does not have, and
//! runs it. Which filters are read is decided here, so that nothing is ever to be loaded.

use std::{ptr::null_mut, sync::Once};

use hdf5_sys::h5pl::H5PLset_loading_state;

static ONCE: Once = Once::new();

/// Forbids libhdf5 to load plug-ins, of whatever kind, in this process. Called before
/// every opening of a file; the first call counts.
pub(crate) fn refuse() {
    // The binding's own wrapper of calls, which holds its lock. It has the argument, a set
    // of flags by value, as a pointer: null is the empty set.
    ONCE.call_once(|| drop(hdf5::h5call!(H5PLset_loading_state(null_mut()))));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hdf5_sys::h5pl::H5PLget_loading_state;

    use super::*;

    #[test]
    fn no_plug_in_is_ever_loaded() {
        let mut kinds = -1;
        hdf5::h5call!(H5PLget_loading_state(&raw mut kinds)).unwrap();
        assert_ne!(kinds, 0, "what the library does by itself");
        refuse();
        hdf5::h5call!(H5PLget_loading_state(&raw mut kinds)).unwrap();
        assert_eq!(kinds, 0);
    }
}
