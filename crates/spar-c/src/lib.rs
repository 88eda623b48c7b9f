//! The C interface of [`spar_policy`], for programs on a robot that are not in Rust.
//!
//! It stands in a crate of its own because a C interface cannot be written without
//! promises that the compiler does not check: here are all of them, and `spar-policy` has
//! none. `include/spar.h` says what each function does; a policy is an opaque pointer, no
//! panic crosses the border, and no function keeps a pointer that it was given.
//!
//! ```sh
//! cargo build --release --package spar-c     # target/release/libspar_c.a and .so
//! ```

use std::{
    ffi::{CStr, c_char, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    ptr, slice,
};

use spar_policy::Policy;

// The program of the README is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The version of the interface: `SPAR_ABI` of the header.
pub const ABI: u32 = 1;

/// What [`spar_policy_act`] returns: `enum spar_status` of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// The action is written.
    Ok = 0,
    /// A pointer is null.
    Null = 1,
    /// A length is not the policy's.
    Length = 2,
    /// The observation, or the action, is not finite.
    NotFinite = 3,
    /// A defect of the library.
    Internal = 4,
}

/// The version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn spar_abi() -> u32 {
    ABI
}

/// Reads the policy file at `path`; null, and one line in `why`, if it cannot be used.
///
/// # Safety
/// `path` is null or a text that ends with a zero; `why` is null or has `size` bytes that
/// may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spar_policy_load(
    path: *const c_char,
    why: *mut c_char,
    size: usize,
) -> *mut Policy {
    let path = match path.is_null() {
        true => None,
        // SAFETY: the caller's promise.
        false => Some(unsafe { CStr::from_ptr(path) }),
    };
    let loaded = catch_unwind(|| {
        let path = path.ok_or_else(|| "the path is null".to_owned())?;
        Policy::load(as_path(path)?).map_err(|e| e.to_string())
    });
    let loaded = loaded.unwrap_or_else(|_| Err("a defect of the library".to_owned()));
    match loaded {
        Ok(policy) => Box::into_raw(Box::new(policy)),
        Err(reason) => {
            if !why.is_null() {
                // SAFETY: the caller's promise; bytes have no invalid values.
                let why = unsafe { slice::from_raw_parts_mut(why.cast::<u8>(), size) };
                tell(&reason, why);
            }
            ptr::null_mut()
        }
    }
}

#[cfg(unix)]
fn as_path(path: &CStr) -> Result<PathBuf, String> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    Ok(OsStr::from_bytes(path.to_bytes()).into())
}

#[cfg(not(unix))]
fn as_path(path: &CStr) -> Result<PathBuf, String> {
    let path = path.to_str().map_err(|e| format!("the path: {e}"))?;
    Ok(path.into())
}

/// Writes as much of `reason` as fits, and a zero.
fn tell(reason: &str, why: &mut [u8]) {
    let Some(most) = why.len().checked_sub(1) else {
        return;
    };
    let text = reason.as_bytes();
    // A zero would end it early; no message has one but one with such a path.
    let length = text.iter().position(|&b| b == 0).unwrap_or(text.len());
    let mut length = length.min(most);
    while !reason.is_char_boundary(length) {
        length -= 1;
    }
    why[..length].copy_from_slice(&text[..length]);
    why[length] = 0;
}

/// Width of an observation; 0 of a null policy.
///
/// # Safety
/// `policy` is null or of [`spar_policy_load`] and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spar_policy_obs_dim(policy: *const Policy) -> usize {
    // SAFETY: the caller's promise.
    unsafe { policy.as_ref() }.map_or(0, Policy::obs_dim)
}

/// Width of an action; 0 of a null policy.
///
/// # Safety
/// As [`spar_policy_obs_dim`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spar_policy_act_dim(policy: *const Policy) -> usize {
    // SAFETY: the caller's promise.
    unsafe { policy.as_ref() }.map_or(0, Policy::act_dim)
}

/// The action for one observation; a [`Status`]. `action` is written only if that is
/// [`Status::Ok`].
///
/// # Safety
/// `policy` as for [`spar_policy_obs_dim`]; `obs` is null or has `obs_len` numbers,
/// `action` is null or has `action_len` that may be written, and they do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spar_policy_act(
    policy: *const Policy,
    obs: *const f32,
    obs_len: usize,
    action: *mut f32,
    action_len: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(policy) = (unsafe { policy.as_ref() }) else {
        return Status::Null as c_int;
    };
    if obs.is_null() || action.is_null() {
        return Status::Null as c_int;
    }
    if (obs_len, action_len) != (policy.obs_dim(), policy.act_dim()) {
        return Status::Length as c_int;
    }
    // SAFETY: the caller's promise; neither is null.
    let (obs, action) = unsafe {
        (
            slice::from_raw_parts(obs, obs_len),
            slice::from_raw_parts_mut(action, action_len),
        )
    };
    let acted = catch_unwind(AssertUnwindSafe(|| act(policy, obs, action)));
    acted.unwrap_or(Status::Internal) as c_int
}

fn act(policy: &Policy, obs: &[f32], action: &mut [f32]) -> Status {
    use std::cell::RefCell;
    thread_local! {
        static BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
    if !finite(obs) {
        return Status::NotFinite;
    }
    BUFFER.with_borrow_mut(|acted| {
        acted.resize(action.len(), 0.0);
        policy.act(obs, acted);
        if !finite(acted) {
            return Status::NotFinite;
        }
        action.copy_from_slice(acted);
        Status::Ok
    })
}

/// Ends the use of a policy; a null one is none.
///
/// # Safety
/// `policy` is null or of [`spar_policy_load`], and neither freed before nor used after.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spar_policy_free(policy: *mut Policy) {
    if !policy.is_null() {
        // SAFETY: the caller's promise: it is the box of `spar_policy_load`.
        drop(unsafe { Box::from_raw(policy) });
    }
}

#[cfg(test)]
mod tests {
    use super::tell;

    #[test]
    fn a_reason_is_cut_where_it_has_to_be() {
        for (size, expected) in [(0, ""), (1, "\0"), (3, "ab\0"), (4, "ab\0"), (5, "abé\0")] {
            let mut why = vec![b'x'; size];
            tell("abé", &mut why);
            assert!(why.starts_with(expected.as_bytes()), "{size}: {why:?}");
        }
    }
}
