//! Products on the matrix unit of the CPU (Intel's AMX), and the same bits without it.
//!
//! A unit of 16 by 16 sums takes pairs of bf16 and has a multiple of the arithmetic of
//! the vector instructions. A number is split into two bf16, `x = hi + lo`: three products
//! (`hi hi + hi lo + lo hi`) in single-precision sums are good to five digits, one (`hi hi`)
//! to two and a half. Two terms would round one side as one does, for twice the work: there
//! are none.
//!
//! All but one function is the same code on every machine: what splits numbers and lays them
//! out in tiles (`layout`), what goes through a product block by block (`product`), and the
//! passes that call it. A block, 32 rows by 32 columns, is summed by `hardware`, a few lines
//! of assembly, or by `emulation`, which does the arithmetic of those lines one by one as
//! Intel's manual defines it: the same bits. The lines themselves are data: a test runs them
//! through an interpreter on machines that have no such unit.

mod emulation;
mod hardware;
mod layout;
mod peak;
mod product;
mod unit;

use std::{cell::Cell, marker::PhantomData};

pub(crate) use layout::{Split, left, right, right_of_transpose};
pub use peak::matrix_peak;
pub(crate) use product::{Scratch, gradient, multiply};
pub use unit::{Absent, MatrixUnit};

/// Rows of a tile, and pairs of bf16 in one of them.
const SIDE: usize = 16;

/// Inner dimension of one product of tiles.
const DEPTH: usize = 2 * SIDE;

/// Rows and columns of a block of sums: two by two tiles.
const BLOCK: usize = 2 * SIDE;

/// 16 rows of 16 pairs of bf16, the first of a pair in the low half.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Tile([[u32; SIDE]; SIDE]);

impl Default for Tile {
    fn default() -> Self {
        Self([[0; SIDE]; SIDE])
    }
}

/// 16 by 16 sums.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Sums([[f32; SIDE]; SIDE]);

/// A block of sums: tiles `2 i + j` of row `i` and column `j` of tiles.
type Block = [Sums; 4];

/// How many products of bf16 make one of single precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terms {
    /// Both sides rounded to bf16.
    One,
    /// Both sides split in two; the product of the lower parts is left out.
    Three,
}

impl Terms {
    /// Tiles that hold one tile's numbers.
    fn parts(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 2,
        }
    }
}

/// One block of sums over `steps` products of tiles, whose operands lie in the order in
/// which they are read: `upper` and `lower` are 16 rows each, `[steps][parts]`, and `right`
/// is 32 columns, `[steps][parts][2]`; a part is `hi` or `lo`.
#[derive(Clone, Copy)]
struct Operands<'a> {
    upper: &'a [Tile],
    lower: &'a [Tile],
    right: &'a [Tile],
    terms: Terms,
}

impl<'a> Operands<'a> {
    /// # Panics
    /// If there is nothing to sum, or the lengths do not fit.
    fn new(terms: Terms, upper: &'a [Tile], lower: &'a [Tile], right: &'a [Tile]) -> Self {
        let whole = !upper.is_empty() && upper.len().is_multiple_of(terms.parts());
        assert!(
            whole && lower.len() == upper.len() && right.len() == 2 * upper.len(),
            "{} and {} tiles of rows for {} of columns",
            upper.len(),
            lower.len(),
            right.len()
        );
        Self {
            upper,
            lower,
            right,
            terms,
        }
    }

    fn steps(&self) -> usize {
        self.upper.len() / self.terms.parts()
    }
}

thread_local! {
    /// Whether a pass on this thread has the tile registers.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// The unit for the length of a pass on this thread. Tile registers are configured while
/// one lives and given back when it is dropped, also by a panic: a thread that keeps them
/// pays for 8 KiB at every context switch.
#[derive(Debug)]
pub(crate) struct Tiles {
    unit: MatrixUnit,
    terms: Terms,
    /// The configuration is the thread's.
    _thread: PhantomData<*const ()>,
}

impl Tiles {
    /// What [`MatrixUnit::detect`] names, for products of `terms`.
    ///
    /// # Panics
    /// If this thread has one already: dropping the one would take the registers from the
    /// other.
    pub(crate) fn configure(terms: Terms) -> Self {
        assert!(!TAKEN.replace(true), "a pass inside a pass on tiles");
        let unit = MatrixUnit::detect();
        if unit == MatrixUnit::Amx {
            hardware::configure();
        }
        Self {
            unit,
            terms,
            _thread: PhantomData,
        }
    }

    /// The sums of one block.
    fn sum(&mut self, operands: Operands<'_>, sums: &mut Block) {
        match self.unit {
            MatrixUnit::Amx => hardware::sum(operands, sums),
            MatrixUnit::Emulated => emulation::sum(operands, sums),
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        if self.unit == MatrixUnit::Amx {
            hardware::release();
        }
        TAKEN.set(false);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
