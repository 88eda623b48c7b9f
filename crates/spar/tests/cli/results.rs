//! The runs the project publishes (`docs/runs`): they are what the suites ask for today,
//! and what the documents quote of them is what a report of them prints.

use std::{collections::BTreeSet, fs, path::Path};

use expect_test::expect_file;
use spar_core::{Suite, TaskId};
use spar_train::{Method, RunSpec, TrainConfig};

use crate::support::Folder;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The names in a folder, in order.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The suite of published runs `name`, and its every run: task, column, folder.
fn published(name: &str) -> (Suite, Vec<(TaskId, String, String)>) {
    let suite = Suite::load(format!("{ROOT}/suites/{name}.toml").as_ref()).unwrap();
    let runs = format!("{ROOT}/docs/runs/{name}-quick");
    let mut found = Vec::new();
    for task in names(&runs) {
        for column in names(&format!("{runs}/{task}")) {
            for seed in names(&format!("{runs}/{task}/{column}")) {
                let folder = format!("{runs}/{task}/{column}/{seed}");
                found.push((task.parse().unwrap(), column.clone(), folder));
            }
        }
    }
    assert!(!found.is_empty(), "{runs} holds no runs");
    (suite, found)
}

#[test]
fn published_runs_have_the_settings_their_suite_has_today() {
    for name in ["mujoco", "ablation"] {
        let (suite, runs) = published(name);
        for (task, column, folder) in runs {
            let spec = fs::read_to_string(format!("{folder}/spec.json")).unwrap();
            let there: RunSpec = serde_json::from_str(&spec).unwrap();
            let method: Method = column.parse().unwrap_or(Method::Spar);
            let table = suite.run_settings("quick", &task.to_string(), &column);
            let here = RunSpec {
                config: TrainConfig::for_method(table.unwrap(), method).unwrap(),
                eval_seed: suite.eval_seed,
                final_episodes: suite.presets["quick"].eval_episodes,
                ..there.clone()
            };
            assert_eq!(here.difference(&there), None, "{folder}");
            assert_eq!(here.updates(), there.updates(), "{folder}");
            assert_eq!(here.final_episodes, there.final_episodes, "{folder}");
        }
    }
}

/// The lines a report of published runs prints, of these columns and seeds.
fn report(name: &str, columns: &[String], seeds: &str) -> BTreeSet<String> {
    let folder = Folder::new();
    let done = folder.spar(&format!(
        "report --suite {ROOT}/suites/{name}.toml --preset quick --runs {ROOT}/docs/runs/{name}-quick --seeds {seeds} --methods {} --out report",
        columns.join(",")
    ));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let table = String::from_utf8(folder.read("report/table.md")).unwrap();
    table.lines().map(str::to_owned).collect()
}

/// The columns of published runs that every task of the suite has.
fn complete(suite: &Suite, runs: &[(TaskId, String, String)]) -> Vec<String> {
    let has =
        |task: &TaskId, column: &String| runs.iter().any(|(t, c, _)| t == task && c == column);
    let mut columns = suite.all_methods();
    columns.retain(|column| suite.tasks.iter().all(|task| has(task, column)));
    columns
}

/// The figure shows the one task that every variant has been run on.
#[test]
fn the_figure_of_sweeps_is_the_published_runs() {
    let (suite, _) = published("ablation");
    let folder = Folder::new();
    let done = folder.spar(&format!(
        "report --suite {ROOT}/suites/ablation.toml --preset quick --runs {ROOT}/docs/runs/ablation-quick --seeds 0 --tasks halfcheetah-medium-replay --methods {} --out report",
        suite.all_methods().join(",")
    ));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let drawn = String::from_utf8(folder.read("report/plots/sweeps.svg")).unwrap();
    expect_file!["../../../../docs/sweeps.svg"].assert_eq(&drawn);
}

/// Demands that section `title` of `file` quotes only what reports printed.
fn quotes(file: &str, title: &str, printed: &BTreeSet<String>) {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    let (_, section) = text
        .split_once(&format!("{title}\n"))
        .unwrap_or_else(|| panic!("{file} has no `{title}`"));
    let section = section.split("\n## ").next().unwrap_or(section);
    let lines = section.lines();
    let quoted: Vec<&str> = lines
        .filter(|line| line.starts_with('|') || line.starts_with("> **"))
        .collect();
    assert!(quoted.len() > 5, "{file} quotes nothing in `{title}`");
    for line in quoted {
        assert!(printed.contains(line), "{file} quotes\n{line}");
    }
}

#[test]
fn the_documents_quote_what_reports_of_the_published_runs_print() {
    let (suite, runs) = published("mujoco");
    let all = report("mujoco", &complete(&suite, &runs), "0");
    quotes("docs/results.md", "## The methods side by side", &all);
    let mut printed = report("mujoco", &suite.methods, "0,1");
    printed.extend(all);
    quotes("README.md", "## The table", &printed);
    let (suite, runs) = published("ablation");
    let printed = report("ablation", &complete(&suite, &runs), "0");
    quotes("docs/results.md", "## Is every part needed?", &printed);
}
