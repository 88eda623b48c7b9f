//! `spar data stats`: how the numbers in a file are distributed.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use spar_core::EnvId;
use spar_data::{Distribution, Stats, horizon_of, stats};

use super::{ReadingArgs, data_of, tell_notes};
use crate::output::{self, InFile};

/// What to count.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Data file in D4RL's layout, or a Minari data set: its file, folder or id
    file: PathBuf,
    /// Environment, for its horizon
    #[arg(long)]
    env: Option<EnvId>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Statistics, and whose horizon they are by.
#[derive(Serialize)]
struct OfEnv<'a> {
    env: Option<EnvId>,
    #[serde(flatten)]
    found: &'a Stats,
}

/// Prints the distributions.
pub(crate) fn run(args: &Args) -> Result<()> {
    let data = data_of(&args.file, args.env, &args.reading)?;
    tell_notes(&data);
    let found = stats(&data, horizon_of(args.env));
    if args.json {
        let found = OfEnv {
            env: args.env,
            found: &found,
        };
        return output::json(&InFile {
            file: &args.file,
            found: &found,
        });
    }
    output::text(&tables(&found))
}

fn tables(found: &Stats) -> String {
    let whole = format!(
        "{} ({}): {} rows, {} episodes, {} complete; rewards from {:.3} to {:.3}",
        found.id,
        found.origin,
        found.rows,
        found.episodes,
        found.returns.map_or(0, |returns| returns.count),
        found.rewards.min,
        found.rewards.max
    );
    let row = |name: &str, of: &Option<Distribution>| {
        let mut cells = vec![name.to_owned()];
        cells.extend(match of {
            None => vec!["–".to_owned(); 7],
            Some(d) => [
                d.mean,
                d.std,
                d.min,
                d.lower_quartile,
                d.median,
                d.upper_quartile,
                d.max,
            ]
            .map(|x| format!("{x:.2}"))
            .to_vec(),
        });
        cells
    };
    let episodes = output::table(
        &["episode", "mean", "std", "min", "25%", "50%", "75%", "max"],
        [row("return", &found.returns), row("length", &found.lengths)],
    );
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let actions = output::table(
        &[
            "action",
            "min",
            "max",
            "of [-1, 1]",
            "at a bound",
            "outside",
        ],
        found.actions.iter().enumerate().map(|(i, a)| {
            vec![
                i.to_string(),
                format!("{:.3}", a.min),
                format!("{:.3}", a.max),
                percent(a.share_of_range),
                percent(a.share_at_bounds),
                percent(a.share_outside),
            ]
        }),
    );
    let observations = output::table(
        &["observation", "min", "max"],
        found.observations.iter().enumerate().map(|(i, o)| {
            vec![
                i.to_string(),
                format!("{:.3}", o.min),
                format!("{:.3}", o.max),
            ]
        }),
    );
    [whole, episodes, actions, observations].join("\n\n")
}
