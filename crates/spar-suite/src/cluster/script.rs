//! The batch scripts: one for each array, one for the report, and one that submits them all.

use std::{path::Path, process::Command};

use spar_core::shell_word;

use super::{EngineOptions, arrays::Array, plan_file};
use crate::{Result, Usage};

/// A script.
pub(super) struct Text {
    /// Its file in the plan's folder.
    pub(super) file: String,
    pub(super) text: String,
}

/// Name of the report's job.
const REPORT: &str = "report";

/// Seconds before its time limit at which a job is told. Slurm may tell a minute earlier.
const NOTICE_S: u32 = 60;

/// What all scripts of a plan share.
pub(super) struct Scripts<'a> {
    /// Name of the plan.
    pub(super) plan: &'a str,
    /// Its folder.
    pub(super) folder: &'a Path,
    /// Where jobs run.
    pub(super) root: &'a Path,
    /// The program.
    pub(super) spar: &'a Path,
    /// What computes the updates.
    pub(super) device: &'a str,
    pub(super) options: &'a EngineOptions,
}

impl Scripts<'_> {
    /// Every script: the arrays', the report's, and last the one that submits them.
    ///
    /// # Errors
    /// If a path cannot stand in a script.
    pub(super) fn texts(&self, arrays: &[Array], report: &Command) -> Result<Vec<Text>> {
        let mut texts = Vec::new();
        for array in arrays {
            texts.push(Text {
                file: file(&array.name),
                text: self.array(array)?,
            });
        }
        texts.push(Text {
            file: file(REPORT),
            text: self.report(report)?,
        });
        texts.push(Text {
            file: "submit.sh".to_owned(),
            text: self.submission(arrays)?,
        });
        Ok(texts)
    }

    /// Words of sbatch for `array`, whose anchors were submitted as `after`.
    pub(super) fn array_words(&self, array: &Array, after: Option<&str>) -> Result<Vec<String>> {
        let mut words = vec!["--parsable".to_owned()];
        if let Some(id) = after {
            words.push(format!("--dependency=aftercorr:{id}"));
            // Else it would wait for ever when its anchor failed.
            words.push("--kill-on-invalid-dep=yes".to_owned());
        }
        words.push(text(&self.folder.join(file(&array.name)))?);
        Ok(words)
    }

    /// Words of sbatch for the report of what was submitted as `ids`.
    pub(super) fn report_words(&self, ids: &[String]) -> Result<Vec<String>> {
        let mut words = vec!["--parsable".to_owned()];
        if !ids.is_empty() {
            words.push(format!("--dependency=afterany:{}", ids.join(":")));
        }
        words.push(text(&self.folder.join(file(REPORT)))?);
        Ok(words)
    }

    fn array(&self, array: &Array) -> Result<String> {
        let throttle = self.options.max_parallel;
        let throttle = throttle.map_or_else(String::new, |n| format!("%{n}"));
        let mut options = vec![format!("--array={}{throttle}", array.ranges())];
        if let Some(minutes) = array.minutes() {
            options.push(format!("--time={minutes}"));
        }
        if self.device == "cuda" {
            options.push("--gres=gpu:1".to_owned());
        }
        // The job itself hears it, since it takes the shell's place: see `job.rs`.
        options.push(format!("--signal=B:HUP@{NOTICE_S}"));
        options.push("--requeue".to_owned());
        let command = format!(
            "exec {} suite job --plan {} --index \"$((SLURM_ARRAY_TASK_ID + {}))\"",
            shell_word(&text(self.spar)?),
            shell_word(&text(&self.folder.join(plan_file::FILE))?),
            array.offset
        );
        self.script(&array.name, options, &command)
    }

    fn report(&self, command: &Command) -> Result<String> {
        let mut words = vec![text(self.spar)?];
        for word in command.get_args() {
            words.push(text(Path::new(word))?);
        }
        let words: Vec<_> = words.iter().map(|word| shell_word(word)).collect();
        self.script(REPORT, Vec::new(), &format!("exec {}", words.join(" ")))
    }

    fn script(&self, name: &str, more: Vec<String>, command: &str) -> Result<String> {
        let output = text(&self.folder.join("slurm-"))?.replace('%', "%%");
        let mut options = vec![
            format!("--job-name={}", self.job_name(name)),
            "--ntasks=1".to_owned(),
            "--cpus-per-task=1".to_owned(),
            format!("--chdir={}", text(self.root)?),
            // One file an array: each run has its own log in its folder.
            format!("--output={output}%A.out"),
            "--open-mode=append".to_owned(),
        ];
        options.extend(more);
        options.extend(self.options.sbatch_arg.iter().cloned());
        let options: String = options
            .iter()
            .map(|option| format!("#SBATCH {}\n", directive(option)))
            .collect();
        Ok(format!("#!/bin/sh\n{options}\n{command}\n"))
    }

    fn job_name(&self, name: &str) -> String {
        format!("spar-{}-{name}", self.plan)
    }

    fn submission(&self, arrays: &[Array]) -> Result<String> {
        let line = |variable: &str, words: Vec<String>| {
            let words: Vec<_> = words
                .iter()
                .map(|word| quoted_around_variables(word))
                .collect();
            // Where there are many clusters, an id has its cluster's name behind it.
            format!(
                "{variable}=$(sbatch {})\n{variable}=${{{variable}%%;*}}\n",
                words.join(" ")
            )
        };
        let variable = |place: usize| format!("job_{place}");
        let mut text =
            "#!/bin/sh\n# Submits every job array of the plan, then the report.\nset -eu\n"
                .to_owned();
        for (place, array) in arrays.iter().enumerate() {
            let after = array.after.map(|after| format!("${}", variable(after)));
            text += &line(&variable(place), self.array_words(array, after.as_deref())?);
        }
        let ids: Vec<_> = (0..arrays.len())
            .map(|place| format!("${}", variable(place)))
            .collect();
        text += &line("report", self.report_words(&ids)?);
        text += "echo \"the report is job $report; squeue --me shows all\"\n";
        Ok(text)
    }
}

/// Name of a script's file.
fn file(name: &str) -> String {
    format!("{name}.sbatch")
}

/// A word of the submitting script: a dependency names variables, which the shell fills in.
fn quoted_around_variables(word: &str) -> String {
    match word.starts_with("--dependency=") {
        true => format!("\"{word}\""),
        false => shell_word(word).into_owned(),
    }
}

/// `option` as sbatch reads it from a script: in double quotes where it is no plain word.
fn directive(option: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:+@%".contains(c);
    if option.chars().all(plain) {
        return option.to_owned();
    }
    format!("\"{}\"", option.replace('\\', r"\\").replace('"', "\\\""))
}

/// A path as it can stand on a line of a script.
fn text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if !text.contains(['\n', '\r', '\0']) => Ok(text.to_owned()),
        _ => {
            let shown = path.to_string_lossy();
            let why = format!(
                "{}: a batch script cannot name it; rename it, without line breaks and in UTF-8",
                shown.escape_debug()
            );
            Err(Usage(why).into())
        }
    }
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
