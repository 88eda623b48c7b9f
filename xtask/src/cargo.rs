//! Calls cargo with the environment the native builds need, so that no one
//! has to export anything by hand.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spar_suite::say;

/// cargo, for the workspace at `root`.
pub(crate) struct Cargo {
    root: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Cargo {
    /// The workspace at `root`. Builds find cmake by `.cargo/cmake`, which a plain
    /// `cargo build` asks as well: what the one built need not be built again for the other.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            variables: Vec::new(),
        }
    }

    /// With a variable of the environment that builds see.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        let (what, rest) = args.split_at(args.len().min(1));
        command.current_dir(&self.root).args(what);
        let variables = self.variables.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
        // What is built is what Cargo.lock says, or nothing.
        if what != ["fmt"] {
            command.arg("--locked");
        }
        command.args(rest);
        Ok(command)
    }

    /// Runs every test, or those of the packages named in `args`, one thread
    /// inside each step as in production. `args` go to `cargo test`; `tools` are
    /// variables that name what some tests need and skip without.
    pub(crate) fn test(
        &self,
        args: &[String],
        tools: &[(&'static str, PathBuf)],
    ) -> Result<ExitCode> {
        let mut command = self.command(&["test", "--release"])?;
        if selects_no_package(args) {
            command.arg("--workspace");
        }
        let status = command
            .envs(tools.iter().map(|(name, path)| (name, path)))
            .args(args)
            .env("RAYON_NUM_THREADS", "1")
            .status()
            .context("cannot run cargo")?;
        Ok(exit_code(status))
    }

    /// Runs tests under AddressSanitizer for the target `host`, in a folder of
    /// their own below `target`. The sanitizer is the stable compiler's, whose
    /// flag for it is not stable yet: hence `RUSTC_BOOTSTRAP`.
    pub(crate) fn test_sanitized(&self, host: &str, args: &[&str]) -> Result<ExitCode> {
        let mut command = self.command(&["test", "--release", "--target", host])?;
        let status = command
            .arg("--target-dir")
            .arg(self.root.join("target/sanitize"))
            .args(args)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=address")
            // Ours and those of the standard library's functions built into ours.
            .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
            .env("RAYON_NUM_THREADS", "1")
            .status()
            .context("cannot run cargo")?;
        Ok(exit_code(status))
    }

    /// Formatting, clippy and documentation, each without a warning.
    pub(crate) fn lint(&self) -> Result<ExitCode> {
        let checks: [&[&str]; 4] = [
            &["fmt", "--all", "--check"],
            &[
                "clippy",
                "--release",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
            // Data without HDF5, which no other build leaves out.
            &[
                "clippy",
                "--release",
                "--package",
                "spar-data",
                "--no-default-features",
                "--",
                "-D",
                "warnings",
            ],
            &["doc", "--release", "--no-deps", "--workspace"],
        ];
        for check in checks {
            say!("lint: cargo {}", check.join(" "));
            let mut command = self.command(check)?;
            let status = command
                .env("RUSTDOCFLAGS", "-D warnings")
                .status()
                .context("cannot run cargo")?;
            if !status.success() {
                return Ok(exit_code(status));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Runs `deny`, a cargo-deny, over what the workspace depends on, as `deny.toml` says:
    /// licences, duplicates and sources and, with `advisories`, what RustSec's database on
    /// GitHub has against it.
    pub(crate) fn audit(&self, deny: &Path, advisories: bool) -> Result<ExitCode> {
        let mut command = Command::new(deny);
        command.current_dir(&self.root).args(["--locked", "check"]);
        if advisories {
            command.arg("advisories");
        }
        command.args(["licenses", "bans", "sources"]);
        Ok(exit_code(
            command.status().context("cannot run cargo-deny")?,
        ))
    }

    /// Builds the program `name` and returns it, wherever cargo puts it. The
    /// whole workspace is asked for, so that dependencies get the features the
    /// tests build them with and are compiled once.
    pub(crate) fn build(&self, name: &str) -> Result<PathBuf> {
        self.built(name, &["build", "--release", "--workspace", "--bins"])
    }

    /// Builds every library, that for C among them.
    pub(crate) fn build_libraries(&self) -> Result<()> {
        let mut command = self.command(&["build", "--release", "--workspace", "--lib"])?;
        let status = command.status().context("cannot run cargo")?;
        if !status.success() {
            bail!("the libraries cannot be built: cargo ended with {status}");
        }
        Ok(())
    }

    /// Builds the integration test `name` and returns its program.
    pub(crate) fn build_test(&self, name: &str) -> Result<PathBuf> {
        let command = [
            "test",
            "--release",
            "--workspace",
            "--no-run",
            "--test",
            name,
        ];
        self.built(name, &command)
    }

    /// The program `name` that a command of cargo's builds.
    fn built(&self, name: &str, command: &[&str]) -> Result<PathBuf> {
        let mut command = self.command(command)?;
        let mut child = command
            .arg("--message-format=json-render-diagnostics")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run cargo")?;
        let messages = child.stdout.take().context("cargo has no output")?;
        let mut program = None;
        for line in BufReader::new(messages).lines() {
            let message: Value = serde_json::from_str(&line?).unwrap_or_default();
            if message["target"]["name"] == name {
                program = message["executable"]
                    .as_str()
                    .map(PathBuf::from)
                    .or(program);
            }
        }
        if !child.wait()?.success() {
            bail!("`{name}` does not build; cargo's messages are above");
        }
        program.with_context(|| format!("cargo built no program named `{name}`"))
    }
}

/// Whether arguments of `cargo test` leave open which packages are tested.
pub(crate) fn selects_no_package(args: &[String]) -> bool {
    let mut for_cargo = args.iter().take_while(|arg| *arg != "--");
    !for_cargo.any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// The exit code of a finished process; 1 if a signal ended it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}
