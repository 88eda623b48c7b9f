#![allow(clippy::unwrap_used)]

use std::process::Command;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: EngineOptions,
}

fn options(words: &[&str]) -> EngineOptions {
    Cli::parse_from([&["x", "--engine", "print"], words].concat()).options
}

fn texts(folder: &str, words: &[&str]) -> Result<Vec<Text>> {
    let scripts = Scripts {
        plan: "plan-0",
        folder: Path::new(folder),
        root: Path::new("/my lab"),
        spar: Path::new("/opt/spar"),
        device: "cpu",
        options: &options(words),
    };
    let mut report = Command::new("/opt/spar");
    report.args(["report", "--out", "o p"]);
    scripts.texts(&[], &report)
}

#[test]
fn what_is_no_plain_word_is_quoted_for_sbatch_and_for_the_shell() {
    let texts = texts("/a \"b\"/50%", &["--sbatch-arg=--comment=x y"]).unwrap();
    let report = &texts[0].text;
    for line in [
        "#SBATCH \"--chdir=/my lab\"",
        r##"#SBATCH "--output=/a \"b\"/50%%/slurm-%A.out""##,
        "#SBATCH \"--comment=x y\"",
        "exec /opt/spar report --out 'o p'",
    ] {
        assert!(report.lines().any(|l| l == line), "no {line} in {report}");
    }
}

#[test]
fn a_path_that_would_end_a_line_is_refused() {
    let error = texts("/a\nrm -rf", &[]).err().unwrap().to_string();
    assert!(error.contains(r"/a\nrm -rf"), "{error}");
}

#[test]
fn options_that_would_undo_the_plan_are_refused() {
    let refused = |words: &[&str]| options(words).check().unwrap_err().to_string();
    for given in [
        "--array=0-3",
        "-a0",
        "-d",
        "--dependency=afterok:1",
        "--wrap=x",
    ] {
        let error = refused(&[&format!("--sbatch-arg={given}")]);
        assert!(error.contains("the plan decides"), "{error}");
    }
    assert!(refused(&["--sbatch-arg=long"]).contains("expected one option with its value"));
    for given in [
        "--partition=long",
        "-plong",
        "--distribution=block",
        "--account=a",
    ] {
        options(&[&format!("--sbatch-arg={given}")])
            .check()
            .unwrap();
    }
    let local = Cli::parse_from(["x", "--max-parallel", "3"]).options;
    assert!(
        local
            .check()
            .unwrap_err()
            .to_string()
            .contains("--engine slurm")
    );
}
