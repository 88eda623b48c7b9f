//! Plans of runs for clusters: made job by job as an array would, and submitted to a Slurm that
//! only takes notes. The real one is in `tests/slurm`.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::{Done, Folder, prepared};

/// What makes the runs that these tests plan, without where.
const RUN: &str = "suite run --suite suite.toml --preset short --tasks pointmass-medium \
                   --dataset pointmass-medium=data.hdf5";

/// Files of a run that hold its numbers, and neither times nor paths.
const NUMBERS: [&str; 3] = ["policy.safetensors", "returns.csv", "eval.csv"];

/// `RUN` with the plan of `out` printed.
fn print(folder: &Folder, out: &str, more: &str) -> Done {
    let mut command = folder.command(&format!("{RUN} --engine print {more}"));
    Done::of(command.args(["--out", out]))
}

/// The one plan below `out`.
fn plan(folder: &Folder, out: &str) -> PathBuf {
    let mut plans: Vec<PathBuf> = fs::read_dir(folder.path(out))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("jobs.jsonl").exists())
        .collect();
    assert_eq!(plans.len(), 1, "{plans:?}");
    plans.remove(0)
}

fn job(folder: &Folder, out: &str, index: &str) -> Done {
    let mut command = folder.command("suite job --plan");
    let plan = plan(folder, out).join("jobs.jsonl");
    Done::of(command.arg(plan).args(["--index", index]))
}

#[test]
fn a_plan_made_job_by_job_gives_the_runs_of_the_local_engine() {
    let folder = prepared();
    let out = "by jobs";
    print(&folder, out, "").ok();
    let lines = fs::read_to_string(plan(&folder, out).join("jobs.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["method"], &lines[0]["anchor"]),
        (&"bc".into(), &Value::Null)
    );
    assert_eq!(
        (&lines[1]["method"], &lines[1]["anchor"]),
        (&"spar".into(), &0.into())
    );

    let early = job(&folder, out, "1");
    early.fails(
        75,
        &[
            "pointmass-medium/spar/seed-0 waits for its anchor pointmass-medium/bc/seed-0",
            "--index 0",
        ],
    );
    assert!(!folder.exists("by jobs/pointmass-medium/spar/seed-0"));
    for index in ["0", "1"] {
        let done = job(&folder, out, index);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(
            done.err.contains("started") && done.err.contains("done"),
            "{done:?}"
        );
        let again = job(&folder, out, index);
        assert_eq!(again.code, Some(0), "{again:?}");
        assert!(again.err.contains("it is done already"), "{again:?}");
    }
    assert!(folder.exists("by jobs/pointmass-medium/spar/seed-0/log.txt"));

    let local = folder.spar(&format!("{RUN} --out local"));
    assert!(local.err.contains("0 are done, 2 to do"), "{local:?}");
    for method in ["bc", "spar"] {
        for file in NUMBERS {
            let run = format!("pointmass-medium/{method}/seed-0/{file}");
            let there = folder.read(&format!("by jobs/{run}"));
            assert_eq!(there, folder.read(&format!("local/{run}")), "{run}");
        }
    }
    // The local engine takes what jobs made.
    let done = Done::of(folder.command(RUN).args(["--out", out]));
    assert!(done.err.contains("2 are done, 0 to do"), "{done:?}");
}

/// Jobs that wait in a queue name their run by its number: it may not change with what is
/// done, and another selection may not take the plan's place.
#[test]
fn a_plan_stays_as_it_is_whatever_is_done() {
    let folder = prepared();
    let printed = print(&folder, "out", "").ok();
    let first = plan(&folder, "out");
    let jobs = fs::read(first.join("jobs.jsonl")).unwrap();
    for said in [
        "#SBATCH --array=0\n",
        "--dependency=aftercorr:$job_0",
        "--dependency=afterany:$job_0:$job_1",
        "#SBATCH --requeue\n",
        "#SBATCH --signal=B:HUP@60\n",
        "#SBATCH --time=11\n",
    ] {
        assert!(printed.contains(said), "no `{said}` in {printed}");
    }
    assert_eq!(job(&folder, "out", "0").code, Some(0));
    let printed = print(
        &folder,
        "out",
        "--max-parallel 3 --sbatch-arg=--partition=long",
    )
    .ok();
    assert_eq!(plan(&folder, "out"), first);
    assert_eq!(fs::read(first.join("jobs.jsonl")).unwrap(), jobs);
    // What is left waits for nothing, and is still job 1 of the plan.
    for said in [
        "#SBATCH --array=0%3\n",
        "SLURM_ARRAY_TASK_ID + 1))",
        "#SBATCH --partition=long\n",
    ] {
        assert!(printed.contains(said), "no `{said}` in {printed}");
    }
    assert!(!printed.contains("aftercorr"), "{printed}");
    print(&folder, "out", "--seeds 0,1").ok();
    assert_eq!(fs::read(first.join("jobs.jsonl")).unwrap(), jobs);
}

#[test]
fn a_job_is_refused_when_its_suite_or_its_data_are_others_now() {
    let folder = prepared();
    print(&folder, "out", "").ok();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    let other = suite.replacen("lr = 3e-4", "lr = 1e-3", 1);
    assert_ne!(suite, other);
    fs::write(folder.path("suite.toml"), other).unwrap();
    let changed = job(&folder, "out", "0");
    changed.fails(
        1,
        &[
            "suite.toml",
            "other settings than when the plan was made",
            "make a new plan",
        ],
    );
    // A longer run is another run, too.
    let longer = suite.replacen(
        "updates = 100 }\n[presets.long]",
        "updates = 100, batch_size = 16 }\n[presets.long]",
        1,
    );
    assert_ne!(suite, longer);
    fs::write(folder.path("suite.toml"), longer).unwrap();
    job(&folder, "out", "0").fails(1, &["other settings"]);
    fs::write(folder.path("suite.toml"), &suite).unwrap();
    let mut data = folder.read("data.hdf5");
    data.push(0);
    fs::write(folder.path("data.hdf5"), data).unwrap();
    let done = job(&folder, "out", "0");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err
            .contains("the data were changed since the run was planned"),
        "{done:?}"
    );
    assert!(!folder.exists("out/pointmass-medium/bc/seed-0/DONE"));
}

#[test]
fn what_makes_no_sense_of_a_plan_is_said() {
    let folder = prepared();
    print(&folder, "out", "").ok();
    job(&folder, "out", "2").fails(2, &["there is no run 2"]);
    let path = plan(&folder, "out").join("jobs.jsonl");
    let run = |more: &[(&str, &str)]| {
        let mut command = folder.command("suite job --plan");
        command.arg(&path).env_remove("SLURM_ARRAY_TASK_ID");
        Done::of(command.envs(more.iter().copied()))
    };
    run(&[]).fails(2, &["no --index", "SLURM_ARRAY_TASK_ID"]);
    run(&[("SLURM_ARRAY_TASK_ID", "x")]).fails(2, &["`x`", "expected a number"]);
    let done = run(&[("SLURM_ARRAY_TASK_ID", "0")]);
    assert_eq!(done.code, Some(0), "{done:?}");

    let text = fs::read_to_string(&path).unwrap();
    for (broken, fact) in [
        (
            text.replacen("\"index\":1", "\"index\":0", 1),
            "line 2: there is a run 0 before",
        ),
        (
            text.replacen("\"index\":0", "\"index\":7", 1),
            "waits for run 0, which is not there",
        ),
        (text.replacen("{", "", 1), "line 1"),
        (
            text.replace("spar/seed-0", "spar/seed-1"),
            "expected one that ends in",
        ),
    ] {
        assert_ne!(broken, text, "{fact}");
        fs::write(&path, broken).unwrap();
        job(&folder, "out", "1").fails(1, &["jobs.jsonl", fact]);
    }
    for (line, fact) in [
        ("--max-parallel 2", "--engine slurm"),
        (
            "--engine print --sbatch-arg=--array=1",
            "the plan decides --array",
        ),
    ] {
        folder
            .spar(&format!("{RUN} {line} --out x"))
            .fails(2, &[fact]);
    }
    folder
        .spar("suite run --suite theory --engine print")
        .fails(2, &["leave out --engine"]);
    assert!(!folder.exists("x"));
}

/// Commands of Slurm's that note how they are called, in `notes`; sbatch fails from the
/// `fails`th call on.
struct FakeSlurm<'a> {
    folder: &'a Folder,
}

impl<'a> FakeSlurm<'a> {
    fn new(folder: &'a Folder) -> Self {
        fs::create_dir(folder.path("bin")).unwrap();
        let notes = folder.path("notes");
        let script = |name: &str, body: &str| {
            let path = folder.path("bin").join(name);
            let text = format!(
                "#!/bin/sh\necho {name} \"$@\" >> '{}'\n{body}",
                notes.display()
            );
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        script("scontrol", "echo 'MaxArraySize            = 1001'\n");
        script("squeue", "cat \"$FAKE_QUEUE\" 2>/dev/null || true\n");
        script("scancel", "");
        let count = format!("n=$(grep -c ^sbatch '{}')\n", notes.display());
        let body = "[ \"$n\" -ge \"${FAKE_FAILS:-99}\" ] && echo 'sbatch: error: QOSMaxSubmitJobLimit' >&2 && exit 1\necho $((100 + n))\n";
        script("sbatch", &(count + body));
        Self { folder }
    }

    fn submit(&self, env: &[(&str, &str)]) -> Done {
        let mut command: Command = self
            .folder
            .command(&format!("{RUN} --engine slurm --out out"));
        let path = std::env::var("PATH").unwrap();
        command.env(
            "PATH",
            format!("{}:{path}", self.folder.path("bin").display()),
        );
        Done::of(command.envs(env.iter().copied()))
    }

    fn notes(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.folder.path("notes")).unwrap_or_default();
        fs::write(self.folder.path("notes"), "").unwrap();
        notes.lines().map(str::to_owned).collect()
    }
}

#[test]
fn arrays_are_submitted_after_their_anchors_and_the_report_last() {
    let folder = prepared();
    let slurm = FakeSlurm::new(&folder);
    let done = slurm.submit(&[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("job 103: the report"), "{done:?}");
    let notes = slurm.notes();
    let calls: Vec<&String> = notes.iter().filter(|n| n.starts_with("sbatch")).collect();
    assert_eq!(calls.len(), 3, "{notes:?}");
    assert!(calls[0].starts_with("sbatch --parsable /") && calls[0].ends_with("/bc-0.sbatch"));
    assert!(
        calls[1].starts_with(
            "sbatch --parsable --dependency=aftercorr:101 --kill-on-invalid-dep=yes /"
        )
    );
    assert!(calls[2].starts_with("sbatch --parsable --dependency=afterany:101:102 /"));
    assert!(
        !folder.exists("out/pointmass-medium"),
        "nothing is run here"
    );
}

/// Half a table in the queue, and no report behind it, is worse than none.
#[test]
fn what_was_submitted_is_cancelled_when_the_rest_is_refused() {
    let folder = prepared();
    let slurm = FakeSlurm::new(&folder);
    let done = slurm.submit(&[("FAKE_FAILS", "3")]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err.contains("`sbatch`") && done.err.contains("QOSMaxSubmitJobLimit"),
        "{done:?}"
    );
    assert_eq!(slurm.notes().last().unwrap(), "scancel 101 102");
}

#[test]
fn a_plan_that_is_queued_is_not_submitted_again() {
    let folder = prepared();
    let slurm = FakeSlurm::new(&folder);
    slurm.submit(&[]);
    let _first = slurm.notes();
    let name = plan(&folder, "out");
    let name = name.file_name().unwrap().to_str().unwrap().to_owned();
    let queue = folder.path("queue");
    fs::write(
        &queue,
        format!("7 other\n101 spar-{name}-bc-0\n102 spar-{name}-spar-0\n"),
    )
    .unwrap();
    let done = slurm.submit(&[("FAKE_QUEUE", queue.to_str().unwrap())]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.err.contains("scancel 101 102"), "{done:?}");
    assert!(slurm.notes().iter().all(|note| !note.starts_with("sbatch")));
}

#[test]
fn without_slurm_the_plan_can_still_be_printed() {
    let folder = prepared();
    let mut command = folder.command(&format!("{RUN} --engine slurm --out out"));
    let done = Done::of(command.env("PATH", folder.path("nowhere")));
    done.fails(1, &["`scontrol`", "not installed here", "--engine print"]);
    let mut command = folder.command(&format!("{RUN} --engine print --out out"));
    let done = Done::of(command.env("PATH", folder.path("nowhere")));
    assert!(done.ok().contains("sbatch --parsable"));
}
