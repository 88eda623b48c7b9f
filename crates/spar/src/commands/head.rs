//! `spar data head`: the first rows of a file.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use spar_core::EnvId;
use spar_data::horizon_of;

use super::{ReadingArgs, data_of, tell_notes};
use crate::output;

/// What to look at, and how far.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Data file in D4RL's layout, or a Minari data set: its file, folder or id
    file: PathBuf,
    /// Rows
    #[arg(short = 'n', value_name = "N", default_value_t = 5)]
    rows: usize,
    /// Environment, for its horizon
    #[arg(long)]
    env: Option<EnvId>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Print one JSON object a row
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    row: usize,
    episode: usize,
    observation: &'a [f32],
    action: &'a [f32],
    reward: f32,
    terminal: bool,
    /// `null` in files that record none.
    timeout: Option<bool>,
    /// `null` where it is not recorded.
    next_observation: Option<&'a [f32]>,
}

/// Prints the first rows.
pub(crate) fn run(args: &Args) -> Result<()> {
    let data = data_of(&args.file, args.env, &args.reading)?;
    tell_notes(&data);
    let mut rows = Vec::new();
    'all: for (episode, part) in data.episodes(horizon_of(args.env)).enumerate() {
        for row in part.rows.clone() {
            if rows.len() == args.rows {
                break 'all;
            }
            rows.push(Row {
                row,
                episode,
                observation: data.observation(row),
                action: data.action(row),
                reward: data.rewards[row],
                terminal: data.terminals[row],
                timeout: data.timeouts.as_ref().map(|timeouts| timeouts[row]),
                next_observation: data.observation_after(row, row + 1 == part.rows.end),
            });
        }
    }
    if args.json {
        return rows.iter().try_for_each(output::json);
    }
    let header = ["row", "episode", "observation", "action", "reward", "end"];
    let numbers = |values: &[f32]| {
        let texts: Vec<_> = values.iter().map(|x| format!("{x:.3}")).collect();
        texts.join(" ")
    };
    let cells = |row: &Row<'_>| {
        let end = match (row.terminal, row.timeout) {
            (true, Some(true)) => "terminal, timeout",
            (true, _) => "terminal",
            (false, Some(true)) => "timeout",
            (false, _) => "",
        };
        vec![
            row.row.to_string(),
            row.episode.to_string(),
            numbers(row.observation),
            numbers(row.action),
            format!("{:.3}", row.reward),
            end.to_owned(),
        ]
    };
    output::text(&output::table(&header, rows.iter().map(cells)))
}
