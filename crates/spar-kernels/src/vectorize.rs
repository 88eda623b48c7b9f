//! Plain loops, compiled once per instruction set.
//!
//! Compilers vectorize a plain loop well, but only for the instructions the whole
//! program may use, and that is not the machine's best.

/// A function whose body is compiled for every [`Isa`](crate::isa::Isa) and runs
/// as the widest this machine has. The body may call `#[inline(always)]` functions
/// only: others would be compiled once.
macro_rules! vectorized {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block
    )*) => {$(
        $(#[$meta])*
        $vis fn $name($($arg: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn plain($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $type),*) {
                plain($($arg),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $type),*) {
                plain($($arg),*);
            }

            match $crate::isa::Isa::detect() {
                // SAFETY: `detect` only names what this machine has: all that the
                // function's attribute enables.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => plain($($arg),*),
            }
        }
    )*};
}

pub(crate) use vectorized;
