//! Two short training runs of `spar train`, on the CPU and on the GPU: what their logs say
//! must agree, though rounding makes every number another one.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use spar_core::{EnvId, Stream};
use spar_data::{Row, Writer};

/// How far a number of the log may be off, as a share of the largest of its curve. Both runs
/// see the same batches and noise; after thousands of updates rounding alone stays well below.
const TOLERANCE: f64 = 0.05;

/// Episodes of [`data`].
const EPISODES: usize = 60;

/// A curve of both runs.
#[derive(Debug, Serialize)]
struct Curve {
    name: String,
    points: usize,
    /// The largest difference, as a share of the CPU's largest number.
    off: f64,
    holds: bool,
}

/// Numbers by curve and update.
type Log = BTreeMap<String, BTreeMap<u64, f64>>;

/// Compares the logs of two run folders; whether all curves agree.
pub(super) fn compare(cpu: &Path, gpu: &Path) -> Result<(Value, bool)> {
    let (cpu, gpu) = (log(cpu)?, log(gpu)?);
    let curves: Vec<_> = cpu
        .iter()
        .map(|(name, cpu)| curve(name, cpu, gpu.get(name)))
        .collect();
    ensure!(!curves.is_empty(), "the run on the CPU has logged nothing");
    let holds = cpu.len() == gpu.len() && curves.iter().all(|curve| curve.holds);
    let said = json!({ "tolerance": TOLERANCE, "curves": curves });
    Ok((said, holds))
}

fn curve(name: &str, cpu: &BTreeMap<u64, f64>, gpu: Option<&BTreeMap<u64, f64>>) -> Curve {
    let largest = cpu
        .values()
        .fold(f64::MIN_POSITIVE, |most, v| most.max(v.abs()));
    let same = gpu.is_some_and(|gpu| gpu.keys().eq(cpu.keys()));
    let pairs = cpu.values().zip(gpu.into_iter().flat_map(BTreeMap::values));
    let differences = pairs.map(|(cpu, gpu)| (cpu - gpu).abs() / largest);
    let off = differences.fold(0.0, f64::max);
    Curve {
        name: name.to_owned(),
        points: cpu.len(),
        holds: same && off <= TOLERANCE,
        off,
    }
}

/// The numbers of a run's `metrics.jsonl`, by phase and name.
fn log(folder: &Path) -> Result<Log> {
    let file = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut log = Log::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).context("a line of metrics.jsonl")?;
        let (Some(phase), Some(update)) = (line["phase"].as_str(), line["update"].as_u64()) else {
            continue;
        };
        let mut point = |name: &str, value: &Value| {
            if let Some(value) = value.as_f64() {
                let curve = log.entry(format!("{phase}.{name}")).or_default();
                curve.insert(update, value);
            }
        };
        let Value::Object(entries) = &line else {
            bail!("a line of metrics.jsonl is no object");
        };
        for (name, value) in entries.iter().filter(|(name, _)| *name != "update") {
            point(name, value);
            for (inner, value) in value.as_object().into_iter().flatten() {
                point(&format!("{name}.{inner}"), value);
            }
        }
    }
    Ok(log)
}

/// Writes episodes of a point mass pushed at random to `file`: the one environment that needs
/// no MuJoCo, so that whole runs with their evaluation work on a bare machine.
pub(super) fn data(file: &Path) -> Result<Value> {
    let env = EnvId::POINT_MASS;
    let says = "a point mass pushed at random, to check a GPU with; no task's data";
    let metadata = [("spar_content".to_owned(), says.into())].into();
    let mut writer = Writer::create(file, env.obs_dim(), env.act_dim(), 1, 1, &metadata)?;
    let mut stream = Stream::new(0, "gpu/point-mass");
    let mut rows = 0;
    for _ in 0..EPISODES {
        let [mut x, mut v] = [stream.uniform(-1.0, 1.0), 0.0];
        for step in 1..=env.horizon() {
            let [x0, v0] = [x, v];
            let force = (0.5 * stream.normal() - x - v).clamp(-1.0, 1.0);
            // The environment's step; it is a test's, and its state is its observation.
            v += 0.1 * force;
            x += 0.1 * v;
            let terminal = x.abs() > 2.0;
            writer.push(&Row {
                obs: &[x0 as f32, v0 as f32],
                action: &[force as f32],
                reward: (1.0 - x * x - 0.01 * force * force) as f32,
                terminal,
                timeout: !terminal && step == env.horizon(),
                next_obs: &[x as f32, v as f32],
                qpos: &[x0],
                qvel: &[v0],
            })?;
            rows += 1;
            if terminal {
                break;
            }
        }
    }
    writer.finish()?;
    Ok(json!({ "rows": rows }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(lines: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let head = r#"{"run":{"seed":1}}"#;
        fs::write(
            folder.path().join("metrics.jsonl"),
            format!("{head}\n{lines}"),
        )
        .unwrap();
        folder
    }

    #[test]
    fn curves_that_part_are_told() {
        let line = |update, q, kl| {
            format!(r#"{{"phase":"spar","update":{update},"critic":{{"q_loss":{q}}},"kl":{kl}}}"#)
                + "\n"
        };
        let cpu = run(&(line(1000, 2.0, 1.0) + &line(2000, 1.0, 0.5)));
        let holds = |lines: String| compare(cpu.path(), run(&lines).path()).unwrap().1;
        assert!(holds(line(1000, 2.0, 1.0) + &line(2000, 1.09, 0.5)));
        assert!(!holds(line(1000, 2.0, 1.0) + &line(2000, 1.11, 0.5)));
        assert!(!holds(line(1000, 2.0, 1.0)), "a shorter run");
        assert!(!holds(line(1000, 2.0, 1.0) + &line(2000, 1.0, 0.4)));
        let said = compare(cpu.path(), cpu.path()).unwrap().0;
        assert_eq!(said["curves"].as_array().unwrap().len(), 2, "{said}");
        assert!(
            compare(run("").path(), cpu.path()).is_err(),
            "nothing to compare"
        );
    }
}
