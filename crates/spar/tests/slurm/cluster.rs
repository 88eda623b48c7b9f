//! Slurm's daemons on this machine, for one test: a controller and a node of their own
//! configuration, ports and folders, ended with the value that stands for them.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Seconds after which the controller gives up a node that is silent.
const SILENCE_S: u32 = 6;

/// Where distributions put plug-ins and daemons.
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
const DAEMONS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Why there can be no test, if there cannot.
pub(crate) fn missing() -> Option<String> {
    let programs = [
        "slurmctld",
        "slurmd",
        "sbatch",
        "squeue",
        "scontrol",
        "sinfo",
        "scancel",
    ];
    if let Some(name) = programs.into_iter().find(|name| program(name).is_none()) {
        return Some(format!(
            "there is no `{name}` here; Debian's package slurm-wlm has it"
        ));
    }
    if auth().is_none() {
        return Some("Slurm has no plug-in auth_none here, and there is no `munged`".to_owned());
    }
    None
}

fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(DAEMONS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// How jobs and daemons prove who they are.
#[derive(Clone, Copy, PartialEq)]
enum Auth {
    None,
    Munge,
}

fn auth() -> Option<Auth> {
    let folders = LIBRARIES.iter().flat_map(|library| {
        let below = fs::read_dir(library).into_iter().flatten().flatten();
        let below = below.map(|entry| entry.path());
        below.chain([PathBuf::from(library)]).collect::<Vec<_>>()
    });
    let has = |folder: PathBuf| {
        ["slurm-wlm", "slurm"].iter().any(|name| {
            let plugins = folder.join(name);
            plugins.join("auth_none.so").exists() && plugins.join("cred_none.so").exists()
        })
    };
    let chosen = env::var("SPAR_TEST_SLURM_AUTH").unwrap_or_default();
    if chosen != "munge" && folders.into_iter().any(has) {
        return Some(Auth::None);
    }
    program("munged").map(|_| Auth::Munge)
}

/// A controller and one node.
pub(crate) struct Slurm {
    dir: TempDir,
    munge: Option<Child>,
    controller: Child,
    node: Option<Child>,
}

impl Slurm {
    /// Starts them and waits until the node takes jobs.
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("slurm").tempdir().unwrap();
        let munge = (auth() == Some(Auth::Munge)).then(|| munge(dir.path()));
        fs::write(
            dir.path().join("slurm.conf"),
            configuration(dir.path(), munge.is_some()),
        )
        .unwrap();
        for folder in ["state", "spool"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let controller = daemon(dir.path(), "slurmctld");
        let mut slurm = Self {
            dir,
            munge,
            controller,
            node: None,
        };
        slurm.start_node();
        slurm
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("slurm.conf")
    }

    /// Starts the node's daemon and waits until it takes jobs.
    pub(crate) fn start_node(&mut self) {
        self.node = Some(daemon(self.dir.path(), "slurmd"));
        let start = Instant::now();
        while !["idle", "mixed", "alloc"]
            .iter()
            .any(|state| self.node().starts_with(state))
        {
            let late = start.elapsed() > Duration::from_secs(120);
            assert!(!late, "the node is {}: {}", self.node(), self.logs());
            sleep(Duration::from_millis(200));
        }
    }

    /// Kills the node's daemon and everything it started, as a machine that loses its power.
    pub(crate) fn kill_node(&mut self) {
        let mut node = self.node.take().unwrap();
        node.kill().unwrap();
        let _ = node.wait();
        for id in self.descendants() {
            kill(id);
        }
    }

    /// Processes with this configuration in their environment, but the controller's and this
    /// test's: jobs and their keepers, which are no children of the daemon any more.
    fn descendants(&self) -> Vec<u32> {
        let mark = format!("SLURM_CONF={}", self.config().display());
        let controller = self.controller.id();
        let of_controller = |id: u32| {
            id == controller
                || fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
                    stat.split_whitespace().nth(3) == Some(&controller.to_string())
                })
        };
        let ids = fs::read_dir("/proc").unwrap().flatten();
        ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|&id| {
                let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|line| line == mark.as_bytes())
            })
            .filter(|&id| !of_controller(id) && id != std::process::id())
            .collect()
    }

    /// What one of Slurm's commands prints; empty where it fails.
    pub(crate) fn ask(&self, name: &str, words: &[&str]) -> String {
        let mut command = Command::new(program(name).unwrap());
        command.args(words).env("SLURM_CONF", self.config());
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// State of the node.
    pub(crate) fn node(&self) -> String {
        self.ask("sinfo", &["--noheader", "--format=%T"])
    }

    /// A line for each job that has not ended: id, state, reason, name.
    pub(crate) fn queue(&self) -> String {
        self.ask("squeue", &["--noheader", "--array", "--format=%i %T %r %j"])
    }

    pub(crate) fn state_of(&self, id: &str) -> String {
        let queue = self.queue();
        let line = queue
            .lines()
            .find(|line| line.split(' ').next() == Some(id));
        line.and_then(|line| line.split(' ').nth(1))
            .unwrap_or("GONE")
            .to_owned()
    }

    /// A running job whose name holds `part`, the last of its array where that runs, and every
    /// other one that runs.
    pub(crate) fn running_of(&self, part: &str) -> (String, Vec<String>) {
        let queue = self.queue();
        let running = queue.lines().filter(|line| line.contains(" RUNNING "));
        let id = |line: &str| line.split(' ').next().unwrap().to_owned();
        let mut ours: Vec<String> = running
            .clone()
            .filter(|l| l.contains(part))
            .map(id)
            .collect();
        ours.sort();
        let chosen = ours
            .pop()
            .unwrap_or_else(|| panic!("none of {part} runs: {queue}"));
        let others = running.map(id).filter(|other| *other != chosen).collect();
        (chosen, others)
    }

    /// Slurm holds back for two minutes what it queued again: no test can wait for that.
    pub(crate) fn hurry(&self) {
        for line in self
            .queue()
            .lines()
            .filter(|line| line.contains("BeginTime"))
        {
            let id = line.split(' ').next().unwrap();
            self.ask(
                "scontrol",
                &["update", &format!("jobid={id}"), "StartTime=now"],
            );
        }
    }

    fn logs(&self) -> String {
        let log = |name: &str| {
            let text = fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(20).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        format!("{}\n{}", log("slurmctld.log"), log("slurmd.log"))
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for id in self.descendants() {
            kill(id);
        }
        let daemons = [
            self.node.as_mut(),
            Some(&mut self.controller),
            self.munge.as_mut(),
        ];
        for daemon in daemons.into_iter().flatten() {
            // The controller ends its own helper when it is asked to end.
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let _ = daemon.wait();
        }
    }
}

fn kill(id: u32) {
    let _ = Command::new("kill")
        .args(["-9", &id.to_string()])
        .stderr(Stdio::null())
        .status();
}

fn daemon(dir: &Path, name: &str) -> Child {
    let out = fs::File::create(dir.join(format!("{name}.out"))).unwrap();
    Command::new(program(name).unwrap())
        .arg("-D")
        .arg("-f")
        .arg(dir.join("slurm.conf"))
        .env("SLURM_CONF", dir.join("slurm.conf"))
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap()
}

/// A munge of the test's own, by a key of its own.
fn munge(dir: &Path) -> Child {
    use std::os::unix::fs::PermissionsExt;
    let key = dir.join("munge.key");
    fs::write(&key, [7; 64]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let at = |option: &str, name: &str| format!("--{option}={}", dir.join(name).display());
    let child = Command::new(program("munged").unwrap())
        .args(["--foreground", "--force"])
        .args([at("socket", "munge.sock"), at("key-file", "munge.key")])
        .args([at("pid-file", "munge.pid"), at("log-file", "munge.log")])
        .arg(at("seed-file", "munge.seed"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !dir.join("munge.sock").exists() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "munged opens no socket"
        );
        sleep(Duration::from_millis(50));
    }
    child
}

fn configuration(dir: &Path, munge: bool) -> String {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap();
    let user = said("id", &["-un"]);
    // Both are held until both are known, so that they differ.
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [controller, node] = sockets.map(|socket| socket.local_addr().unwrap().port());
    let at = |name: &str| dir.join(name).display().to_string();
    let auth = match munge {
        true => format!(
            "AuthType=auth/munge\nAuthInfo=socket={}\nCredType=cred/munge",
            at("munge.sock")
        ),
        false => "AuthType=auth/none\nCredType=cred/none".to_owned(),
    };
    format!(
        "ClusterName=test\n\
         SlurmctldHost={host}(127.0.0.1)\n\
         SlurmUser={user}\nSlurmdUser={user}\n{auth}\n\
         SlurmctldPort={controller}\nSlurmdPort={node}\n\
         ProctrackType=proctrack/pgid\nTaskPlugin=task/none\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n\
         StateSaveLocation={state}\nSlurmdSpoolDir={spool}\n\
         SlurmctldPidFile={pid}\nSlurmdPidFile={node_pid}\n\
         SlurmctldLogFile={log}\nSlurmdLogFile={node_log}\n\
         MpiDefault=none\n\
         JobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\n\
         ReturnToService=2\nSlurmdTimeout={SILENCE_S}\nKillWait=5\n\
         SlurmdParameters=config_overrides\n\
         SchedulerType=sched/builtin\n\
         NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
         PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP\n",
        state = at("state"),
        spool = at("spool"),
        pid = at("slurmctld.pid"),
        node_pid = at("slurmd.pid"),
        log = at("slurmctld.log"),
        node_log = at("slurmd.log"),
    )
}
