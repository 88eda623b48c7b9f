//! `spar theory`: the paper's claims put to the test. What algorithms must not do is done
//! here: reading runs and data, keeping finished claims, writing the outcome.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spar_core::{EnvId, Policy, TaskId, files::in_file, sha256_file, sha256_hex, write_atomic};
use spar_data::Dataset;
use spar_report::Results;
use spar_theory::{
    Claim, Sizes, TheoryError, chord, contraction, decoder, drift, improvement, markdown, support,
    terminal,
};
use spar_train::{RunSpec, policy_file};

use crate::output;

/// Raised when a claim's code changes what it measures, so that what an older program
/// left is not taken for what this one would find.
const VERSION: u32 = 1;

/// Methods whose runs are looked at, the anchor first.
const METHODS: [&str; 4] = ["bc", "spar", "td3bc", "iql"];

/// What to test, and on what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the outcome; a finished claim in it is used again
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder of a suite's runs, as `spar suite run` leaves it; its report is read too
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Data of a task of those runs, as in `hopper-medium=FILE`; once for each
    #[arg(long, value_name = "TASK=FILE", value_parser = task_file)]
    data: Vec<(TaskId, PathBuf)>,
    /// Seed of every stream
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Every path in seconds; the verdicts mean nothing
    #[arg(long)]
    smoke: bool,
    /// Only these claims, as in `1-drift,3-contraction`
    #[arg(long, value_delimiter = ',')]
    claims: Vec<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

fn task_file(text: &str) -> Result<(TaskId, PathBuf), String> {
    let parts = text.split_once('=').ok_or("expected TASK=FILE")?;
    let task = parts.0.parse().map_err(|e| format!("{e}"))?;
    Ok((task, PathBuf::from(parts.1)))
}

/// What decides a claim's bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Spec {
    claim: String,
    version: u32,
    seed: u64,
    sizes: Sizes,
    /// SHA-256 of everything read for it, by name.
    read: BTreeMap<String, String>,
}

/// A finished claim in its file.
#[derive(Serialize, Deserialize)]
struct Kept {
    spec: Spec,
    claim: Claim,
}

/// What `theory.json` holds.
#[derive(Serialize)]
struct Outcome<'a> {
    version: u32,
    seed: u64,
    sizes: &'a Sizes,
    claims: &'a [Claim],
}

/// A claim's name, whether it reads a suite's runs, and its test.
struct Test<'a> {
    id: &'static str,
    read: BTreeMap<String, String>,
    run: Box<dyn FnOnce() -> Result<Claim, TheoryError> + 'a>,
}

/// Puts the claims to the test and writes the outcome.
pub(crate) fn run(args: &Args) -> Result<()> {
    let sizes = &if args.smoke {
        Sizes::smoke()
    } else {
        Sizes::full()
    };
    let seed = args.seed;
    let found = match &args.runs {
        Some(runs) => Found::read(runs, &args.data)?,
        None => Found::default(),
    };
    let tests = [
        test("1-drift", move || drift::drift(sizes, seed)),
        test("1-decoder", move || decoder::decoder(sizes, seed)),
        test("2-chord", move || chord::chord(sizes, seed)),
        test("2-literal", move || Ok(chord::literal(sizes, seed))),
        test("3-contraction", move || {
            contraction::contraction(sizes, seed)
        }),
        Test {
            read: found.policies_read.clone(),
            ..test("4-support", || {
                support::support(&found.suites(sizes.rows), sizes, seed)
            })
        },
        Test {
            read: found.report_read.clone(),
            ..test("5-improvement", || {
                improvement::improvement(found.results.as_ref(), sizes, seed)
            })
        },
    ];
    let known: Vec<&str> = tests.iter().map(|test| test.id).collect();
    if let Some(got) = args.claims.iter().find(|c| !known.contains(&c.as_str())) {
        let expected = known.join(", ");
        let why = format!("there is no claim `{got}`; expected one of: {expected}");
        return Err(crate::failure::Usage(why).into());
    }
    let mut claims = Vec::new();
    for test in tests {
        if args.claims.is_empty() || args.claims.iter().any(|c| c == test.id) {
            claims.push(tested(test, &args.out, sizes, seed)?);
        }
    }
    write(&args.out, &claims, sizes, args)?;
    if args.json {
        output::json(&Outcome {
            version: VERSION,
            seed,
            sizes,
            claims: &claims,
        })?;
    } else {
        output::text(&terminal(&claims))?;
    }
    let blind = claims.iter().flat_map(|claim| &claim.controls);
    let blind = blind.filter(|control| !control.caught).count();
    if blind > 0 && !args.smoke {
        bail!("{blind} negative controls were not caught: the claims' rules cannot be trusted");
    }
    Ok(())
}

fn test<'a>(id: &'static str, run: impl FnOnce() -> Result<Claim, TheoryError> + 'a) -> Test<'a> {
    Test {
        id,
        read: BTreeMap::new(),
        run: Box::new(run),
    }
}

/// The claim as an earlier run left it, or as it is found now, which is then kept.
fn tested(test: Test<'_>, out: &Path, sizes: &Sizes, seed: u64) -> Result<Claim> {
    let path = out.join("claims").join(format!("{}.json", test.id));
    let spec = Spec {
        claim: test.id.to_owned(),
        version: VERSION,
        seed,
        sizes: sizes.clone(),
        read: test.read,
    };
    // A file of another version is no claim of this one: it is made again.
    let kept: Option<Kept> = fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(kept) = kept.filter(|kept| kept.spec == spec) {
        output::say(&format!(
            "{}: {} (kept)",
            test.id,
            kept.claim.verdict.name()
        ));
        return Ok(kept.claim);
    }
    let started = Instant::now();
    let claim = (test.run)().with_context(|| format!("cannot test claim {}", test.id))?;
    let seconds = started.elapsed().as_secs_f64();
    output::say(&format!(
        "{}: {} in {seconds:.1} s",
        test.id,
        claim.verdict.name()
    ));
    let kept = Kept { spec, claim };
    let text = serde_json::to_string_pretty(&kept).context("cannot write JSON")?;
    write_atomic(&path, text.as_bytes())?;
    Ok(kept.claim)
}

fn write(out: &Path, claims: &[Claim], sizes: &Sizes, args: &Args) -> Result<()> {
    let outcome = Outcome {
        version: VERSION,
        seed: args.seed,
        sizes,
        claims,
    };
    let json = serde_json::to_string_pretty(&outcome).context("cannot write JSON")?;
    write_atomic(&out.join("theory.json"), json.as_bytes())?;
    let mut notes = vec![
        format!(
            "seed {}; sizes: {}",
            args.seed,
            serde_json::to_string(sizes)?
        ),
        format!("commit: {}", crate::provenance::commit()),
    ];
    match &args.runs {
        Some(runs) => notes.push(format!("runs: {}", runs.display())),
        None => notes.push(
            "no runs of a suite were given: claims 4 and 5 rest on synthetic tasks".to_owned(),
        ),
    }
    if args.smoke {
        notes.push("**smoke sizes: the verdicts mean nothing**".to_owned());
    }
    write_atomic(&out.join("theory.md"), markdown(claims, &notes).as_bytes())?;
    for figure in claims.iter().flat_map(|claim| &claim.figures) {
        let path = out.join(format!("{}.svg", figure.name));
        write_atomic(&path, figure.svg()?.as_bytes())?;
    }
    Ok(())
}

/// Everything of a suite's runs that claims look at.
#[derive(Default)]
struct Found {
    tasks: Vec<FoundTask>,
    results: Option<Results>,
    policies_read: BTreeMap<String, String>,
    report_read: BTreeMap<String, String>,
}

struct FoundTask {
    task: TaskId,
    data: Result<PathBuf, String>,
    runs: Vec<FoundRun>,
}

/// Method, seed, and the policy where the run is finished.
type FoundRun = (String, u64, Option<Box<dyn Policy>>);

impl Found {
    fn read(runs: &Path, data: &[(TaskId, PathBuf)]) -> Result<Self> {
        let mut found = Self::default();
        let mut tasks: Vec<TaskId> = folders(runs)?
            .iter()
            .filter_map(|n| n.parse().ok())
            .collect();
        tasks.sort();
        if tasks.is_empty() {
            bail!(
                "{}: no task's folder there; expected <task>/<method>/seed-<n>, as \
                 `spar suite run` makes them",
                runs.display()
            );
        }
        for task in tasks {
            let task = found.task(runs, task, data)?;
            found.tasks.push(task);
        }
        let report = runs.join("report/results.json");
        if report.exists() {
            found.results = Some(read_json(&report)?);
            let hash = sha256_file(&report)?;
            found.report_read.insert("results.json".to_owned(), hash);
        }
        Ok(found)
    }

    /// The runs of one task, and its data if they are those the runs were trained on.
    fn task(&mut self, runs: &Path, task: TaskId, data: &[(TaskId, PathBuf)]) -> Result<FoundTask> {
        let folder = runs.join(task.to_string());
        let given = data.iter().find(|(t, _)| *t == task);
        let given = given.ok_or_else(|| format!("no data; give --data {task}=FILE"));
        let mut path = given.map(|(_, path)| path.clone());
        let hash = path
            .as_ref()
            .ok()
            .map(|path| sha256_file(path))
            .transpose()?;
        let mut policies: Vec<FoundRun> = Vec::new();
        for method in METHODS {
            for name in folders(&folder.join(method)).unwrap_or_default() {
                let Some(seed) = name.strip_prefix("seed-").and_then(|n| n.parse().ok()) else {
                    continue;
                };
                let run = folder.join(method).join(&name);
                let file = run.join("policy.safetensors");
                if !run.join("DONE").exists() || !file.exists() {
                    policies.push((method.to_owned(), seed, None));
                    continue;
                }
                let spec: RunSpec = read_json(&run.join("spec.json"))?;
                if let Some(hash) = hash.as_ref().filter(|hash| **hash != spec.dataset.sha256) {
                    path = Err(format!(
                        "the data given have sha256 {}, {method}'s run was trained on {}",
                        hash.get(..12).unwrap_or(hash),
                        spec.dataset.sha256.get(..12).unwrap_or_default()
                    ));
                }
                let key = format!("{task}/{method}/{name}");
                self.policies_read.insert(key, sha256_file(&file)?);
                let policy = policy_file::read(&file, task.env())?;
                let policy: Box<dyn Policy> = Box::new(policy);
                policies.push((method.to_owned(), seed, Some(policy)));
            }
            if !policies.iter().any(|(name, ..)| name == method) {
                policies.push((method.to_owned(), 0, None));
            }
        }
        policies.sort_by_key(|(_, seed, _)| *seed);
        policies.sort_by_key(|(method, ..)| METHODS.iter().position(|m| m == method));
        let what = match (&path, hash) {
            (Ok(_), Some(hash)) => hash,
            (Err(why), _) => sha256_hex(why.as_bytes()),
            (Ok(_), None) => String::new(),
        };
        self.policies_read.insert(format!("{task}/data"), what);
        Ok(FoundTask {
            task,
            data: path,
            runs: policies,
        })
    }

    /// As the claim takes them; data are read now, so that a kept claim costs nothing.
    fn suites(&self, rows: usize) -> Vec<support::Suite<'_>> {
        self.tasks
            .iter()
            .map(|found| support::Suite {
                task: found.task.to_string(),
                cloud: found
                    .data
                    .clone()
                    .and_then(|path| cloud(&path, found.task.env(), rows)),
                runs: found
                    .runs
                    .iter()
                    .map(|(method, seed, policy)| support::Run {
                        method: method.clone(),
                        seed: *seed,
                        policy: policy.as_deref(),
                    })
                    .collect(),
            })
            .collect()
    }
}

fn cloud(path: &Path, env: EnvId, rows: usize) -> Result<support::Cloud, String> {
    let data = Dataset::read_training(path, env).map_err(|e| e.to_string())?;
    let Dataset {
        observations,
        actions,
        obs_dim,
        act_dim,
        ..
    } = &data;
    support::Cloud::new(observations, actions, *obs_dim, *act_dim, rows).map_err(|e| e.to_string())
}

/// Names of the folders in `path`.
fn folders(path: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(path).map_err(|e| in_file(e, path))?;
    let folder = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        entry.path().is_dir().then_some(name)
    };
    let mut names: Vec<String> = entries.filter_map(folder).collect();
    names.sort();
    Ok(names)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).map_err(|e| in_file(e, path))?;
    serde_json::from_slice(&text).with_context(|| format!("{}: not valid", path.display()))
}
