//! The runs the project publishes (`docs/runs`): they are what the suites ask for today,
//! and what the documents quote of them is what a report of them prints.

use std::{collections::BTreeMap, fs, path::Path};

use expect_test::expect_file;
use spar_core::{Suite, TaskId};
use spar_train::{Method, RunSpec, TrainConfig};

use crate::support::{Folder, ROOT};

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
    for name in ["mujoco", "ablation", "maze2d", "antmaze", "adroit", "ant"] {
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
            assert_eq!(here.differences(&there).unwrap(), [], "{folder}");
            assert_eq!(here.updates(), there.updates(), "{folder}");
            assert_eq!(here.final_episodes, there.final_episodes, "{folder}");
        }
    }
}

/// A first stage as long as the run left a column of untrained policies.
#[test]
fn every_preset_of_every_suite_trains_its_policies() {
    let mut untrained = Vec::new();
    for file in fs::read_dir(format!("{ROOT}/suites")).unwrap() {
        let suite = Suite::load(&file.unwrap().path()).unwrap();
        for preset in suite.presets.keys() {
            for (task, column) in suite.tasks.iter().flat_map(|task| {
                suite
                    .all_methods()
                    .into_iter()
                    .map(move |column| (task, column))
            }) {
                let method: Method = column.parse().unwrap_or(Method::Spar);
                let table = suite
                    .run_settings(preset, &task.to_string(), &column)
                    .unwrap();
                let config = TrainConfig::for_method(table, method).unwrap();
                let why = config.unlearned(method);
                untrained.extend(
                    why.map(|why| format!("{} {preset} {task} {column}: {why}", suite.name)),
                );
            }
        }
    }
    assert_eq!(untrained, [""; 0]);
}

/// What a report of published runs prints, of the tasks that there are runs of and the columns
/// that have these seeds of every one of them.
fn report(name: &str, seeds: &str) -> String {
    let (suite, runs) = published(name);
    let mut tasks = suite.tasks.clone();
    tasks.retain(|task| runs.iter().any(|(there, ..)| there == task));
    let whole = |column: &String| {
        tasks.iter().all(|task| {
            seeds.split(',').all(|seed| {
                let end = format!("{task}/{column}/seed-{seed}");
                runs.iter().any(|(_, _, folder)| folder.ends_with(&end))
            })
        })
    };
    let mut columns = suite.all_methods();
    columns.retain(whole);
    let folder = Folder::new();
    let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
    let done = folder.spar(&format!(
        "report --suite {ROOT}/suites/{name}.toml --preset quick --runs {ROOT}/docs/runs/{name}-quick --seeds {seeds} --tasks {} --methods {} --out report",
        tasks.join(","),
        columns.join(",")
    ));
    assert_eq!(done.code, Some(0), "{}", done.err);
    String::from_utf8(folder.read("report/table.md")).unwrap()
}

/// A part of a report: all before its first heading (`summary`), the first table there
/// (`table`), or the first table under a heading.
fn part<'a>(report: &'a str, name: &str) -> &'a str {
    let start = match name {
        "summary" | "table" => report.find("\n\n"),
        title => report.find(&format!("\n## {title}\n")),
    };
    let start = start.unwrap_or_else(|| panic!("a report has no `{name}`")) + 1;
    let section = report[start..].split("\n## ").next().unwrap().trim();
    if name == "summary" {
        return section;
    }
    let is_table = |block: &&str| block.starts_with('|');
    section.split("\n\n").find(is_table).unwrap()
}

/// The figure shows the one task that every variant has been run on.
#[test]
fn the_figure_of_sweeps_is_the_published_runs() {
    let folder = Folder::new();
    let done = folder.spar(&format!(
        "report --suite {ROOT}/suites/ablation.toml --preset quick --runs {ROOT}/docs/runs/ablation-quick --seeds 0 --tasks halfcheetah-medium-replay --methods all --out report"
    ));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let drawn = String::from_utf8(folder.read("report/plots/sweeps.svg")).unwrap();
    expect_file!["../../../../docs/sweeps.svg"].assert_eq(&drawn);
}

/// `file` with everything between `<!-- report SUITE SEEDS: PART -->` and `<!-- end -->` as
/// reports of the published runs print it now.
fn with_reports(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut reports: BTreeMap<&str, String> = BTreeMap::new();
    let mut written = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("<!-- report ") {
        let (marker, after) = after.split_once(" -->\n").unwrap();
        let (of, name) = marker.split_once(": ").unwrap();
        let (suite, seeds) = of.split_once(' ').unwrap();
        let report = reports.entry(of).or_insert_with(|| report(suite, seeds));
        let part = part(report, name);
        written += &format!("{before}<!-- report {marker} -->\n\n{part}\n\n");
        rest = &after[after.find("<!-- end -->").unwrap()..];
    }
    assert!(!reports.is_empty(), "{file} quotes no report");
    written + rest
}

/// The first page has one line a suite: its numbers are those of the suite's own table.
#[test]
fn the_overview_of_the_suites_is_their_tables() {
    let read = |file: &str| fs::read_to_string(format!("{ROOT}/{file}")).unwrap();
    let overview = read("docs/results.md");
    let mut suites = 0;
    for line in overview.lines().filter(|line| line.starts_with("| [")) {
        let Some((name, tasks)) = line
            .trim_start_matches("| [")
            .split_once("](results/")
            .filter(|_| line.contains(" tasks |"))
        else {
            continue;
        };
        suites += 1;
        let page = match name {
            // Of three seeds, as the README's.
            "mujoco" => read("README.md"),
            _ => read(&format!("docs/results/{name}.md")),
        };
        let mean = page.lines().find(|row| row.starts_with("| mean of "));
        let mean = mean.unwrap_or_else(|| panic!("{name} has no row of means"));
        let cells: Vec<&str> = tasks.split('|').skip(2).map(str::trim).collect();
        let best = cells[3].trim_matches('*').rsplit(' ').next().unwrap();
        for number in [cells[0], cells[1], cells[2], best].map(|cell| cell.trim_matches('*')) {
            assert!(mean.contains(number), "{name}: `{number}` is not in {mean}");
        }
    }
    assert_eq!(suites, 5);
}

/// The suites with three seeds of published runs, of which bands can be made.
/// `UPDATE_EXPECT=1 cargo xtask test --test cli results` writes bands and tables anew.
#[test]
fn the_bands_of_the_suites_are_those_of_the_published_runs() {
    let folder = Folder::new();
    for file in names(&format!("{ROOT}/suites")) {
        fs::copy(format!("{ROOT}/suites/{file}"), folder.path(&file)).unwrap();
    }
    for name in ["mujoco", "maze2d", "antmaze", "adroit"] {
        let file = format!("{name}.toml");
        let path = Path::new(ROOT).join("suites").join(&file);
        let line = format!(
            "report bands --suite {file} --preset quick --runs {ROOT}/docs/runs/{name}-quick"
        );
        let printed = folder.spar(&line).ok();
        assert!(printed.contains("method = \"spar\""), "{printed}");
        for _ in 0..2 {
            // Once and twice: what this command wrote, it replaces.
            let done = folder.spar(&format!("{line} --write"));
            assert_eq!(
                (done.code, done.out.as_str()),
                (Some(0), ""),
                "{}",
                done.err
            );
            let written = String::from_utf8(folder.read(&file)).unwrap();
            assert!(written.contains(printed.trim()));
            expect_file![&path].assert_eq(&written);
        }
    }
}

/// `UPDATE_EXPECT=1 cargo xtask test --test cli results` writes the tables anew.
#[test]
fn the_documents_quote_what_reports_of_the_published_runs_print() {
    let mut quoting = 0;
    let pages = names(&format!("{ROOT}/docs/results"));
    let pages = pages.iter().map(|page| format!("docs/results/{page}"));
    for file in pages.chain(["README.md".to_owned()]) {
        let path = Path::new(ROOT).join(file);
        if fs::read_to_string(&path).unwrap().contains("<!-- report ") {
            quoting += 1;
            let text = with_reports(path.to_str().unwrap());
            expect_file![path].assert_eq(&text);
        }
    }
    assert!(quoting >= 7, "only {quoting} pages quote a report");
}
