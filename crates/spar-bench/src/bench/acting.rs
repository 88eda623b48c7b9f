//! How long one action takes by each way from a policy file to the machine: the Rust crate, the
//! C library, a socket to `spar act`, and the exported graph under tract and ONNX Runtime. The
//! policies are those that methods make at their own sizes, after one update.

use std::{
    fmt, fs,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use spar_setup::DOORS;
use spar_suite::say::{to_stderr, to_stdout};

use super::{Bench, measured::Measured, report, said};
use crate::{acting::Latency, loading::walk};

/// Methods with further options, and what a table calls their policies.
const POLICIES: [(&str, &str); 7] = [
    ("td3bc", "one network, 256-256 (td3bc, iql, ...)"),
    ("spar", "spar"),
    ("bc-diffusion", "bc-diffusion: one chain of 5 steps"),
    ("diffusion-ql", "diffusion-ql"),
    ("idql", "idql"),
    ("fql", "fql"),
    ("ifql", "ifql"),
];

/// Everything measured, as it is written to JSON; printed, its table.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Acting {
    measured: Measured,
    cpu: String,
    /// Programs that waited for a core when the measurement began and ended.
    load: [String; 2],
    rows: Vec<Row>,
}

/// Microseconds of one action; `None` where there is no such way.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    policy: String,
    candidates: Option<String>,
    rust: f64,
    c: f64,
    socket: Option<f64>,
    tract: Option<f64>,
    onnxruntime: Option<f64>,
}

/// Measures, prints and writes what was measured to `out`.
///
/// # Errors
/// If a policy cannot be made or a program fails.
pub(crate) fn measure(bench: &Bench<'_>, out: &Path) -> Result<ExitCode> {
    let spar = &bench.beside("spar")?;
    let python = DOORS.provide(bench.root, to_stderr)?;
    let scratch = tempfile::tempdir_in(&bench.folder).context("cannot make a temporary folder")?;
    let at = |name: &str| scratch.path().join(name);
    let data = at("walk.hdf5");
    walk(&data, 3000)?;
    let timed = at("time");
    compile(bench, &timed)?;
    let before = load();
    let bar = ProgressBar::new(POLICIES.len() as u64);
    let mut rows = Vec::new();
    for (method, name) in POLICIES {
        let run = at(method);
        let mut train = Command::new(spar);
        train.args(["train", "--method", method, "--updates", "1"]);
        if method == "spar" {
            train.args(["--anchor-updates", "1", "--warmup", "0"]);
        }
        train.arg("--dataset").arg(&data).arg("--out").arg(&run);
        said(train.args(["--progress", "json"]))?;
        let policy = run.join("policy.safetensors");
        let model = at(&format!("{method}.onnx"));
        let mut export = Command::new(spar);
        export.args(["export", "--policy"]).arg(&policy);
        export.arg("--onnx").arg(&model).stderr(Stdio::null());
        let exported = export.stdout(Stdio::null()).status()?.success();
        let socket = at("act.sock");
        let served = Served::start(spar, &policy, &socket)?;
        let mut act = Command::new(&bench.program);
        act.arg("act").arg(&policy).arg("--socket").arg(&socket);
        if exported {
            act.arg("--onnx").arg(&model);
        }
        let told: Latency = serde_json::from_str(&said(&mut act)?)?;
        drop(served);
        let _ = fs::remove_file(&socket);
        let runtime = exported.then(|| {
            let script = bench.root.join("xtask/peers/onnx_latency.py");
            number(Command::new(&python).arg(script).arg(&model))
        });
        rows.push(Row {
            policy: name.to_owned(),
            candidates: candidates(&policy)?,
            rust: told.rust,
            c: number(Command::new(&timed).arg(&policy))?,
            socket: told.socket,
            tract: told.tract,
            onnxruntime: runtime.transpose()?,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let acting = Acting {
        measured: Measured::now(bench.commit),
        cpu: report::cpu_model(),
        load: [before, load()],
        rows,
    };
    to_stdout(&acting)?;
    super::write_json(out, &acting)?;
    Ok(ExitCode::SUCCESS)
}

/// The page of its table, below the workspace's root.
pub(crate) const DEPLOY: &str = "docs/deploy.md";

/// Where in it that stands.
const BEGIN: &str = "<!-- acting -->\n";
const END: &str = "<!-- end -->\n";

/// The page `page` with the table of `acting`.
///
/// # Errors
/// If the page has no place for it.
pub(crate) fn with_acting(page: &str, acting: &Acting) -> Result<String> {
    let place = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = place
        .with_context(|| format!("it has no lines `{}` and `{}`", BEGIN.trim(), END.trim()))?;
    let text = acting.to_string();
    let (words, table) = text.split_once('\n').unwrap_or(("", &text));
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase());
    let first: String = first.into_iter().flatten().collect();
    Ok(format!(
        "{before}{BEGIN}\n{first}{}:\n\n{table}\n\n{END}{after}",
        letters.as_str()
    ))
}

/// How many actions a policy draws to choose among, where its file says it.
fn candidates(policy: &Path) -> Result<Option<String>> {
    let bytes = fs::read(policy).with_context(|| format!("cannot read {}", policy.display()))?;
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let header: serde_json::Value = serde_json::from_slice(rest.get(..length).unwrap_or(&[]))?;
    let place = &header["sampled.candidates"]["data_offsets"][0];
    let Some(at) = place.as_u64() else {
        return Ok(None);
    };
    let value = rest.get(length + usize::try_from(at)?..);
    let value = value.and_then(|rest| rest.first_chunk::<4>());
    Ok(value.map(|bytes| format!("{:.0}", f32::from_le_bytes(*bytes))))
}

/// The C program that measures, at `program`.
fn compile(bench: &Bench<'_>, program: &Path) -> Result<()> {
    let library = bench.beside("libspar_c.a")?;
    let crate_c = bench.root.join("crates/spar-c");
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-O2", "-I"])
        .arg(crate_c.join("include"));
    cc.arg(crate_c.join("examples/time.c")).arg(&library);
    cc.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(program);
    said(&mut cc).map(drop)
}

/// `spar act` at a socket, for as long as this lives.
struct Served(Child);

impl Served {
    fn start(spar: &Path, policy: &Path, socket: &Path) -> Result<Self> {
        let mut act = Command::new(spar);
        act.args(["act", "--format", "f32", "--policy"]).arg(policy);
        act.arg("--socket").arg(socket).stderr(Stdio::null());
        let mut served = Self(act.spawn().context("cannot start `spar act`")?);
        for _ in 0..500 {
            if socket.exists() {
                return Ok(served);
            }
            if served.0.try_wait()?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("`spar act --policy {}` does not listen", policy.display())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(command: &mut Command) -> Result<f64> {
    Ok(said(command)?.trim().parse()?)
}

/// Programs that wait for a core, over a minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

impl fmt::Display for Acting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = &self.load;
        writeln!(
            f,
            "microseconds of one action, the fastest of 200 rounds, on one core of {} ({}, commit \
             {}; load {before} to {after})",
            self.cpu, self.measured.date, self.measured.commit
        )?;
        let header = [
            "policy",
            "candidates",
            "Rust",
            "C",
            "socket",
            "tract",
            "ONNX Runtime",
        ];
        let mut table = report::table(&header);
        let shown = |time: Option<f64>| time.map_or("-".to_owned(), |us| format!("{us:.1}"));
        for row in &self.rows {
            let candidates = row.candidates.as_deref().unwrap_or("-");
            table.add_row([
                row.policy.to_owned(),
                candidates.to_owned(),
                shown(Some(row.rust)),
                shown(Some(row.c)),
                shown(row.socket),
                shown(row.tract),
                shown(row.onnxruntime),
            ]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_that_was_written_takes_its_place_in_the_page() {
        let acting = Acting {
            measured: Measured::default(),
            cpu: "a CPU".to_owned(),
            load: ["0.10".to_owned(), "0.20".to_owned()],
            rows: vec![Row {
                policy: "spar".to_owned(),
                candidates: None,
                rust: 12.34,
                c: 12.5,
                socket: Some(30.0),
                tract: None,
                onnxruntime: Some(20.0),
            }],
        };
        // As it is read from acting.json.
        let text = serde_json::to_string(&acting).unwrap();
        let acting: Acting = serde_json::from_str(&text).unwrap();
        let page = "words\n<!-- acting -->\nold\n<!-- end -->\nmore\n";
        let written = with_acting(page, &acting).unwrap();
        assert!(written.starts_with("words\n<!-- acting -->\n\nMicroseconds of one action"));
        assert!(written.ends_with("|\n\n<!-- end -->\nmore\n"), "{written}");
        let row = written.lines().find(|line| line.contains("spar")).unwrap();
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            ["", "spar", "-", "12.3", "12.5", "30.0", "-", "20.0", ""]
        );
        assert!(!written.contains("old"));
        assert_eq!(with_acting(&written, &acting).unwrap(), written);
        assert!(with_acting("no place", &acting).is_err());
        // The page that it is for has one.
        let page = fs::read_to_string(crate::bench::root().join(DEPLOY)).unwrap();
        with_acting(&page, &acting).unwrap();
    }
}
