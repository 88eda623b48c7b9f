//! How fast a large file is read, and in what memory: ours beside h5py, the same arrays
//! of the same file in turn, one process each; and the memory of converting it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use spar_core::process::ENVIRONMENT;
use spar_setup::MINARI;
use spar_suite::say::{to_stderr, to_stdout};

use super::{Bench, last_core, measured::Measured, memory, report, said};
use crate::loading::{Reading, walk};

/// Contenders, ours first: on one core, as `spar` reads, and on all.
const CONTENDERS: [&str; 3] = ["ours", "ours, all cores", "h5py"];

/// Everything measured, as it is written to JSON; printed, its tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Loading {
    /// When, and of which commit.
    pub(crate) measured: Measured,
    /// The machine's processor.
    pub(crate) cpu: String,
    /// h5py's versions.
    pub(crate) h5py: String,
    /// Rows of the file.
    pub(crate) rows: usize,
    /// Each file's readings by contender, round by round.
    pub(crate) readings: BTreeMap<String, BTreeMap<String, Vec<Reading>>>,
    /// Bytes of resident memory of `spar data convert`, there and back.
    pub(crate) convert_peak_bytes: BTreeMap<String, u64>,
}

/// Measures, prints and writes what was measured to `out`.
///
/// # Errors
/// If a contender fails or reads something else than the others, or `out` cannot be
/// written.
pub(crate) fn measure(bench: &Bench<'_>, out: &Path) -> Result<ExitCode> {
    let rows = bench.options.loading_rows.get();
    let spar = bench.beside("spar")?;
    let python = MINARI.provide(bench.root, to_stderr)?;
    let script = bench.root.join("xtask/peers/h5py_peer.py");
    let h5py = |command: &str| {
        let mut peer = Command::new(&python);
        peer.arg(&script).arg(command);
        peer
    };
    let scratch = tempfile::tempdir_in(&bench.folder).context("cannot make a temporary folder")?;
    let written = scratch.path().join("ours.hdf5");
    let packed = scratch.path().join("h5py.hdf5");
    walk(&written, rows)?;
    said(h5py("pack").args([&written, &packed]))?;

    let files = [("as we write it", &written), ("as h5py packs it", &packed)];
    let rounds = bench.options.rounds.get();
    let bar = ProgressBar::new((files.len() * (rounds + 1) * CONTENDERS.len()) as u64);
    let core = last_core().to_string();
    let mut readings = BTreeMap::new();
    for (name, file) in files {
        let mut of_file = BTreeMap::<String, Vec<Reading>>::new();
        for round in 0..=rounds {
            for contender in CONTENDERS {
                let mut command = match contender {
                    "h5py" => h5py("load"),
                    _ => Command::new(&bench.program),
                };
                if contender != "h5py" {
                    command.arg("load");
                }
                command.arg(file);
                if !contender.contains("all cores") {
                    command.args(["--core", &core]).envs(ENVIRONMENT);
                }
                let reading: Reading = serde_json::from_str(&said(&mut command)?)
                    .with_context(|| format!("{contender} does not say what it took"))?;
                bar.inc(1);
                // The first round finds the file on the disk.
                if round > 0 {
                    of_file
                        .entry(contender.to_owned())
                        .or_default()
                        .push(reading);
                }
            }
        }
        agree(name, &of_file, rows)?;
        readings.insert(name.to_owned(), of_file);
    }
    bar.finish_and_clear();
    let version = readings.values().flat_map(BTreeMap::values).flatten();
    let version = version.map(|reading| reading.version.clone()).max();
    let loading = Loading {
        measured: Measured::now(bench.commit),
        cpu: report::cpu_model(),
        h5py: version.unwrap_or_default(),
        rows,
        readings,
        convert_peak_bytes: convert(&spar, &written, scratch.path())?,
    };
    to_stdout(&loading)?;
    super::write_json(out, &loading)?;
    Ok(ExitCode::SUCCESS)
}

/// Peaks of converting `file` to Minari's layout and back, in `folder`.
fn convert(spar: &Path, file: &Path, folder: &Path) -> Result<BTreeMap<String, u64>> {
    let (there, back) = (folder.join("there-v0"), folder.join("back.hdf5"));
    let peak = |from: &PathBuf, to: &PathBuf| {
        let mut command = Command::new(spar);
        command.args(["data", "convert"]).arg(from).arg(to);
        command.envs(ENVIRONMENT).stdout(Stdio::null());
        let child = command.spawn();
        memory::watch(child.with_context(|| format!("cannot run {}", spar.display()))?)
    };
    Ok(BTreeMap::from([
        ("to Minari".to_owned(), peak(&file.to_owned(), &there)?),
        ("to D4RL".to_owned(), peak(&there, &back)?),
    ]))
}

/// Refuses readings of other numbers than ours.
fn agree(file: &str, readings: &BTreeMap<String, Vec<Reading>>, rows: usize) -> Result<()> {
    let mut all = readings.values().flatten();
    let first = all.next().context("nothing was read")?;
    ensure!(
        first.rows == rows,
        "{file}: {} rows instead of {rows}",
        first.rows
    );
    ensure!(
        all.all(|reading| reading.sha256 == first.sha256),
        "{file}: the contenders do not read the same numbers"
    );
    Ok(())
}

impl fmt::Display for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rows read on {} ({}, commit {}), beside {}; medians, of CPU time but where all \
             cores read",
            self.rows, self.cpu, self.measured.date, self.measured.commit, self.h5py
        )?;
        let header = [
            "file",
            "who",
            "seconds",
            "of h5py's",
            "data, MB",
            "peak, MB",
        ];
        let mut table = report::table(&header);
        let megabytes = |bytes: u64| format!("{:.0}", bytes as f64 / 1e6);
        for (file, readings) in &self.readings {
            for who in CONTENDERS {
                let of = &readings[who];
                let wall = who.contains("all cores");
                let time = |r: &Reading| if wall { r.wall_s } else { r.cpu_s };
                let seconds = report::median(of.iter().map(time));
                let theirs = report::median(readings["h5py"].iter().map(time));
                table.add_row([
                    file.clone(),
                    who.to_owned(),
                    format!("{seconds:.3}"),
                    format!("{:.2}", seconds / theirs),
                    megabytes(of[0].data_bytes),
                    megabytes(of.iter().map(|r| r.peak_bytes).max().unwrap_or(0)),
                ]);
            }
        }
        writeln!(f, "{}", report::aligned(table, 2))?;
        for (way, &bytes) in &self.convert_peak_bytes {
            writeln!(
                f,
                "converting it {way}: {} MB at its peak",
                megabytes(bytes)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reading(seconds: f64, sha256: &str) -> Reading {
        Reading {
            rows: 10,
            data_bytes: 98_000_000,
            cpu_s: seconds,
            wall_s: seconds / 2.0,
            peak_bytes: 120_000_000,
            sha256: sha256.to_owned(),
            version: String::new(),
        }
    }

    fn readings(ours: f64, theirs: f64, sha256: &str) -> BTreeMap<String, Vec<Reading>> {
        let all = [(0, ours), (1, ours), (2, theirs)];
        all.map(|(i, s)| (CONTENDERS[i].to_owned(), vec![reading(s, sha256); 3]))
            .into()
    }

    #[test]
    fn who_reads_something_else_is_no_contender() {
        let mut found = readings(1.0, 2.0, "a");
        agree("file", &found, 10).unwrap();
        assert!(agree("file", &found, 11).is_err());
        found.get_mut("h5py").unwrap()[1].sha256 = "b".to_owned();
        let error = agree("file", &found, 10).unwrap_err();
        assert!(error.to_string().contains("same numbers"), "{error}");
    }

    #[test]
    fn ours_is_held_against_h5py_s() {
        let loading = Loading {
            measured: Measured::default(),
            cpu: "a processor".to_owned(),
            h5py: "h5py 1".to_owned(),
            rows: 10,
            readings: [("file".to_owned(), readings(0.5, 1.0, "a"))].into(),
            convert_peak_bytes: [("to Minari".to_owned(), 50_000_000)].into(),
        };
        let text = loading.to_string();
        for fact in ["0.500", "0.50", "98", "120", "to Minari: 50 MB"] {
            assert!(text.contains(fact), "{fact}: {text}");
        }
    }
}
