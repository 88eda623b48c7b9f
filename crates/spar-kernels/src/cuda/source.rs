//! The CUDA C++ sources, as the crate carries them.

/// A source file and the names of its kernels.
pub(crate) struct Source {
    /// File name under the crate's folder `cuda`.
    pub(crate) file: &'static str,
    text: &'static str,
    /// Every `extern "C"` kernel in it.
    pub(crate) kernels: &'static [&'static str],
}

macro_rules! source {
    ($file:literal, $kernels:expr) => {
        Source {
            file: $file,
            text: include_str!(concat!("../../cuda/", $file)),
            kernels: &$kernels,
        }
    };
}

/// Every file that is compiled.
pub(crate) const SOURCES: [Source; 6] = [
    source!("mlp_forward.cu", ["mlp_forward_16", "mlp_forward_8"]),
    source!(
        "mlp_backward.cu",
        [
            "mlp_backward_rows_16",
            "mlp_backward_rows_8",
            "mlp_backward_weights"
        ]
    ),
    source!(
        "value.cu",
        ["conservative", "advantages", "imitation", "imitation_stats"]
    ),
    source!(
        "losses.cu",
        [
            "temporal_difference",
            "expectile_regression",
            "difference",
            "draw_latents",
            "reconstruction",
            "latent_gradient"
        ]
    ),
    source!("optim.cu", ["adam", "polyak"]),
    source!("policy.cu", ["policy_8"]),
];

/// The headers the files include, those included by others first.
const HEADERS: [(&str, &str); 2] = [
    ("common.cuh", include_str!("../../cuda/common.cuh")),
    ("network.cuh", include_str!("../../cuda/network.cuh")),
];

impl Source {
    /// The file with its headers written out, since the run-time compiler has
    /// no folder to look in. `#line` keeps its messages at the place a reader
    /// would look.
    pub(crate) fn expanded(&self) -> String {
        let mut text = String::new();
        for (file, part) in HEADERS.iter().chain([&(self.file, self.text)]) {
            text += &format!("#line 1 \"{file}\"\n");
            for line in part.lines() {
                let ours = line.starts_with("#include \"") || line.starts_with("#pragma once");
                text += if ours { "" } else { line };
                text.push('\n');
            }
        }
        text
    }
}
