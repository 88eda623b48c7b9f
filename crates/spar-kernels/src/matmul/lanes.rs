//! What a product needs of an instruction set: a vector, three ways to fill
//! one and a fused multiply-add.
//!
//! The functions of an implementation may only run where its instruction set
//! does, which is what makes them unsafe; [`super::Isa`] decides.

/// Vectors of `LANES` floats.
pub(super) trait Lanes {
    /// `LANES` floats.
    type Vector: Copy;
    /// Number of floats in a vector.
    const LANES: usize;

    /// # Safety
    /// The instruction set is present.
    unsafe fn zero() -> Self::Vector;
    /// # Safety
    /// The instruction set is present; `LANES` floats from `from` are readable.
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// `from` in every lane.
    ///
    /// # Safety
    /// The instruction set is present; `from` is readable.
    unsafe fn splat(from: *const f32) -> Self::Vector;
    /// `sums + a b`, lane by lane.
    ///
    /// # Safety
    /// The instruction set is present.
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, sums: Self::Vector) -> Self::Vector;
    /// `to <- sums`, or `to <- to + sums` if `add`.
    ///
    /// # Safety
    /// The instruction set is present; `LANES` floats from `to` are readable and
    /// writable.
    unsafe fn store(to: *mut f32, sums: Self::Vector, add: bool);
    /// The sum of all lanes, the upper half added to the lower until one is left.
    ///
    /// # Safety
    /// The instruction set is present.
    unsafe fn sum(vector: Self::Vector) -> f32;
    /// Says that `LANES` floats from `from` will be read soon, if that is known how;
    /// `from` may be anything.
    #[inline(always)]
    fn soon(_from: *const f32) {}
}

/// Eight floats in whatever registers the target has: NEON's on AArch64. The
/// multiplication is rounded before the addition: without hardware for it a
/// fused multiply-add is a library call.
pub(super) struct Plain;

impl Lanes for Plain {
    type Vector = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> [f32; 8] {
        [0.0; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        // SAFETY: the caller promises eight readable floats at a float's alignment,
        // which is that of an array of them, too.
        unsafe { *from.cast::<[f32; 8]>() }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> [f32; 8] {
        // SAFETY: the caller promises a readable float.
        [unsafe { *from }; 8]
    }

    #[inline(always)]
    unsafe fn multiply_add(a: [f32; 8], b: [f32; 8], mut sums: [f32; 8]) -> [f32; 8] {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, mut sums: [f32; 8], add: bool) {
        let to = to.cast::<[f32; 8]>();
        if add {
            // SAFETY: the caller promises eight readable floats at a float's
            // alignment, which is that of an array of them, too.
            let there = unsafe { *to };
            for (sum, t) in sums.iter_mut().zip(there) {
                *sum += t;
            }
        }
        // SAFETY: the caller promises that they are writable, too.
        unsafe { *to = sums }
    }

    #[inline(always)]
    unsafe fn sum(mut vector: [f32; 8]) -> f32 {
        for half in [4, 2, 1] {
            for l in 0..half {
                vector[l] += vector[l + half];
            }
        }
        vector[0]
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// To the second-level cache: a panel fills the first by itself.
    #[inline(always)]
    fn soon(from: *const f32) {
        // SAFETY: every x86-64 has the instruction, and it reads nothing that a program
        // sees: of an address that is none, nothing comes.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    /// Of eight lanes.
    ///
    /// # Safety
    /// AVX is present.
    #[inline(always)]
    unsafe fn sum(vector: __m256) -> f32 {
        // SAFETY: the caller promises AVX.
        unsafe {
            let high = _mm256_extractf128_ps::<1>(vector);
            let four = _mm_add_ps(_mm256_castps256_ps128(vector), high);
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            let one = _mm_add_ss(two, _mm_shuffle_ps::<1>(two, two));
            _mm_cvtss_f32(one)
        }
    }

    /// AVX-512F.
    pub(in crate::matmul) struct Avx512;

    impl Lanes for Avx512 {
        type Vector = __m512;
        const LANES: usize = 16;

        #[inline(always)]
        fn soon(from: *const f32) {
            soon(from);
        }

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: the caller promises AVX-512F.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            // SAFETY: the caller promises AVX-512F, and 16
            // readable floats; the load needs no alignment.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn splat(from: *const f32) -> __m512 {
            // SAFETY: the caller promises AVX-512F, and a readable float.
            unsafe { _mm512_set1_ps(*from) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m512, b: __m512, sums: __m512) -> __m512 {
            // SAFETY: the caller promises AVX-512F.
            unsafe { _mm512_fmadd_ps(a, b, sums) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, sums: __m512, add: bool) {
            // SAFETY: the caller promises AVX-512F, and 16 floats
            // that may be read and written; neither needs an alignment.
            unsafe {
                let sums = if add {
                    _mm512_add_ps(_mm512_loadu_ps(to), sums)
                } else {
                    sums
                };
                _mm512_storeu_ps(to, sums);
            }
        }

        #[inline(always)]
        unsafe fn sum(vector: __m512) -> f32 {
            // SAFETY: the caller promises AVX-512F, of which AVX is a part.
            unsafe {
                let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(vector));
                let low = _mm512_castps512_ps256(vector);
                sum(_mm256_add_ps(low, _mm256_castpd_ps(high)))
            }
        }
    }

    /// AVX2 with FMA.
    pub(in crate::matmul) struct Avx2;

    impl Lanes for Avx2 {
        type Vector = __m256;
        const LANES: usize = 8;

        #[inline(always)]
        fn soon(from: *const f32) {
            soon(from);
        }

        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: the caller promises AVX2 and FMA.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: the caller promises AVX2 and FMA, and 8
            // readable floats; the load needs no alignment.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn splat(from: *const f32) -> __m256 {
            // SAFETY: the caller promises AVX2 and FMA, and a readable float.
            unsafe { _mm256_broadcast_ss(&*from) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m256, b: __m256, sums: __m256) -> __m256 {
            // SAFETY: the caller promises AVX2 and FMA.
            unsafe { _mm256_fmadd_ps(a, b, sums) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, sums: __m256, add: bool) {
            // SAFETY: the caller promises AVX2 and FMA, and 8 floats
            // that may be read and written; neither needs an alignment.
            unsafe {
                let sums = if add {
                    _mm256_add_ps(_mm256_loadu_ps(to), sums)
                } else {
                    sums
                };
                _mm256_storeu_ps(to, sums);
            }
        }

        #[inline(always)]
        unsafe fn sum(vector: __m256) -> f32 {
            // SAFETY: the caller promises AVX2, of which AVX is a part.
            unsafe { sum(vector) }
        }
    }
}
