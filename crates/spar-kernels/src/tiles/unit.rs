//! Whether this process may use the matrix unit.

use std::{cell::Cell, fmt, sync::OnceLock};

/// What multiplies pairs of bf16 for passes in `bf16` and `bf16x3`. Both give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatrixUnit {
    /// The tile instructions of the CPU (Intel's AMX-BF16), on Linux.
    Amx,
    /// The same arithmetic in other instructions, several times slower than single
    /// precision.
    Emulated,
}

/// Why a process has no matrix unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The CPU, or the virtual machine, has none.
    Cpu,
    /// The operating system does not save tiles when it switches threads.
    System,
    /// Linux did not grant this process the tiles: this error number.
    Refused(i32),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "the CPU has none (AMX-BF16)"),
            Self::System => write!(f, "the operating system does not save its tiles"),
            Self::Refused(error) => write!(f, "Linux did not grant it, error {error}"),
        }
    }
}

thread_local! {
    /// What [`MatrixUnit::confine`] holds this thread to.
    static CONFINED: Cell<Option<MatrixUnit>> = const { Cell::new(None) };
}

impl MatrixUnit {
    /// What passes begun now on this thread use: the unit where this process has one, or
    /// what [`Self::confine`] holds them to. The first call asks Linux for the unit.
    pub fn detect() -> Self {
        CONFINED.get().unwrap_or(match Self::absent() {
            None => Self::Amx,
            Some(_) => Self::Emulated,
        })
    }

    /// Why this process has no unit; `None` if it has one.
    pub fn absent() -> Option<Absent> {
        static ABSENT: OnceLock<Option<Absent>> = OnceLock::new();
        *ABSENT.get_or_init(system::absent)
    }

    /// Runs `f` with the passes it begins on this thread held to this: how the two are
    /// compared on a machine that has both.
    ///
    /// # Panics
    /// If it is [`Self::Amx`] and this process has none.
    pub fn confine<R>(self, f: impl FnOnce() -> R) -> R {
        /// Puts back what was there, also when `f` panics.
        struct Restore(Option<MatrixUnit>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CONFINED.set(self.0);
            }
        }
        if let (Self::Amx, Some(absent)) = (self, Self::absent()) {
            panic!("matrix unit: {absent}");
        }
        let _restore = Restore(CONFINED.replace(Some(self)));
        f()
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod system {
    use std::arch::{
        asm,
        x86_64::{__cpuid, __cpuid_count, _xgetbv},
    };

    use super::Absent;

    /// Leaf 7, EDX: AMX-BF16 and AMX-TILE.
    const FEATURES: u32 = 1 << 22 | 1 << 24;

    /// XCR0: tile configuration and tile data.
    const SAVED: u64 = 1 << 17 | 1 << 18;

    /// `arch_prctl`'s request for a part of the state that is saved, and that of tile data.
    const REQUEST: usize = 0x1023;
    const TILE_DATA: usize = 18;

    /// Asks the CPU, the system's settings and Linux, in this order.
    pub(super) fn absent() -> Option<Absent> {
        if !cpu() {
            return Some(Absent::Cpu);
        }
        // SAFETY: `cpu` found XSAVE, and that the system has it enabled.
        if unsafe { enabled() } & SAVED != SAVED {
            return Some(Absent::System);
        }
        match request() {
            0 => None,
            error => Some(Absent::Refused(i32::try_from(-error).unwrap_or(i32::MAX))),
        }
    }

    /// Whether the CPU has the instructions, the palette that `hardware` configures, and
    /// XSAVE enabled by the system.
    fn cpu() -> bool {
        let most = __cpuid(0).eax;
        if most < 0x1d || __cpuid(1).ecx & (1 << 27) == 0 {
            return false;
        }
        // Palette 1: bytes per row and number of tiles, then rows.
        let palette = __cpuid_count(0x1d, 1);
        let (row, tiles, rows) = (
            palette.ebx & 0xffff,
            palette.ebx >> 16,
            palette.ecx & 0xffff,
        );
        __cpuid_count(7, 0).edx & FEATURES == FEATURES
            && __cpuid_count(0x1d, 0).eax >= 1
            && (row, tiles, rows) == (64, 8, 16)
    }

    /// # Safety
    /// The CPU has XSAVE, enabled by the system.
    #[target_feature(enable = "xsave")]
    unsafe fn enabled() -> u64 {
        // SAFETY: the caller promises XSAVE, and register 0 is always there.
        unsafe { _xgetbv(0) }
    }

    /// Zero, or the negative error number.
    fn request() -> i64 {
        /// `arch_prctl` on x86-64.
        const CALL: i64 = 158;
        let mut result = CALL;
        // SAFETY: the call takes two numbers and touches no memory of this process; a kernel
        // that does not know the request answers with an error. RCX and R11 are the
        // registers that a call overwrites.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") result,
                in("rdi") REQUEST,
                in("rsi") TILE_DATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod system {
    use super::Absent;

    pub(super) fn absent() -> Option<Absent> {
        Some(Absent::Cpu)
    }
}
