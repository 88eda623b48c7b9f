//! `spar list`: what can be trained, where, on what, and with which settings.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use spar_core::{EnvId, TaskId, names::METHODS};
use spar_data::manifest;
use spar_train::{Method, TrainConfig};

use crate::output;

/// What to list.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Print one line of JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Methods that `spar train --method` takes
    Methods,
    /// Environments, and whether this program simulates them
    Envs,
    /// Tasks of D4RL, and whether their official data are here
    Tasks,
    /// A method's hyper-parameters with their types and defaults, as `spar train --set` takes them
    Settings {
        /// The method
        method: Method,
    },
}

/// `--list-methods`, `--list-envs` or `--list-tasks`, wherever it stands in a command line:
/// what is asked for then needs no other option.
pub(crate) fn asked(mut words: impl Iterator<Item = std::ffi::OsString>) -> Option<Args> {
    words.find_map(|word| {
        let what = match word.to_str()? {
            "--list-methods" => What::Methods,
            "--list-envs" => What::Envs,
            "--list-tasks" => What::Tasks,
            _ => return None,
        };
        Some(Args { what, json: false })
    })
}

#[derive(Serialize)]
struct MethodRow {
    name: &'static str,
    title: &'static str,
    /// Whether the run `bc` comes first.
    anchored: bool,
    devices: &'static [&'static str],
}

#[derive(Serialize)]
struct EnvRow {
    name: &'static str,
    obs_dim: usize,
    act_dim: usize,
    horizon: usize,
    reference_returns: Option<(f64, f64)>,
    simulated: bool,
}

#[derive(Serialize)]
struct TaskRow {
    name: &'static str,
    suite: &'static str,
    env: &'static str,
    official_id: Option<&'static str>,
    /// Whether the official file is in a folder where it is looked for.
    here: bool,
    /// Whether there is a recipe for data of its kind.
    recipe: bool,
}

/// Prints the list.
pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        What::Methods => methods(args.json),
        What::Envs => envs(args.json),
        What::Tasks => tasks(args.json),
        What::Settings { method } => settings(method, args.json),
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "–" }.to_owned()
}

fn methods(json: bool) -> Result<()> {
    let title = |name: &str| METHODS.iter().find(|(known, _)| *known == name);
    let rows: Vec<MethodRow> = Method::all()
        .map(|method| MethodRow {
            name: method.name(),
            title: title(method.name()).map_or("", |(_, title)| title),
            anchored: method.anchored() && method != Method::Bc,
            devices: match method {
                Method::Bc | Method::Spar => &["cpu", "cuda"],
                Method::Baseline(_) => &["cpu"],
            },
        })
        .collect();
    if json {
        return output::json(&rows);
    }
    let cells = rows.iter().map(|row| {
        vec![
            row.name.to_owned(),
            row.title.to_owned(),
            yes(row.anchored),
            row.devices.join(", "),
        ]
    });
    output::text(&output::table(
        &["method", "name", "grows out of bc", "devices"],
        cells,
    ))
}

fn envs(json: bool) -> Result<()> {
    let simulated = spar_env::simulated();
    let rows: Vec<EnvRow> = EnvId::all()
        .into_iter()
        .map(|env| EnvRow {
            name: env.name(),
            obs_dim: env.obs_dim(),
            act_dim: env.act_dim(),
            horizon: env.horizon(),
            reference_returns: env.reference_returns(),
            simulated: simulated.contains(&env),
        })
        .collect();
    if json {
        return output::json(&rows);
    }
    let cells = rows.iter().map(|row| {
        let (low, high) = row.reference_returns.unzip();
        let number = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.1}"));
        vec![
            row.name.to_owned(),
            row.obs_dim.to_string(),
            row.act_dim.to_string(),
            row.horizon.to_string(),
            number(low),
            number(high),
            yes(row.simulated),
        ]
    });
    output::text(&output::table(
        &[
            "environment",
            "observation",
            "action",
            "horizon",
            "return of score 0",
            "of 100",
            "simulated here",
        ],
        cells,
    ))
}

fn tasks(json: bool) -> Result<()> {
    let rows: Vec<TaskRow> = TaskId::all()
        .into_iter()
        .map(|task| TaskRow {
            name: task.name(),
            suite: task.suite(),
            env: task.env().name(),
            official_id: task.official_id(),
            here: manifest::official(task).is_some_and(|file| manifest::find(file).is_some()),
            recipe: spar_collect::recipe::rows_of(task, 1000).is_some()
                && spar_env::simulated().contains(&task.env()),
        })
        .collect();
    if json {
        return output::json(&rows);
    }
    let cells = rows.iter().map(|row| {
        vec![
            row.name.to_owned(),
            row.suite.to_owned(),
            row.env.to_owned(),
            row.official_id.unwrap_or("–").to_owned(),
            yes(row.here),
            yes(row.recipe),
        ]
    });
    output::text(&output::table(
        &[
            "task",
            "suite",
            "environment",
            "D4RL's id",
            "official file here",
            "made here",
        ],
        cells,
    ))
}

fn settings(method: Method, json: bool) -> Result<()> {
    let rows = TrainConfig::listed(method)?;
    if json {
        let rows: serde_json::Map<String, Value> = rows.into_iter().collect();
        return output::json(&rows);
    }
    let cells = rows.into_iter().map(|(key, value)| {
        let kind = kind(&key, &value);
        let value = match value {
            Value::Null => "none".to_owned(),
            other => other.to_string(),
        };
        vec![key, value, kind.to_owned()]
    });
    output::text(&output::table(&["setting", "default", "type"], cells))
}

/// What a setting takes: of the kind its default is, or, where there is none, by its name.
fn kind(key: &str, default: &Value) -> &'static str {
    match default {
        Value::Bool(_) => "true or false",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "whole number",
        Value::Null | Value::Object(_) => match key.rsplit('.').next().unwrap_or_default() {
            "file" | "method" | "blend" => "text",
            "draws" => "whole number",
            "value_bounds" => "list",
            _ => "number",
        },
    }
}
