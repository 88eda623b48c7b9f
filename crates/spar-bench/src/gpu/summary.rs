//! One page and one JSON file of what the steps of `run.sh` left in a folder, complete or not:
//! a step that was cut off is named, and what others measured stays.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::bench::TOLERANCE;

/// How far a peer's losses may be from ours, as [`TOLERANCE`], for what multiplies on tensor cores with fewer bits.
const TOLERANCE_TF32: f64 = 3e-2;

/// Frameworks that are measured beside ours.
const PEERS: [&str; 2] = ["jax", "torch"];

/// Writes `summary.json` and `summary.md`, and prints the latter; whether every step that ran
/// holds.
pub(super) fn write(folder: &Path) -> Result<bool> {
    let steps = lines(&folder.join("steps.jsonl"))?;
    let mut said = Map::new();
    for name in steps.iter().filter_map(|step| step["step"].as_str()) {
        let file = folder.join(format!("{name}.json"));
        let answers = lines(&file).unwrap_or_default();
        if !answers.is_empty() {
            said.insert(name.to_owned(), Value::from(answers));
        }
    }
    let said = Value::Object(said);
    let failed = |step: &&Value| matches!(step["state"].as_str(), Some("failed" | "timed out"));
    let failed: Vec<_> = steps.iter().filter(failed).collect();
    let facts = fs::read_to_string(folder.join("machine.txt")).unwrap_or_default();
    let peers = peers(folder, &said);
    let page = page(&facts, &steps, &said, &peers);
    let all = json!({
        "machine": facts.lines().collect::<Vec<_>>(),
        "steps": steps, "results": said, "peers": peers, "holds": failed.is_empty(),
    });
    let text = serde_json::to_string_pretty(&all)?;
    for (name, text) in [("summary.json", &text), ("summary.md", &page)] {
        let file = folder.join(name);
        spar_core::write_atomic(&file, text.as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    print!("{page}");
    Ok(failed.is_empty())
}

/// The objects of a file of one a line; a line that was cut off is none. Paths within its
/// folder are said from there: the summary leaves the machine it was made on.
fn lines(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let folder = file.parent().unwrap_or(Path::new("")).join("");
    let text = text.replace(&format!("\"{}", folder.display()), "\"");
    let values = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok(values.filter(Value::is_object).collect())
}

/// The first object a step said.
fn first<'a>(said: &'a Value, step: &str) -> Option<&'a Value> {
    said.get(step)?.get(0)
}

/// What the peers answered to each request: microseconds of an update, and how far their losses
/// are from ours.
fn peers(folder: &Path, said: &Value) -> Vec<Value> {
    let ours = first(said, "losses").map(|answer| &answer["losses"]);
    let mut all = Vec::new();
    for peer in PEERS {
        let requests = fs::read_to_string(folder.join(format!("{peer}.requests")));
        let Ok(requests) = requests else { continue };
        let answers = said.get(peer).and_then(Value::as_array);
        // The first says who is there.
        let mut answers = answers.into_iter().flatten().skip(1);
        let mut losses = Value::Null;
        for request in requests.lines() {
            let (Some(answer), Some((word, rest))) = (answers.next(), request.split_once(' '))
            else {
                break;
            };
            if word == "losses" {
                losses = answer.clone();
                continue;
            }
            let name = rest.split_whitespace().next().unwrap_or_default();
            let off = ours.and_then(|ours| furthest(ours, &losses["losses"]));
            let tolerance = if name.ends_with("tf32") {
                TOLERANCE_TF32
            } else {
                TOLERANCE
            };
            let steps = answer["steps"].as_f64().unwrap_or_default();
            let us = answer["wall_s"].as_f64().map(|s| 1e6 * s / steps);
            let error = [&losses, answer]
                .into_iter()
                .find_map(|a| a["error"].as_str());
            all.push(json!({
                "name": name, "wall_us": us, "losses_off": off, "error": error,
                "agrees": off.is_some_and(|off| off <= tolerance),
            }));
        }
    }
    all
}

/// The largest relative difference of any loss; nothing where they are not the same losses.
fn furthest(ours: &Value, theirs: &Value) -> Option<f64> {
    let ours = ours.as_object()?;
    let mut off: f64 = 0.0;
    for (name, values) in ours {
        let (values, others) = (values.as_array()?, theirs.get(name)?.as_array()?);
        if values.len() != others.len() || values.is_empty() {
            return None;
        }
        for (a, b) in values.iter().zip(others) {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            off = off.max((a - b).abs() / a.abs().max(f64::MIN_POSITIVE));
        }
    }
    (!ours.is_empty()).then_some(off)
}

fn number(value: &Value) -> String {
    if let Some(whole) = value.as_u64() {
        return whole.to_string();
    }
    match value.as_f64() {
        None => "-".to_owned(),
        Some(x) if x != 0.0 && x.abs() < 0.01 => format!("{x:.1e}"),
        Some(x) if x.abs() < 100.0 => format!("{x:.2}"),
        Some(x) => format!("{x:.0}"),
    }
}

/// A table's row.
fn row<const N: usize>(page: &mut String, cells: [&str; N]) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn head<const N: usize>(page: &mut String, title: &str, cells: [&str; N]) {
    let _ = writeln!(page, "\n## {title}\n");
    row(page, cells);
    row(page, ["---"; N]);
}

fn page(facts: &str, steps: &[Value], said: &Value, peers: &[Value]) -> String {
    let mut page = "# GPU check\n\n".to_owned();
    let device = first(said, "device").unwrap_or(&Value::Null);
    if device["stand_in"] != json!(false) {
        page += "**No GPU: this ran over the stand-in on the CPU. Times mean nothing.**\n\n";
    }
    for fact in facts.lines() {
        let _ = writeln!(page, "- {fact}");
    }
    head(&mut page, "Steps", ["step", "state", "seconds", "note"]);
    for step in steps {
        let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
        let seconds = number(&step["seconds"]);
        row(
            &mut page,
            [&text("step"), &text("state"), &seconds, &text("note")],
        );
    }
    agreement(&mut page, said);
    times(&mut page, said);
    beside(&mut page, said);
    head(
        &mut page,
        "Peers on the same GPU",
        ["program", "us an update", "losses off", "ratio to ours"],
    );
    let ours = first(said, "time").map_or(&Value::Null, |time| &time["update"]["wall_us"]);
    row(&mut page, ["spar", &number(ours), "0", "1"]);
    for peer in peers {
        let ratio = match (peer["wall_us"].as_f64(), ours.as_f64()) {
            _ if peer["agrees"] != json!(true) => peer["error"]
                .as_str()
                .unwrap_or("computes something else")
                .to_owned(),
            (Some(theirs), Some(ours)) => format!("{:.2}", theirs / ours),
            _ => "-".to_owned(),
        };
        let name = peer["name"].as_str().unwrap_or_default();
        row(
            &mut page,
            [
                name,
                &number(&peer["wall_us"]),
                &number(&peer["losses_off"]),
                &ratio,
            ],
        );
    }
    page
}

fn agreement(page: &mut String, said: &Value) {
    let Some(agree) = first(said, "agree") else {
        return;
    };
    head(
        page,
        "Whole updates",
        ["compared with", "holds", "furthest off", "by", "one number"],
    );
    for check in agree["checks"].as_array().into_iter().flatten() {
        let text = |name: &str| check[name].as_str().unwrap_or_default();
        let holds = if check["holds"] == json!(true) {
            "yes"
        } else {
            "NO"
        };
        row(
            page,
            [
                text("what"),
                holds,
                text("furthest"),
                &number(&check["off"]),
                &number(&check["largest_off"]),
            ],
        );
    }
    for curve in first(said, "curves")
        .and_then(|c| c["curves"].as_array())
        .into_iter()
        .flatten()
    {
        let name = format!("curve {}", curve["name"].as_str().unwrap_or_default());
        let holds = if curve["holds"] == json!(true) {
            "yes"
        } else {
            "NO"
        };
        row(page, [&name, holds, "", &number(&curve["off"]), ""]);
    }
}

fn times(page: &mut String, said: &Value) {
    let Some(time) = first(said, "time") else {
        return;
    };
    let update = &time["update"];
    let _ = writeln!(
        page,
        "\n## Time of an update\n\n{} us by the clock, of which the host's CPU {} us; {} launches.",
        number(&update["wall_us"]),
        number(&update["host_cpu_us"]),
        number(&time["launches_per_update"]),
    );
    head(
        page,
        "Parts, by events",
        [
            "part",
            "us",
            "floor: flops",
            "floor: bytes",
            "GFLOP/s",
            "GB/s",
        ],
    );
    for part in time["parts"].as_array().into_iter().flatten() {
        let giga = |name: &str| number(&json!(part[name].as_f64().map(|x| x / 1e9)));
        row(
            page,
            [
                part["what"].as_str().unwrap_or_default(),
                &number(&part["device_us"]),
                &number(&part["flops_floor_us"]),
                &number(&part["bytes_floor_us"]),
                &giga("achieved_flops_per_s"),
                &giga("achieved_bytes_per_s"),
            ],
        );
    }
    head(
        page,
        "Kernels, launched by themselves",
        ["kernel", "launches an update", "us each", "us an update"],
    );
    for (name, kernel) in time["kernels"].as_object().into_iter().flatten() {
        let cell = |name: &str| number(&kernel[name]);
        row(
            page,
            [
                name,
                &cell("launches"),
                &cell("median_us"),
                &cell("us_per_update"),
            ],
        );
    }
}

fn beside(page: &mut String, said: &Value) {
    head(
        page,
        "Runs side by side",
        ["by", "runs", "updates/s in all", "of one alone"],
    );
    let all: Vec<_> = said.as_object().into_iter().flatten().collect();
    let all = all.iter().filter(|(name, _)| name.starts_with("beside-"));
    let mut all: Vec<_> = all.filter_map(|(_, answers)| answers.get(0)).collect();
    all.sort_by_key(|one| (one["by"].to_string(), one["runs"].as_u64()));
    for one in &all {
        let alone = all
            .iter()
            .find(|o| o["by"] == one["by"] && o["runs"] == json!(1));
        let alone = alone.and_then(|alone| alone["updates_per_s"].as_f64());
        let ratio = one["updates_per_s"]
            .as_f64()
            .zip(alone)
            .map(|(all, one)| all / one);
        let by = one["by"].as_str().unwrap_or_default();
        row(
            page,
            [
                by,
                &number(&one["runs"]),
                &number(&one["updates_per_s"]),
                &number(&json!(ratio)),
            ],
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_stays_whatever_else_broke() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let step = |name: &str, state: &str| {
            json!({ "step": name, "state": state, "seconds": 1.5, "note": "" }).to_string() + "\n"
        };
        put("device.json", r#"{"name":"H100","stand_in":false}"#);
        put(
            "beside-streams-1.json",
            r#"{"by":"streams","runs":1,"updates_per_s":100.0}"#,
        );
        put(
            "beside-streams-4.json",
            r#"{"by":"streams","runs":4,"updates_per_s":350.0}"#,
        );
        put("losses.json", r#"{"losses":{"q_loss":[1.0,2.0]}}"#);
        put("time.json", r#"{"update":{"wall_us":50.0},"par"#);
        put(
            "jax.requests",
            "losses spar/a\ntime spar/a 1\nlosses spar/b\ntime spar/b 1\n",
        );
        let answers = [
            r#"{"contenders":[]}"#,
            r#"{"losses":{"q_loss":[1.0,2.0002]}}"#,
            r#"{"steps":10,"cpu_s":1,"wall_s":0.001}"#,
            r#"{"losses":{"q_loss":[1.0,2.1]}}"#,
            r#"{"steps":10,"cpu_s":1,"wall_s":0.001}"#,
        ];
        put("jax.json", &answers.join("\n"));
        let policy = folder.path().join("run/policy");
        put("train-cpu.json", &json!({ "policy": policy }).to_string());
        let names = [
            "device",
            "beside-streams-1",
            "beside-streams-4",
            "losses",
            "jax",
            "train-cpu",
        ];
        let steps: String = names.iter().map(|name| step(name, "passed")).collect();
        put("steps.jsonl", &steps);
        assert!(write(folder.path()).unwrap());
        let all = fs::read_to_string(folder.path().join("summary.json")).unwrap();
        assert!(all.contains("\"run/policy\""), "{all}");
        put("steps.jsonl", &(steps + &step("time", "timed out")));
        assert!(
            !write(folder.path()).unwrap(),
            "a step that ran out of time holds"
        );
        let page = fs::read_to_string(folder.path().join("summary.md")).unwrap();
        for expected in [
            "| time | timed out | 1.50 |",
            "| streams | 4 | 350 | 3.50 |",
            "| spar/a | 100 | 1.0e-4 | - |",
            "| spar/b | 100 | 0.05 | computes something else |",
        ] {
            assert!(page.contains(expected), "no `{expected}` in\n{page}");
        }
        assert!(!page.contains("stand-in"), "{page}");
    }
}
