//! Counting allocations, so that tests can hold kernels and policies to making
//! none.
//!
//! It is here because an allocator cannot be written without `unsafe`; choosing
//! one can:
//!
//! ```
//! use spar_kernels::counting::{self, Counting};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! let made = counting::allocations(|| drop(vec![1, 2, 3]));
//! assert_eq!(made, 1);
//! ```

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Allocations of this thread. It is never dropped and asks for no memory, so
    /// that an allocator may use it at any time.
    static MADE: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting how often each thread asks for memory.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

/// How often `f` asks for memory on this thread: allocations and reallocations.
/// Zero, whatever `f` does, in a program whose global allocator is another.
pub fn allocations(f: impl FnOnce()) -> u64 {
    let before = MADE.get();
    f();
    MADE.get() - before
}

fn count() {
    MADE.set(MADE.get() + 1);
}

// SAFETY: every request goes to the system's allocator as it came, and its answer
// is returned as it is, so that what `System` keeps of the contract is kept here.
// Counting touches a number of this thread only: it neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller promises what `System` asks: a layout of some size.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller promises that `old` came from here, and so from
        // `System`, with this layout, and that `size` is neither zero nor too large.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `old` came from here, and so from
        // `System`, with this layout.
        unsafe { System.dealloc(old, layout) }
    }
}
