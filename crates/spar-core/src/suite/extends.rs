//! Tables laid over tables: one suite file over another, a task's settings over all
//! tasks', a method's over its defaults.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{OF_SPAR, OwnTask, SPAR, Suite, SuiteError, parse_error};
use crate::{
    files::in_file,
    names,
    task::{TaskId, TaskSpec},
};

/// Tables that hold one of several choices, by the last part of their name: the keys
/// are the choices' names, and at most one of them may stand. `spar-baselines` tests that
/// these are all it has.
pub const CHOICES: [&str; 1] = ["rewards"];

/// Lays `over` over `base`: tables merge, values replace. Of a table that holds a choice
/// ([`CHOICES`]) only the choice that `over` names stays.
pub fn overlay(base: &mut Table, over: &Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => {
                if CHOICES.contains(&key.as_str()) {
                    below.retain(|choice, _| above.contains_key(choice));
                }
                overlay(below, above);
            }
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The suite file at `path` as a table: laid over the one beside it that its `extends`
/// names, if any, without that one's methods but SPAR, its variants and bands, and what it
/// says of tasks this one does not have. With `inherit_methods = true` it has that one's
/// methods as well, but for those that it has a table of its own for: of these nothing is
/// that one's. That one may extend another.
pub(super) fn table(path: &Path) -> Result<Table, SuiteError> {
    extended(path, &mut Vec::new())
}

/// Makes the tasks that `suite` defines known, before what names them is read.
fn register_own_tasks(suite: &Table) -> Result<(), String> {
    let Some(own) = suite.get("define").and_then(Value::as_table) else {
        return Ok(());
    };
    let of = suite.get("name").and_then(Value::as_str).unwrap_or("none");
    for (name, table) in own {
        let wrong = |why: &str| format!("[define.{name}]: {why}");
        let OwnTask { env } = table
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| wrong(&e.message().replace('\n', " ")))?;
        let task = TaskSpec {
            name: name.clone().into(),
            env,
            level: None,
            official_id: None,
            suite: of.to_owned().into(),
        };
        TaskId::register(task).map_err(|e| wrong(&e.to_string()))?;
    }
    Ok(())
}

/// Puts SPAR's settings where they belong, in a file from before they had a table of their
/// own: those in `[train]`, `[task.<task>]` and `[presets.<preset>.train]` into
/// `[method.spar]`, `[method.spar.task.<task>]` and `[presets.<preset>.method.spar]`.
fn move_settings_of_spar(suite: &mut Table) -> Result<(), String> {
    let names = |suite: &Table, table: &str| -> Vec<String> {
        let table = suite.get(table).and_then(Value::as_table);
        table.into_iter().flat_map(Table::keys).cloned().collect()
    };
    let mut moves = vec![(
        vec!["train".to_owned()],
        vec!["method".to_owned(), SPAR.to_owned()],
    )];
    for task in names(suite, "task") {
        let to = ["method", SPAR, "task", &task].map(str::to_owned).to_vec();
        moves.push((vec!["task".to_owned(), task], to));
    }
    for preset in names(suite, "presets") {
        let path = |rest: &[&str]| {
            let path = ["presets", &preset].into_iter().chain(rest.iter().copied());
            path.map(str::to_owned).collect()
        };
        moves.push((path(&["train"]), path(&["method", SPAR])));
    }
    let extends = suite.contains_key("extends");
    for (from, to) in moves {
        let Some(table) = at(suite, &from) else {
            continue;
        };
        let moved = OF_SPAR.map(|key| table.remove_entry(key));
        for (key, mut value) in moved.into_iter().flatten() {
            // Without a penalty such a file meant the critic that had none.
            if !extends
                && from == ["train"]
                && key == "critic"
                && let Value::Table(critic) = &mut value
            {
                for penalty in ["penalty", "penalty_ratio"] {
                    critic.entry(penalty).or_insert(Value::Float(0.0));
                }
            }
            let mut place = &mut *suite;
            for name in &to {
                let below = place.entry(name).or_insert_with(|| Table::new().into());
                let Value::Table(below) = below else {
                    return Err(format!("`{name}` is {below}, expected a table"));
                };
                place = below;
            }
            if place.contains_key(&key) {
                let (from, to) = (from.join("."), to.join("."));
                return Err(format!(
                    "SPAR's `{key}` stands in [{from}] and in [{to}]; leave it in the latter"
                ));
            }
            place.insert(key, value);
        }
    }
    Ok(())
}

/// The table at `path`, if there is one.
fn at<'a>(suite: &'a mut Table, path: &[String]) -> Option<&'a mut Table> {
    path.iter()
        .try_fold(suite, |table, name| table.get_mut(name)?.as_table_mut())
}

/// [`table`] of a file that those at `above` extend, one the next.
fn extended(path: &Path, above: &mut Vec<PathBuf>) -> Result<Table, SuiteError> {
    let wrong = |why: String| SuiteError::Parse {
        path: path.display().to_string(),
        why,
    };
    let text = fs::read_to_string(path).map_err(|e| in_file(e, path))?;
    let mut own: Table = toml::from_str(&text).map_err(|e| wrong(parse_error(&text, &e)))?;
    register_own_tasks(&own).map_err(wrong)?;
    move_settings_of_spar(&mut own).map_err(wrong)?;
    let Some(name) = own.remove("extends") else {
        // Read again as what it has to be: an error then has its line.
        if above.is_empty() {
            toml::from_str::<Suite>(&text).map_err(|e| wrong(parse_error(&text, &e)))?;
        }
        return Ok(own);
    };
    let Some(name) = name.as_str() else {
        let why = format!("`extends` is {name}, expected the name of a suite beside it");
        return Err(wrong(why));
    };
    names::check("`extends`", name).map_err(|e| wrong(e.to_string()))?;
    above.push(path.to_owned());
    // A name may hold a dot: it is no extension to be replaced.
    let base = path.with_file_name(format!("{name}.toml"));
    if above.contains(&base) {
        let why = format!("`extends = \"{name}\"` leads back to a suite that extends this one");
        return Err(wrong(why));
    }
    let inherits = match own.remove("inherit_methods") {
        None => false,
        Some(Value::Boolean(inherits)) => inherits,
        Some(other) => {
            let why = format!("`inherit_methods` is {other}, expected true or false");
            return Err(wrong(why));
        }
    };
    let mut merged = extended(&base, above)?;
    for left_out in ["methods", "variant", "bands"] {
        merged.remove(left_out);
    }
    let own_methods = own.get("method").and_then(Value::as_table);
    let stays = |method: &str| {
        method == SPAR || inherits && own_methods.is_none_or(|own| !own.contains_key(method))
    };
    let keep = |table: &mut Table| {
        if let Some(Value::Table(methods)) = table.get_mut("method") {
            methods.retain(|method, _| stays(method));
        }
    };
    keep(&mut merged);
    let presets = merged.get_mut("presets").and_then(Value::as_table_mut);
    for (_, preset) in presets.into_iter().flatten() {
        preset.as_table_mut().map(keep);
    }
    if let Some(tasks) = own.get("tasks").and_then(Value::as_array) {
        let keep = |table: &mut Table| {
            if let Some(Value::Table(of_tasks)) = table.get_mut("task") {
                of_tasks.retain(|task, _| tasks.iter().any(|kept| kept.as_str() == Some(task)));
            }
        };
        keep(&mut merged);
        let methods = merged.get_mut("method").and_then(Value::as_table_mut);
        for (_, method) in methods.into_iter().flatten() {
            method.as_table_mut().map(keep);
        }
    }
    overlay(&mut merged, &own);
    Ok(merged)
}
