//! Very narrow products, as dot products of rows.

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Lanes, Plain};
use crate::isa::Isa;

/// Rows whose dot products with one column are in flight together.
const ROWS: usize = 4;

/// `out[i, j]` is the dot product of row `i` of `a`, `[m, k]`, with row `j` of
/// `b`, `[n, k]`.
///
/// # Panics
/// If the machine has not got `isa`.
pub(super) fn rows(isa: Isa, a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    assert!(isa.is_present(), "{isa:?} on this machine");
    match isa {
        // SAFETY: `Plain` uses no instruction that a target may lack.
        Isa::Plain => unsafe { each::<Plain>(a, b, k, out) },
        // SAFETY: the assert above found AVX2 and FMA, all the function enables.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { each_avx2(a, b, k, out) },
        // SAFETY: the assert above found AVX-512F, all the function enables.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { each_avx512(a, b, k, out) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("{isa:?} is never present here"),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn each_avx2(a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    // SAFETY: who calls this has AVX2 and FMA, all that `Avx2` uses.
    unsafe { each::<Avx2>(a, b, k, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn each_avx512(a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    // SAFETY: who calls this has AVX-512F, all that `Avx512` uses.
    unsafe { each::<Avx512>(a, b, k, out) }
}

/// # Safety
/// The instruction set of `L` is present.
#[inline(always)]
unsafe fn each<L: Lanes>(a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    let n = b.len().checked_div(k).unwrap_or(0);
    if n == 0 {
        return out.fill(0.0);
    }
    let mut four = a.chunks_exact(ROWS * k);
    let mut out = out.chunks_mut(ROWS * n);
    for (a, out) in four.by_ref().zip(out.by_ref()) {
        let a: [&[f32]; ROWS] = std::array::from_fn(|i| &a[i * k..(i + 1) * k]);
        for (j, b) in b.chunks_exact(k).enumerate() {
            // SAFETY: the caller promises the instruction set, which is all that
            // `dots` asks for.
            let dots = unsafe { dots::<L, ROWS>(a, b) };
            for (i, dot) in dots.into_iter().enumerate() {
                out[i * n + j] = dot;
            }
        }
    }
    let rest = four.remainder().chunks_exact(k);
    for (a, out) in rest.zip(out.flat_map(|out| out.chunks_mut(n))) {
        for (out, b) in out.iter_mut().zip(b.chunks_exact(k)) {
            // SAFETY: as above.
            [*out] = unsafe { dots::<L, 1>([a], b) };
        }
    }
}

/// The dot products of `R` rows with `b`, each in the same order whatever `R` is.
///
/// # Safety
/// The instruction set of `L` is present.
#[inline(always)]
unsafe fn dots<L: Lanes, const R: usize>(a: [&[f32]; R], b: &[f32]) -> [f32; R] {
    let k = b.len();
    assert!(a.iter().all(|a| a.len() == k), "rows of a dot product");
    let whole = k / L::LANES * L::LANES;
    // SAFETY: the caller promises the instruction set. `p + LANES <= whole <= k`,
    // and `b` and, by the assert, every row of `a` have `k` elements.
    let sums = unsafe {
        let mut sums = [L::zero(); R];
        for p in (0..whole).step_by(L::LANES) {
            let b = L::load(b.as_ptr().add(p));
            for (sum, a) in sums.iter_mut().zip(&a) {
                *sum = L::multiply_add(L::load(a.as_ptr().add(p)), b, *sum);
            }
        }
        sums
    };
    // In no closure: the compiler gives those no instruction set, and calls what they contain.
    let mut dots = [0.0; R];
    for ((dot, sum), a) in dots.iter_mut().zip(sums).zip(a) {
        // SAFETY: the caller promises the instruction set.
        *dot = unsafe { L::sum(sum) };
        for (a, b) in a[whole..].iter().zip(&b[whole..]) {
            *dot += a * b;
        }
    }
    dots
}
