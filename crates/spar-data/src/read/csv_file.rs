//! CSV files: one row a step, one column a number, named in the first line; [`Columns`]
//! says what the names mean.

use std::{collections::BTreeMap, fs::File, path::Path};

use spar_core::printable;

use crate::{
    columns::{self, Column, Columns, MOST_COLUMNS, Numbered, damaged},
    dataset::Dataset,
    error::DataError,
    read::Checked,
    reading::Asked,
};

/// Reads the file `checked`.
pub(crate) fn read(checked: &Checked, asked: Asked<'_>) -> Result<Dataset, DataError> {
    let columns = lines(checked.path(), asked.reading.reward.as_deref())?;
    columns.dataset(checked.scan()?.sha256, asked)
}

/// The columns of the file at `path`; that called `reward` holds numbers.
fn lines<'a>(path: &'a Path, reward: Option<&str>) -> Result<Columns<'a>, DataError> {
    let io = |source| DataError::Io {
        path: path.into(),
        doing: "read the data file",
        source,
    };
    let wrong = |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(source) => io(source),
        csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.map_or(0, |pos| pos.line());
            damaged(
                path,
                &format!("line {line}"),
                &format!("{len} columns, expected {expected_len}"),
            )
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.map_or(1, |pos| pos.line().max(1));
            damaged(
                path,
                &format!("line {line}"),
                "it is no UTF-8; save the table in that encoding",
            )
        }
        other => damaged(path, "text", &format!("{other:?}")),
    };
    let separator = separator(path).map_err(io)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(separator)
        .from_path(path)
        .map_err(wrong)?;
    let names = reader.headers().map_err(wrong)?;
    let names: Vec<String> = names
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect();
    if names.len() > MOST_COLUMNS {
        let why = format!("{} columns, expected at most {MOST_COLUMNS}", names.len());
        return Err(damaged(path, "line 1", &why));
    }
    let mut seen = BTreeMap::new();
    for (i, name) in names.iter().enumerate() {
        if seen.insert(name.as_str(), i).is_some() {
            let why = format!("column `{}` is there twice", printable(name));
            return Err(damaged(path, "line 1", &why));
        }
    }
    let episodes = columns::episodes(|name| seen.contains_key(name));
    let episodes = episodes.and_then(|name| seen.get(name).copied());
    // What is not used may hold anything.
    let used = |name: &String| columns::is_known(name) || reward == Some(name);
    let used: Vec<bool> = names.iter().map(used).collect();
    let mut numbers = vec![Vec::new(); names.len()];
    let mut numbered = episodes.map(|at| (at, Numbered::default()));
    let mut rows = 0;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(wrong)? {
        for (i, field) in record.iter().enumerate() {
            match number(field) {
                Some(x) => numbers[i].push(x),
                None if used[i] => {
                    let line = record.position().map_or(0, csv::Position::line);
                    let why = format!(
                        "column `{}` is `{}`, expected a number",
                        printable(&names[i]),
                        printable(field)
                    );
                    return Err(damaged(path, &format!("line {line}"), &why));
                }
                None => numbers[i].push(f32::NAN),
            }
        }
        if let Some((at, numbered)) = &mut numbered {
            let here = record.get(*at).unwrap_or_default();
            let told = numbered.row(rows, here);
            told.map_err(|why| damaged(path, &format!("column `{}`", names[*at]), &why))?;
        }
        rows += 1;
    }
    if rows == 0 {
        return Err(damaged(path, "text", "no line after the first"));
    }
    let column = |(name, values)| Column {
        name,
        width: 1,
        values,
    };
    Ok(Columns {
        path,
        columns: names.into_iter().zip(numbers).map(column).collect(),
        starts: numbered.map(|(_, numbered)| numbered.starts),
        rows,
        horizon: false,
        notes: Vec::new(),
    })
}

/// A number, or a flag as one.
fn number(field: &str) -> Option<f32> {
    match field {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => field.parse().ok(),
    }
}

/// What stands between the columns of the first line: a comma, or where there is none a
/// tab or a semicolon.
fn separator(path: &Path) -> std::io::Result<u8> {
    use std::io::{BufRead, BufReader, Read};
    let mut line = Vec::new();
    let most = 1 << 20;
    BufReader::new(File::open(path)?.take(most)).read_until(b'\n', &mut line)?;
    let found = [b',', b'\t', b';']
        .into_iter()
        .find(|byte| line.contains(byte));
    Ok(found.unwrap_or(b','))
}
