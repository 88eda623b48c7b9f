//! Blocks of rows of a product, in tiles that fit the registers.

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Lanes, Plain};
use crate::isa::Isa;

/// Rows of a block: what follows a product finds them in cache, and a panel of
/// the right matrix is reused this often while it is in the first-level cache.
pub(super) const BLOCK: usize = 48;

/// Longest chain of multiply-adds of one pass over the right matrix, so that a
/// panel of it stays in the first two caches.
const K_BLOCK: usize = 256;

/// Most floats of a tile: 12 rows of 2 AVX-512 vectors.
const TILE: usize = 12 * 32;

/// The left matrix, read where it lies.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) data: &'a [f32],
    /// Distance between two rows, or between two columns if `transposed`.
    pub(super) stride: usize,
    pub(super) transposed: bool,
}

impl<'a> Left<'a> {
    /// Without its first `i` rows.
    #[inline(always)]
    pub(super) fn below(self, i: usize) -> Self {
        let skip = if self.transposed { i } else { i * self.stride };
        let data = &self.data[skip..];
        Self { data, ..self }
    }

    /// Without its first `p` columns.
    #[inline(always)]
    fn beyond(self, p: usize) -> Self {
        let skip = if self.transposed { p * self.stride } else { p };
        let data = &self.data[skip..];
        Self { data, ..self }
    }
}

/// The right matrix `[k, n]` in panels of [`panel_width`] columns: the first
/// `in_place` where they lie, the others packed, `[k, width]` each, the last
/// filled up with zeros.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) data: &'a [f32],
    pub(super) in_place: usize,
    pub(super) packed: &'a [f32],
    pub(super) k: usize,
    pub(super) n: usize,
}

impl<'a> Right<'a> {
    /// Panel `i` of `width` columns from inner index `p` on, the distance between two of
    /// its rows, and that to the next panel.
    #[inline(always)]
    fn panel(self, i: usize, width: usize, p: usize) -> (&'a [f32], usize, usize) {
        match i.checked_sub(self.in_place) {
            None => (&self.data[p * self.n + i * width..], self.n, width),
            Some(i) => {
                let next = self.k * width;
                (&self.packed[(i * self.k + p) * width..], width, next)
            }
        }
    }
}

/// Columns of a panel on `isa`.
pub(super) fn panel_width(isa: Isa) -> usize {
    match isa {
        Isa::Plain => Plain::LANES,
        Isa::Avx2 => 16,
        Isa::Avx512 => 32,
    }
}

/// `out = left right`, or `out + left right` if `add`, for the rows of `out`,
/// `[rows, n]`; `left` starts at the first of them.
///
/// # Panics
/// If the machine has not got `isa`, or a slice is too short.
pub(super) fn rows(isa: Isa, left: Left<'_>, right: Right<'_>, out: &mut [f32], add: bool) {
    assert!(isa.is_present(), "{isa:?} on this machine");
    match isa {
        // SAFETY: `Plain` uses no instruction that a target may lack.
        Isa::Plain => unsafe { block::<Plain, 4, 1>(left, right, out, add) },
        // SAFETY: the assert above found AVX2 and FMA, all the function enables.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { block_avx2(left, right, out, add) },
        // SAFETY: the assert above found AVX-512F, all the function enables.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { block_avx512(left, right, out, add) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("{isa:?} is never present here"),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn block_avx2(left: Left<'_>, right: Right<'_>, out: &mut [f32], add: bool) {
    // SAFETY: who calls this has AVX2 and FMA, all that `Avx2` uses.
    unsafe { block::<Avx2, 6, 2>(left, right, out, add) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn block_avx512(left: Left<'_>, right: Right<'_>, out: &mut [f32], add: bool) {
    // SAFETY: who calls this has AVX-512F, all that `Avx512` uses.
    unsafe { block::<Avx512, 12, 2>(left, right, out, add) }
}

/// [`rows`] in tiles of `MR` rows and `NV` vectors.
///
/// # Safety
/// The instruction set of `L` is present.
#[inline(always)]
pub(super) unsafe fn block<L: Lanes, const MR: usize, const NV: usize>(
    left: Left<'_>,
    right: Right<'_>,
    out: &mut [f32],
    add: bool,
) {
    let (k, n) = (right.k, right.n);
    let width = NV * L::LANES;
    if k == 0 && !add {
        out.fill(0.0);
    }
    for p in (0..k).step_by(K_BLOCK) {
        for (i, first) in (0..n).step_by(width).enumerate() {
            let (data, stride, next) = right.panel(i, width, p);
            let panel = Panel {
                data,
                stride,
                next,
                depth: K_BLOCK.min(k - p),
                columns: width.min(n - first),
                add: add || p > 0,
            };
            let (left, out) = (left.beyond(p), &mut out[first..]);
            // SAFETY: the caller promises the instruction set, which is all that
            // `column` asks for.
            unsafe {
                if panel.columns <= L::LANES {
                    column::<L, MR, 1>(left, panel, out, n);
                } else {
                    column::<L, MR, NV>(left, panel, out, n);
                }
            }
        }
    }
}

/// What the tiles of one panel have in common.
#[derive(Clone, Copy)]
struct Panel<'a> {
    data: &'a [f32],
    /// Distance between two rows of the panel.
    stride: usize,
    /// Distance to the same element of the next panel, if there is one.
    next: usize,
    /// Length of the chains.
    depth: usize,
    /// Columns of the result; the panel has zeros beyond.
    columns: usize,
    /// Whether to add to what is there.
    add: bool,
}

/// The tiles of one panel. `out` starts at its first column and has rows `n`
/// apart.
///
/// # Safety
/// The instruction set of `L` is present.
#[inline(always)]
unsafe fn column<L: Lanes, const MR: usize, const NV: usize>(
    left: Left<'_>,
    panel: Panel<'_>,
    out: &mut [f32],
    n: usize,
) {
    let rows = out.len().div_ceil(n);
    let mut i = 0;
    macro_rules! tiles {
        ($height:expr) => {
            while rows - i >= $height {
                let out = &mut out[i * n..];
                // SAFETY: the caller promises the instruction set, which is all that
                // `tile` asks for.
                unsafe { tile::<L, { $height }, NV>(left.below(i), panel, out, n) };
                i += $height;
            }
        };
    }
    tiles!(MR);
    tiles!(8);
    tiles!(4);
    tiles!(2);
    tiles!(1);
}

/// One tile of `MR` rows and `NV` vectors, as far as there are columns, at the
/// start of `out`.
///
/// # Safety
/// The instruction set of `L` is present.
#[inline(always)]
unsafe fn tile<L: Lanes, const MR: usize, const NV: usize>(
    left: Left<'_>,
    panel: Panel<'_>,
    out: &mut [f32],
    n: usize,
) {
    let Panel {
        stride,
        next,
        depth,
        columns,
        add,
        ..
    } = panel;
    let (width, last) = (NV * L::LANES, depth - 1);
    let (a, b) = (left.data.as_ptr(), panel.data.as_ptr());
    assert!(panel.data.len() >= last * stride + width, "panel");
    let sums = if left.transposed {
        assert!(left.data.len() >= last * left.stride + MR, "left columns");
        // SAFETY: the caller promises the instruction set. With `i < MR` and
        // `p <= last`, the furthest element `at` reads of `left` is
        // `last * left.stride + MR - 1`, the furthest of the panel is
        // `last * stride + width - 1`: the asserts keep both inside their slices.
        unsafe {
            let at = |i: usize, p: usize| a.add(p * left.stride + i);
            chain::<L, MR, NV>(depth, at, b, stride, next)
        }
    } else {
        assert!(
            left.data.len() >= (MR - 1) * left.stride + depth,
            "left rows"
        );
        // SAFETY: as above, but that `at` reads `(MR - 1) * left.stride + last` at
        // the furthest, which the assert keeps inside `left`.
        unsafe {
            let at = |i: usize, p: usize| a.add(i * left.stride + p);
            chain::<L, MR, NV>(depth, at, b, stride, next)
        }
    };
    if columns == width {
        assert!(out.len() >= (MR - 1) * n + width, "tile");
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sums) in sums.iter().enumerate() {
                // SAFETY: the caller promises the instruction set. `i < MR` and
                // `j < NV`, so that the vector ends at `(MR - 1) * n + width` at
                // the furthest, which the assert keeps inside `out`.
                unsafe { L::store(out.as_mut_ptr().add(i * n + j * L::LANES), sums, add) };
            }
        }
        return;
    }
    let mut whole = [0.0; TILE];
    assert!(MR * width <= TILE, "largest tile");
    for (i, sums) in sums.iter().enumerate() {
        for (j, &sums) in sums.iter().enumerate() {
            let to = i * width + j * L::LANES;
            // SAFETY: the caller promises the instruction set. The vector ends at
            // `MR * width` at the furthest, which the assert keeps inside `whole`.
            unsafe { L::store(whole.as_mut_ptr().add(to), sums, false) };
        }
    }
    for (row, out) in whole.chunks(width).zip(out.chunks_mut(n)).take(MR) {
        for (o, v) in out.iter_mut().zip(&row[..columns]) {
            *o = if add { *o + v } else { *v };
        }
    }
}

/// `MR` by `NV` chains of `depth` multiply-adds; the panel `next` elements further is
/// announced on the way: its rows lie too far apart for a processor to expect them, and a
/// wide layer's weight is nowhere near.
///
/// # Safety
/// The instruction set of `L` is present, `at(i, p)` is readable for `i < MR`,
/// `p < depth`, and so are `NV * LANES` elements from `b + p * stride`.
#[inline(always)]
unsafe fn chain<L: Lanes, const MR: usize, const NV: usize>(
    depth: usize,
    at: impl Fn(usize, usize) -> *const f32,
    b: *const f32,
    stride: usize,
    next: usize,
) -> [[L::Vector; NV]; MR] {
    // SAFETY: the caller promises the instruction set, and that what is read is
    // readable: vector `j < NV` of row `p < depth` of the panel, and `at(i, p)` for
    // `i < MR`.
    unsafe {
        let mut sums = [[L::zero(); NV]; MR];
        for p in 0..depth {
            let b = b.add(p * stride);
            for j in 0..NV {
                L::soon(b.wrapping_add(next + j * L::LANES));
            }
            let mut right = [L::load(b); NV];
            for (j, right) in right.iter_mut().enumerate().skip(1) {
                *right = L::load(b.add(j * L::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let left = L::splat(at(i, p));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = L::multiply_add(left, right, *sum);
                }
            }
        }
        sums
    }
}
