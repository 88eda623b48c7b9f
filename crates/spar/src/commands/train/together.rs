//! `spar train-together`: several runs of `spar train --device cuda` in one process, which
//! share every launch on the GPU. Each is what it is alone: its own thread, folder, log,
//! checkpoints and bits. `spar suite run --jobs-on-card` starts it.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Serialize;
use spar_core::Signals;
use spar_data::{Dataset, Transitions};
use spar_kernels::cuda::{CudaDevice, CudaLane, Kernels};
use spar_train::{DeviceKind, Method, Progress, Reached, RunSpec, TrainError};

use super::{Around, dataset, patiently, planned, ready};
use crate::{
    define_tasks,
    failure::{Interrupted, Usage},
    output, provenance,
};

/// The runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The words after `spar` of a run, a JSON array of strings for each
    #[arg(required = true, value_name = "WORDS")]
    runs: Vec<String>,
}

/// The words of a run.
#[derive(Parser)]
#[command(name = "spar train", no_binary_name = true)]
struct Words {
    #[command(flatten)]
    args: super::Args,
}

/// A run before it starts.
struct Run {
    args: super::Args,
    spec: RunSpec,
    data: Transitions,
    /// The command that makes it again.
    command: String,
}

/// A line on stdout: how far a run is, or how it ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Said<'a> {
    Progress(Progress<'a>),
    Finished,
    Stopped,
    Failed(&'a str),
}

/// The end of all runs at one update: those that share launches stop together, or they could
/// not be resumed together.
struct Stop<'a> {
    /// Whether the end was asked for.
    asked: &'a (dyn Fn() -> bool + Sync),
    /// Looks of a run, one after each update, after which it stops.
    at: Mutex<Option<u64>>,
}

impl Stop<'_> {
    /// Whether a run stops that has looked `looks` times.
    fn now(&self, looks: u64) -> bool {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_none() && (self.asked)() {
            // No other is further than the update after this one: it would have to share
            // that update's launches with this run.
            *at = Some(looks + 2);
        }
        at.is_some_and(|at| looks >= at)
    }
}

/// Trains them, and says on stdout how far each is.
pub(crate) fn run(args: &Args) -> Result<()> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let gpu = super::super::cuda()?;
    let mut read = HashMap::new();
    let mut failed = 0;
    let mut groups: BTreeMap<String, Vec<(usize, Run)>> = BTreeMap::new();
    for (number, words) in args.runs.iter().enumerate() {
        let run = prepared(words, &mut read).and_then(|run| Ok((kind(&run)?, run)));
        match run {
            Ok((kind, run)) => groups.entry(kind).or_default().push((number, run)),
            Err(error) => failed += told(number, Err(&format!("{error:#}")))?,
        }
    }
    drop(read);
    for runs in groups.into_values() {
        if signals.asked().is_none() {
            failed += together(gpu.device(), &runs, &signals)?;
        }
    }
    if let Some(asked) = signals.asked() {
        return Err(Interrupted { asked }.into());
    }
    if failed > 0 {
        bail!("{failed} of {} runs failed", args.runs.len());
    }
    Ok(())
}

/// A run with its data, of which every file is read once.
fn prepared(words: &str, read: &mut HashMap<String, Arc<Dataset>>) -> Result<Run> {
    let words: Vec<String> = serde_json::from_str(words)
        .map_err(|e| Usage(format!("`{words}` is no JSON array of words: {e}")))?;
    define_tasks(words.iter().map(OsString::from));
    let options = words.strip_prefix(&["train".to_owned()]);
    let options = options.ok_or_else(|| Usage("a run's first word is `train`".to_owned()))?;
    let Words { args } = Words::try_parse_from(options)
        .map_err(|e| Usage(e.to_string().lines().next().unwrap_or_default().to_owned()))?;
    if args.device != DeviceKind::Cuda || args.calibrate || args.stop_after.is_some() {
        let why = "runs that share launches are on --device cuda, without --calibrate or \
                   --stop-after";
        return Err(Usage(why.to_owned()).into());
    }
    let found = dataset::found(&args.dataset)?;
    let plan = planned(&args, found.env)?;
    if args.method == Method::Spar && plan.config.anchor.method.is_some() {
        return Err(TrainError::CpuOnly("spar around another method's policy").into());
    }
    let reading = args.read_as();
    let file = format!("{} {:?} {reading:?}", found.path.display(), plan.env);
    let data = match read.get(&file) {
        Some(data) => Arc::clone(data),
        None => {
            let data = super::super::training_data(&found.path, plan.env, &reading)?;
            read.insert(file, Arc::clone(&data));
            data
        }
    };
    let (spec, data) = ready(&args, plan, &found.path, data)?;
    if let Some(env) = spec.env {
        spar_env::make(env)?;
    }
    Ok(Run {
        command: provenance::line_of(words.into_iter()),
        args,
        spec,
        data,
    })
}

/// What runs have in common that share launches: method, settings, widths and updates done.
fn kind(run: &Run) -> Result<String> {
    let Run {
        args, spec, data, ..
    } = run;
    let kind = serde_json::json!({
        "method": spec.method.name(),
        "config": spec.config,
        "widths": [data.obs_dim(), data.act_dim()],
        "anchored": args.anchor.is_some(),
        "reached": Reached::read(spec, &args.out)?,
    });
    Ok(kind.to_string())
}

/// Trains `runs`, of one kind, and returns how many failed.
fn together(gpu: &CudaDevice, runs: &[(usize, Run)], signals: &Signals) -> Result<usize> {
    let lanes = || -> Result<Vec<CudaLane>> {
        let Some((_, first)) = runs.first() else {
            return Ok(Vec::new());
        };
        let tally = Kernels::new(gpu.tally());
        spar_train::allocate_on(&tally, &first.spec, &first.data)?;
        Ok(gpu.lanes(runs.len(), tally.device().floats())?)
    };
    let lanes = match lanes() {
        Ok(lanes) => lanes,
        Err(error) => {
            let why = format!("{error:#}");
            let told = runs.iter().map(|(number, _)| told(*number, Err(&why)));
            return told.sum();
        }
    };
    let stop = &Stop {
        asked: &|| signals.asked().is_some(),
        at: Mutex::new(None),
    };
    thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .into_iter()
            .zip(runs)
            .map(|(lane, (number, run))| {
                (*number, scope.spawn(move || one(lane, *number, run, stop)))
            })
            .collect();
        let mut failed = 0;
        for (number, thread) in threads {
            failed += match thread.join() {
                Ok(failed) => failed?,
                Err(_) => told(number, Err("it panicked"))?,
            };
        }
        Ok(failed)
    })
}

/// Trains one run by its lane of the GPU; 1 if it failed.
fn one(lane: CudaLane, number: usize, run: &Run, stop: &Stop<'_>) -> Result<usize> {
    let kernels = Kernels::new(lane);
    let looks = Cell::new(0);
    let around = Around {
        stop: &|| {
            looks.set(looks.get() + 1);
            stop.now(looks.get())
        },
        stop_after: None,
        anchor: run.args.anchor.as_deref(),
        command: run.command.clone(),
        report: &mut |progress| say(number, Said::Progress(progress)),
    };
    let done = patiently(around, &mut |control| {
        spar_train::run_on(&kernels, &run.spec, &run.data, &run.args.out, control)
    });
    match done {
        Ok(_) => told(number, Ok(Said::Finished)),
        Err(TrainError::Stopped(_)) => told(number, Ok(Said::Stopped)),
        Err(error) => told(number, Err(&error.to_string())),
    }
}

/// Says how a run ended; 1 if it failed.
fn told(number: usize, ended: Result<Said<'_>, &str>) -> Result<usize> {
    match ended {
        Ok(said) => {
            say(number, said)?;
            Ok(0)
        }
        Err(why) => {
            output::say(&format!("error: run {number}: {why}"));
            say(number, Said::Failed(why))?;
            Ok(1)
        }
    }
}

/// One line on stdout.
fn say(run: usize, said: Said<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &serde_json::json!({ "run": run, "said": said }))?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What `spar-suite` reads.
    #[test]
    fn how_a_run_ends_is_one_word_or_one_entry() {
        let text = |said: Said<'_>| serde_json::to_string(&said).unwrap();
        assert_eq!(text(Said::Finished), r#""finished""#);
        assert_eq!(text(Said::Stopped), r#""stopped""#);
        assert_eq!(text(Said::Failed("why")), r#"{"failed":"why"}"#);
    }

    /// Whoever is asked first, at whichever update, and whoever is one ahead of it by then.
    #[test]
    fn runs_that_share_launches_stop_at_one_update() {
        for first in 0..3 {
            let stop = Stop {
                asked: &|| true,
                at: Mutex::new(None),
            };
            // The first to look at update 5, while another is at update 6.
            assert!(!stop.now(5));
            for run in 0..3 {
                let begin = if run == first { 6 } else { 5 };
                let stopped = (begin..20).find(|&looks| stop.now(looks));
                assert_eq!(stopped, Some(7));
            }
        }
    }

    #[test]
    fn words_that_are_no_run_are_refused() {
        let refused = |words: &str| {
            prepared(words, &mut HashMap::new())
                .err()
                .unwrap()
                .to_string()
        };
        assert!(refused("train").contains("no JSON array of words"));
        assert!(refused(r#"["eval"]"#).contains("first word is `train`"));
        let run = r#"["train","--dataset","x.hdf5","--method","bc","--out","o"]"#;
        assert!(refused(run).contains("--device cuda"));
    }
}
