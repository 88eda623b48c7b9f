//! `spar-gpu`, the steps of `cargo xtask gpu-check` that need a GPU: whole updates against
//! candle's on the CPU, time by the device's events, runs side by side, and the summary of
//! what all steps said. Each step is a process of its own, so that one that hangs or crashes
//! takes no other along, and prints one JSON object.
//!
//! Over the stand-in for a GPU (docs/cuda.md) everything runs at a small size: it shows that
//! the steps work, and no speed.

mod agree;
mod beside;
mod curves;
mod summary;
mod time;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;
use spar_kernels::cuda::{CudaDevice, CudaLane, Device};
use spar_nn::device::Kernels;
use spar_rectify::DeviceSpar;

use crate::inputs::{CYCLE, Inputs, Size};

/// The steps of `cargo xtask gpu-check` that need a GPU.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    step: Step,
    /// Transitions and width, as in 256x256 [default: the suite's; small on the stand-in]
    #[arg(long, global = true, value_name = "SIZE")]
    size: Option<Size>,
}

/// One step.
#[derive(Subcommand)]
enum Step {
    /// Say which GPU there is
    Device,
    /// Hold whole updates against candle's on the CPU, recordings against single launches,
    /// and a run against itself
    Agree {
        /// Updates of each
        #[arg(long, default_value_t = CYCLE)]
        updates: usize,
        /// Seed of parameters, data and noise
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// A few updates and nothing else, for compute-sanitizer
    Once,
    /// Hold the log of a run on the GPU against that of the same run on the CPU
    Curves {
        /// Folder of the run on the CPU
        cpu: PathBuf,
        /// Folder of the run on the GPU
        gpu: PathBuf,
    },
    /// Write random walks of a point mass in D4RL's layout, for these runs
    Data {
        /// An HDF5 file
        file: PathBuf,
    },
    /// Write initial parameters, batches and noise for the same updates in other programs
    Inputs {
        /// A safetensors file
        file: PathBuf,
    },
    /// The losses of one cycle of updates
    Losses,
    /// Time updates, their parts and every kernel
    Time {
        /// Seconds for each of the measurements
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Several runs at once on the one GPU
    Beside {
        /// How they share it
        #[arg(long)]
        by: By,
        /// How many
        #[arg(long)]
        runs: usize,
        /// Seconds for all of them
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// One of the processes of `beside`
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        seconds: f64,
    },
    /// Put together what the steps left in a folder: summary.json and summary.md
    Summary {
        /// The folder
        folder: PathBuf,
    },
}

/// How runs share a GPU.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum By {
    /// Each a process of its own.
    Processes,
    /// Threads of one process, each with a stream.
    Streams,
    /// Threads of one process that share every launch.
    Lanes,
}

/// How the stand-in's name begins; `tests/cuda/driver.cpp` of spar-kernels has it.
const STAND_IN: &str = "stand-in";

/// What the stand-in can compute in seconds.
const SMALL: Size = Size {
    rows: 16,
    width: 24,
};

/// A GPU, and what to run on it.
struct Gpu {
    device: CudaDevice,
    stand_in: bool,
    size: Option<Size>,
}

impl Gpu {
    fn open(size: Option<Size>) -> Result<Self> {
        let device = CudaDevice::new(0)?;
        let stand_in = device.name().starts_with(STAND_IN);
        Ok(Self {
            size: size.or(stand_in.then_some(SMALL)),
            device,
            stand_in,
        })
    }

    fn inputs(&self) -> Result<Inputs> {
        Inputs::new(self.size)
    }

    /// Devices for `runs` runs of `inputs` that share their launches.
    fn lanes(&self, inputs: &Inputs, runs: usize) -> Result<Vec<CudaLane>> {
        let tally = Kernels::new(self.device.tally());
        DeviceSpar::new(&tally, &inputs.spar(|_| ())?, inputs.config.rows)?;
        Ok(self.device.lanes(runs, tally.device().floats())?)
    }

    fn describe(&self) -> serde_json::Value {
        let limits = self.device.limits();
        let rates = self.device.rates();
        json!({
            "name": self.device.name(),
            "stand_in": self.stand_in,
            "multiprocessors": limits.multiprocessors,
            "shared_bytes": limits.shared_bytes,
            "flops_per_s": rates.flops,
            "bytes_per_s": rates.bytes,
        })
    }
}

/// Runs the program.
pub fn run() -> ExitCode {
    match step(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Does one step; whether what it checks holds.
fn step(options: &Options) -> Result<bool> {
    let gpu = || Gpu::open(options.size);
    let (said, holds) = match &options.step {
        Step::Device => (gpu()?.describe(), true),
        Step::Agree { updates, seed } => agree::check(&gpu()?, *updates, *seed)?,
        Step::Once => (once(&gpu()?)?, true),
        Step::Curves { cpu, gpu } => curves::compare(cpu, gpu)?,
        Step::Data { file } => (curves::data(file)?, true),
        Step::Inputs { file } => (inputs(file)?, true),
        Step::Losses => (losses(&gpu()?)?, true),
        Step::Time { seconds } => (time::measure(&gpu()?, *seconds)?, true),
        Step::Beside { by, runs, seconds } => {
            (beside::measure(&gpu()?, *by, *runs, *seconds)?, true)
        }
        Step::Worker { seconds } => return beside::worker(&gpu()?, *seconds).map(|()| true),
        Step::Summary { folder } => return summary::write(folder),
    };
    println!("{said}");
    Ok(holds)
}

/// The updates of one cycle in which the policy does not yet imitate, then those in which it
/// does: every kernel of an update at least twice.
fn once(gpu: &Gpu) -> Result<serde_json::Value> {
    let inputs = gpu.inputs()?;
    let kernels = Kernels::new(gpu.device.beside()?);
    let start = inputs.spar(|config| config.warmup = 2)?;
    let mut spar = DeviceSpar::new(&kernels, &start, inputs.config.rows)?;
    let updates = 4;
    for i in 0..updates {
        spar.update(&inputs.batch(i)?)?;
    }
    let metrics = spar.metrics()?;
    if !metrics.is_finite() {
        bail!("the losses are not finite: {metrics:?}");
    }
    Ok(json!({ "updates": updates }))
}

/// What other programs compute the same updates from, at the suite's size.
fn inputs(file: &Path) -> Result<serde_json::Value> {
    crate::inputs::write(file)?;
    Ok(json!({ "file": file }))
}

/// The losses of one cycle, as our worker on the CPU and the peers' say them.
fn losses(gpu: &Gpu) -> Result<serde_json::Value> {
    let inputs = gpu.inputs()?;
    let kernels = Kernels::new(gpu.device.beside()?);
    let mut spar = DeviceSpar::new(&kernels, &inputs.spar(|_| ())?, inputs.config.rows)?;
    let freq = inputs.config.rectify.policy_freq.max(1) as usize;
    let mut losses = crate::ours::Losses::new();
    for i in 0..CYCLE {
        spar.update(&inputs.batch(i)?)?;
        let m = spar.metrics().context("the metrics")?;
        crate::ours::note_all(&mut losses, &m, i % freq == 0);
    }
    Ok(json!({ "losses": losses }))
}
