#![allow(clippy::unwrap_used)]

use super::*;

fn work(cost: f64, fraction: f64, gained: f64, busy_s: f64) -> Work {
    Work {
        cost,
        fraction,
        gained,
        busy_s,
    }
}

#[test]
fn nothing_done_means_nothing_known_unless_costs_are_seconds() {
    let jobs = [work(30.0, 0.0, 0.0, 0.0), work(10.0, 0.0, 0.0, 0.0)];
    assert_eq!(seconds_left(&jobs, &[None; 2], 1, false), None);
    assert_eq!(seconds_left(&jobs, &[None; 2], 1, true), Some(40.0));
    assert_eq!(seconds_left(&jobs, &[None; 2], 2, true), Some(30.0));
}

#[test]
fn the_pace_is_that_of_what_was_done() {
    // A quarter of cost 8 in 4 seconds: 2 seconds a unit, 6 + 8 units left.
    let jobs = [work(8.0, 0.25, 0.25, 4.0), work(8.0, 0.0, 0.0, 0.0)];
    assert_eq!(seconds_left(&jobs, &[None; 2], 1, false), Some(28.0));
}

#[test]
fn what_a_resumed_job_had_done_before_is_no_pace() {
    // It stands at 75% of cost 8, of which 25% took it 4 seconds here.
    let jobs = [work(8.0, 0.75, 0.25, 4.0)];
    assert_eq!(seconds_left(&jobs, &[None], 2, false), Some(4.0));
}

#[test]
fn what_waits_comes_after_what_it_waits_for() {
    let jobs = [work(2.0, 0.0, 0.0, 0.0), work(8.0, 0.0, 0.0, 0.0)];
    assert_eq!(seconds_left(&jobs, &[None, Some(0)], 2, true), Some(10.0));
}

#[test]
fn a_screen_follows_what_jobs_say() {
    let names = vec!["a".to_owned(), "b".to_owned()];
    let mut screen = Screen::new(names, &[3.0, 1.0], false, &[None; 2], 2, false);
    screen.started(0);
    screen.said(0, r#"{"done":50,"total":100,"phase":"anchor"}"#);
    screen.said(0, r#"{"done":75,"total":100,"phase":"train"}"#);
    screen.said(0, "not a report");
    screen.measure();
    assert_eq!(
        (screen.work[0].fraction, screen.work[0].gained),
        (0.75, 0.25)
    );
    assert_eq!(screen.phases[0], "train");
    screen.started(1);
    screen.ended(1, &Outcome::Failed("exit status: 1".into()));
    // What failed counts neither as done nor as left.
    assert_eq!(screen.overall().0, 0.75);
    screen.ended(0, &Outcome::Finished(String::new()));
    let (fraction, text) = screen.overall();
    assert_eq!(fraction, 1.0);
    assert!(text.starts_with("2/2 done"), "{text}");
}

#[test]
fn times_are_in_words() {
    assert_eq!(in_words(Some(720.0)), "about 12 minutes left");
    assert_eq!(in_words(None), "time left not known yet");
    assert_eq!(in_words(Some(f64::INFINITY)), "time left not known yet");
}
