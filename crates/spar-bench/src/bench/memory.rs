//! How much memory a run takes: the peak of a real `spar train` on a large data
//! set, against the same on a small one, so that what the program itself needs
//! drops out.

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use serde::{Deserialize, Serialize};
use spar_core::process::ENVIRONMENT;

use super::{Bench, report};
use crate::dataset;

/// Rows of the small data set.
const FEW: usize = 10_000;

/// Transitions per batch.
const BATCH: usize = 256;

/// Updates of the anchor and of SPAR: all of a run's buffers are there after a few.
const UPDATES: usize = 200;

/// Time between two looks at a process. Its peak only ever grows, and the end of a
/// run, which a look may miss, plays an episode and writes a small file.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Peaks of two runs that differ in their data alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Transitions per batch.
    pub(crate) batch: usize,
    /// On few rows and on many.
    pub(crate) runs: [Peak; 2],
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Peak {
    /// Rows of the data set.
    pub(crate) rows: usize,
    /// Bytes of the arrays that training reads: observations, actions and rewards in
    /// single precision, two flags of a byte.
    pub(crate) data_bytes: u64,
    /// Largest resident set of the process (`VmHWM`), in bytes.
    pub(crate) peak_bytes: u64,
}

impl Memory {
    /// Bytes of resident memory for each byte of data, what is the same for both
    /// runs left out: 1 if the data are held once.
    pub(crate) fn copies(&self) -> f64 {
        let [few, many] = &self.runs;
        let more = |of: fn(&Peak) -> u64| of(many) as f64 - of(few) as f64;
        more(|peak| peak.peak_bytes) / more(|peak| peak.data_bytes)
    }

    /// Both runs.
    pub(crate) fn table(&self) -> Table {
        let mut table = report::table(&["rows", "data, MB", "peak of the process, MB"]);
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        for peak in &self.runs {
            table.add_row([
                peak.rows.to_string(),
                megabytes(peak.data_bytes),
                megabytes(peak.peak_bytes),
            ]);
        }
        report::aligned(table, 0)
    }
}

/// Writes both data sets to a temporary folder and trains on each.
///
/// # Errors
/// If a run fails, or the system does not tell a process's peak.
pub(crate) fn measure(bench: &Bench<'_>, rows: NonZeroUsize) -> Result<Memory> {
    let spar = bench.beside("spar")?;
    let scratch = tempfile::tempdir_in(&bench.folder).context("cannot make a temporary folder")?;
    let peak = |rows: usize| -> Result<Peak> {
        let file = scratch.path().join(format!("{rows}.hdf5"));
        let bytes_per_row = dataset::write(&file, rows)?;
        let out = scratch.path().join(rows.to_string());
        Ok(Peak {
            rows,
            data_bytes: (rows * bytes_per_row) as u64,
            peak_bytes: train(&spar, &file, &out, &bench.folder)?,
        })
    };
    Ok(Memory {
        batch: BATCH,
        runs: [peak(FEW)?, peak(rows.get())?],
    })
}

/// Peak of one run on `data` in the folder `out`.
fn train(spar: &Path, data: &Path, out: &Path, logs: &Path) -> Result<u64> {
    let log = logs.join("spar-train.log");
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let updates = UPDATES.to_string();
    let child = Command::new(spar)
        .args(["train", "--env", "walker2d", "--method", "spar"])
        .arg("--dataset")
        .arg(data)
        .arg("--out")
        .arg(out)
        .args(["--batch-size", &BATCH.to_string()])
        .args(["--anchor-updates", &updates, "--updates", &updates])
        .args(["--warmup", &(UPDATES / 2).to_string()])
        .args(["--eval-episodes", "1"])
        .envs(ENVIRONMENT)
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot run {}", spar.display()))?;
    watch(child).with_context(|| format!("`spar train` says in {}", log.display()))
}

/// The peak of a process, which is waited for.
///
/// # Errors
/// If it fails, or the system does not tell.
pub(crate) fn watch(mut child: Child) -> Result<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    let ended = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        peak = spar_core::memory::peak_in(&text).or(peak);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        thread::sleep(LOOK_EVERY);
    };
    if !ended.success() {
        bail!("it ended with {ended}");
    }
    peak.context("this system does not tell the peak of a process in /proc")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_process_has_no_peak() {
        let error = watch(Command::new("false").spawn().unwrap()).unwrap_err();
        assert!(error.to_string().contains("exit status: 1"), "{error}");
    }

    #[test]
    fn what_both_runs_need_is_no_copy_of_the_data() {
        let peak = |rows, data_bytes, peak_bytes| Peak {
            rows,
            data_bytes,
            peak_bytes,
        };
        let once = Memory {
            batch: 256,
            runs: [peak(10, 1_000, 60_000), peak(1_000, 100_000, 159_000)],
        };
        assert!((once.copies() - 1.0).abs() < 1e-12);
        let twice = Memory {
            batch: 256,
            runs: [peak(10, 1_000, 60_000), peak(1_000, 100_000, 258_000)],
        };
        assert!((twice.copies() - 2.0).abs() < 1e-12);
    }
}
