//! Which vector instructions the kernels use.

use std::{cell::Cell, sync::OnceLock};

/// The instruction sets the kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What every target has; on AArch64 that includes NEON.
    Plain,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX2, FMA and AVX-512F; where the machine has AVX512-BF16, its
    /// products of bf16 may stand in for those of a matrix unit.
    Avx512,
}

thread_local! {
    /// What [`Isa::confine`] holds this thread's kernels to.
    static CONFINED: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// All, from the narrowest.
    const ALL: [Self; 3] = [Self::Plain, Self::Avx2, Self::Avx512];

    /// What kernels called now on this thread use: the widest this machine has,
    /// or what [`Self::confine`] holds them to.
    pub fn detect() -> Self {
        static WIDEST: OnceLock<Isa> = OnceLock::new();
        CONFINED.get().unwrap_or_else(|| {
            *WIDEST.get_or_init(|| Self::present().last().unwrap_or(Self::Plain))
        })
    }

    /// Those this machine has, from the narrowest.
    pub fn present() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_present())
    }

    /// Whether this machine has it.
    pub fn is_present(self) -> bool {
        match self {
            Self::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Self::Avx2.is_present() && is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Runs `f` with the kernels it calls on this thread held to this instruction
    /// set: how the narrower paths are tested on a machine that has wider ones.
    ///
    /// # Panics
    /// If this machine has not got it.
    pub fn confine<R>(self, f: impl FnOnce() -> R) -> R {
        /// Puts back what was there, also when `f` panics.
        struct Restore(Option<Isa>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CONFINED.set(self.0);
            }
        }
        assert!(self.is_present(), "{self:?} on this machine");
        let _restore = Restore(CONFINED.replace(Some(self)));
        f()
    }
}

/// Whether kernels called now on this thread may multiply pairs of bf16.
#[cfg(feature = "train")]
pub(crate) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return Isa::detect() == Isa::Avx512 && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_is_used_unless_a_narrower_one_is_asked_for() {
        let widest = Isa::present().last();
        assert!(Isa::Plain.is_present());
        assert_eq!(Some(Isa::detect()), widest);
        for isa in Isa::present() {
            isa.confine(|| {
                assert_eq!(Isa::detect(), isa);
                Isa::Plain.confine(|| assert_eq!(Isa::detect(), Isa::Plain));
                assert_eq!(Isa::detect(), isa);
            });
            let panicked = std::panic::catch_unwind(|| isa.confine(|| panic!("on purpose")));
            assert!(panicked.is_err());
            assert_eq!(Some(Isa::detect()), widest);
        }
    }

    #[cfg(feature = "train")]
    #[test]
    fn bf16_goes_with_the_widest_instructions_only() {
        assert!(!Isa::Plain.confine(has_bf16));
    }
}
