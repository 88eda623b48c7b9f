//! Several runs on one GPU at once: a small network leaves most of it idle, so that what
//! counts for a table is what all of its runs do together.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use spar_kernels::cuda::{CudaDevice, CudaLane};
use spar_nn::device::{CudaError, Device, Kernels};
use spar_rectify::DeviceSpar;

use super::{By, Gpu};
use crate::inputs::{CYCLE, Inputs};

/// Updates of one run, and the seconds they took.
type Did = (usize, f64);

/// Lets `runs` runs go at once for about `seconds`.
pub(super) fn measure(gpu: &Gpu, by: By, runs: usize, seconds: f64) -> Result<Value> {
    let all = match by {
        By::Streams => {
            let beside = (0..runs).map(|_| gpu.device.beside());
            let devices = beside.collect::<Result<_, _>>()?;
            threads(devices, &gpu.inputs()?, seconds)?
        }
        By::Lanes => {
            let inputs = gpu.inputs()?;
            threads(gpu.lanes(&inputs, runs)?, &inputs, seconds)?
        }
        By::Processes => processes(gpu, runs, seconds)?,
    };
    let updates: usize = all.iter().map(|(updates, _)| updates).sum();
    // Each by its own time: they begin together and end within a cycle of each other.
    let per_s: f64 = all.iter().map(|&(updates, s)| updates as f64 / s).sum();
    Ok(json!({
        "by": by, "runs": runs, "updates": updates, "updates_per_s": per_s,
        "stand_in": gpu.stand_in,
    }))
}

/// A device of a run.
trait OfRun: Device {
    /// Whether a run may be no more than a few updates ahead of its device: else it waits
    /// after every cycle.
    const BOUNDED: bool;

    /// Waits for all it has started.
    fn synchronize(&self) -> Result<(), CudaError>;
}

impl OfRun for CudaDevice {
    const BOUNDED: bool = false;

    fn synchronize(&self) -> Result<(), CudaError> {
        Self::synchronize(self)
    }
}

impl OfRun for CudaLane {
    const BOUNDED: bool = true;

    fn synchronize(&self) -> Result<(), CudaError> {
        Self::synchronize(self)
    }
}

/// One run on a device of its own: ready, then `go`, then updates for `seconds`.
fn one<D: OfRun>(
    device: D,
    inputs: &Inputs,
    seconds: f64,
    go: impl FnOnce() -> Result<()>,
) -> Result<Did> {
    let kernels = Kernels::new(device);
    let ready = || -> Result<_> {
        let mut spar = DeviceSpar::new(&kernels, &inputs.spar(|_| ())?, inputs.config.rows)?;
        cycle(&mut spar, inputs)?;
        kernels.device().synchronize()?;
        Ok(spar)
    };
    let mut spar = match ready() {
        Ok(spar) => spar,
        Err(error) => {
            // Whoever waits for all, to share a launch or to be ready, must not wait for one
            // that failed.
            drop(kernels);
            go()?;
            return Err(error);
        }
    };
    go()?;
    let (begin, mut updates) = (Instant::now(), 0);
    loop {
        cycle(&mut spar, inputs)?;
        updates += CYCLE;
        let enough = begin.elapsed().as_secs_f64() >= seconds;
        if enough || !D::BOUNDED {
            kernels.device().synchronize()?;
        }
        let elapsed = begin.elapsed().as_secs_f64();
        if enough || elapsed >= seconds {
            return Ok((updates, elapsed));
        }
    }
}

/// One cycle of updates, which may not be done when this returns.
fn cycle<D: Device>(spar: &mut DeviceSpar<'_, D>, inputs: &Inputs) -> Result<()> {
    (0..CYCLE).try_for_each(|i| Ok(spar.update(&inputs.batch(i)?)?))
}

/// A run for each of `devices`, each in a thread.
fn threads<D: OfRun + Send>(devices: Vec<D>, inputs: &Inputs, seconds: f64) -> Result<Vec<Did>> {
    let ready = Barrier::new(devices.len());
    let ready = &ready;
    thread::scope(|scope| {
        let threads: Vec<_> = devices
            .into_iter()
            .map(|device| {
                scope.spawn(move || {
                    one(device, inputs, seconds, || {
                        ready.wait();
                        Ok(())
                    })
                })
            })
            .collect();
        let did = threads.into_iter().map(|thread| match thread.join() {
            Ok(did) => did,
            Err(_) => bail!("a run panicked"),
        });
        did.collect()
    })
}

fn processes(gpu: &Gpu, runs: usize, seconds: f64) -> Result<Vec<Did>> {
    let program = env::current_exe().context("cannot find this program")?;
    let mut workers = Vec::new();
    for _ in 0..runs {
        let mut command = Command::new(&program);
        command.args(["worker", "--seconds", &seconds.to_string()]);
        if let Some(size) = gpu.size {
            command.args(["--size", &format!("{}x{}", size.rows, size.width)]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a worker")?;
        let stdout = child.stdout.take().context("a worker has no output")?;
        workers.push((child, BufReader::new(stdout)));
    }
    let mut lines = |what| -> Result<Vec<String>> {
        let each = workers.iter_mut().map(|(_, stdout)| {
            let mut line = String::new();
            stdout.read_line(&mut line)?;
            if line.is_empty() {
                bail!("a worker ended before it was {what}");
            }
            Ok(line)
        });
        each.collect()
    };
    let ready = lines("ready");
    for (child, _) in &mut workers {
        // An end of input is as good a sign to one that nobody waits for any more.
        let mut stdin = child.stdin.take().context("a worker has no input")?;
        if ready.is_ok() {
            writeln!(stdin, "go")?;
        }
    }
    let did = ready.and_then(|_| {
        let mut did = Vec::new();
        for (_, stdout) in &mut workers {
            let mut line = String::new();
            stdout.read_line(&mut line)?;
            did.push(serde_json::from_str(&line).context("a worker ended before it was done")?);
        }
        Ok(did)
    });
    for (mut child, _) in workers {
        child.wait()?;
    }
    did
}

/// One of the processes: says that it is ready, waits for a line, runs, says what it did.
pub(super) fn worker(gpu: &Gpu, seconds: f64) -> Result<()> {
    let did = one(gpu.device.beside()?, &gpu.inputs()?, seconds, || {
        println!("ready");
        io::stdout().flush()?;
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        if line.is_empty() {
            bail!("the others are not ready");
        }
        Ok(())
    })?;
    println!("{}", json!(did));
    Ok(())
}
