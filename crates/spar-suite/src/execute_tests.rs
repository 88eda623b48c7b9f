#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Remembers what it saw, and sets `stop` at the first line that says so.
#[derive(Default)]
struct Diary<'a> {
    lines: Vec<String>,
    at_work: usize,
    most_at_work: usize,
    stop: Option<&'a AtomicBool>,
}

impl Watch for Diary<'_> {
    fn started(&mut self, job: usize) {
        self.at_work += 1;
        self.most_at_work = self.most_at_work.max(self.at_work);
        self.lines.push(format!("start {job}"));
    }
    fn said(&mut self, job: usize, line: &str) {
        if let Some(stop) = self.stop.filter(|_| line == "stop") {
            stop.store(true, Ordering::SeqCst);
        }
        self.lines.push(format!("{job}: {line}"));
    }
    fn logged(&mut self, job: usize, line: &str) {
        self.lines.push(format!("{job}! {line}"));
    }
    fn ended(&mut self, job: usize, _: &Outcome) {
        self.at_work -= 1;
        self.lines.push(format!("end {job}"));
    }
    fn tick(&mut self) {}
}

fn shell(script: &str) -> Job<'static> {
    let script = script.to_owned();
    Job {
        name: script.clone(),
        command: Box::new(move || {
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            command
        }),
        log: None,
    }
}

fn alone(n: usize) -> Schedule {
    Schedule::new(&vec![1.0; n], &vec![None; n])
}

#[test]
fn what_a_job_says_is_heard_and_its_last_line_kept() {
    let mut diary = Diary::default();
    let jobs = [shell("echo one; echo two; echo aside >&2")];
    let outcomes = run(&jobs, alone(1), 1, &|| false, &mut diary);
    assert_eq!(outcomes, [Outcome::Finished("two".into())]);
    for line in ["start 0", "0: one", "0: two", "0! aside", "end 0"] {
        assert!(diary.lines.iter().any(|l| l == line), "{:?}", diary.lines);
    }
}

#[test]
fn a_failure_is_told_by_its_error_line_and_stops_no_other() {
    let mut missing = shell("");
    missing.command = Box::new(|| Command::new("no-such-program"));
    let jobs = [
        shell("echo 'error: bad loss' >&2; echo 'hint: look' >&2; exit 3"),
        shell("echo 'just this' >&2; exit 1"),
        shell("exit 1"),
        missing,
        shell("echo fine"),
    ];
    let mut diary = Diary::default();
    let outcomes = run(&jobs, alone(5), 2, &|| false, &mut diary);
    let why = |i: usize| match &outcomes[i] {
        Outcome::Failed(why) => why.as_str(),
        other => panic!("{other:?}"),
    };
    assert_eq!(why(0), "exit status: 3: error: bad loss");
    assert_eq!(why(1), "exit status: 1: just this");
    assert_eq!(why(2), "exit status: 1, in silence");
    assert!(
        why(3).starts_with("cannot start no-such-program"),
        "{}",
        why(3)
    );
    assert_eq!(outcomes[4], Outcome::Finished("fine".into()));
}

#[test]
fn no_more_than_the_slots_are_at_work_and_waiting_jobs_come_after() {
    let jobs: Vec<_> = (0..6).map(|_| shell("sleep 0.05")).collect();
    let waits = [Some(5), None, None, Some(1), None, None];
    let schedule = Schedule::new(&[1.0; 6], &waits);
    let mut diary = Diary::default();
    let outcomes = run(&jobs, schedule, 2, &|| false, &mut diary);
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Finished(_))));
    assert_eq!(diary.most_at_work, 2);
    let at = |line: &str| diary.lines.iter().position(|l| l == line).unwrap();
    assert!(at("end 5") < at("start 0"));
    assert!(at("end 1") < at("start 3"));
}

#[test]
fn a_request_to_stop_takes_everything_down() {
    let stop = AtomicBool::new(false);
    let mut diary = Diary {
        stop: Some(&stop),
        ..Diary::default()
    };
    let jobs = [
        shell("exec sleep 600"),
        shell("echo stop; exec sleep 600"),
        shell("echo never"),
    ];
    let outcomes = run(
        &jobs,
        alone(3),
        2,
        &|| stop.load(Ordering::SeqCst),
        &mut diary,
    );
    assert_eq!(
        outcomes,
        [Outcome::Stopped, Outcome::Stopped, Outcome::Stopped]
    );
}

#[test]
fn a_log_is_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("run/log.txt");
    for _ in 0..2 {
        let mut job = shell("echo line >&2");
        job.log = Some(log.clone());
        run(&[job], alone(1), 1, &|| false, &mut Diary::default());
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "line\nline\n");
    let mut job = shell("echo line >&2");
    job.log = Some(log.join("below/a/file"));
    let outcomes = run(&[job], alone(1), 1, &|| false, &mut Diary::default());
    assert!(matches!(&outcomes[0], Outcome::Failed(why) if why.contains("below/a/file")));
}
