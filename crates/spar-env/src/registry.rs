//! What simulates which environment: the ones of this crate, and those a program adds.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use spar_core::{EnvId, EnvSpec};

use crate::{
    Env, EnvError,
    adroit::{self, Adroit},
    ant::{self, Ant},
    antmaze::{self, AntMaze},
    goal_ant::{self, GoalAnt},
    kitchen::{self, Kitchen},
    locomotion::{self, Locomotion},
    maze2d::{self, PointMaze},
    mujoco_version,
    point_mass::PointMass,
};

pub use spar_core::NotRegistered;

type Make = dyn Fn() -> Result<Box<dyn Env>, EnvError> + Send + Sync;

/// What results depend on beside this program.
#[derive(Clone)]
enum Version {
    Mujoco,
    Named(String),
}

#[derive(Clone)]
struct Simulation {
    make: Arc<Make>,
    version: Version,
}

impl Simulation {
    /// Of one of this crate's over MuJoCo.
    fn mujoco<E, F>(make: F) -> Self
    where
        E: Env + 'static,
        F: Fn() -> Result<E, EnvError> + Send + Sync + 'static,
    {
        Self {
            make: Arc::new(move || Ok(Box::new(make()?))),
            version: Version::Mujoco,
        }
    }
}

static SIMULATIONS: LazyLock<RwLock<BTreeMap<EnvId, Simulation>>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    for spec in locomotion::ALL {
        all.insert(spec.id, Simulation::mujoco(move || Locomotion::new(spec)));
    }
    for id in maze2d::all() {
        all.insert(id, Simulation::mujoco(move || PointMaze::new(id)));
    }
    for id in antmaze::all() {
        all.insert(id, Simulation::mujoco(move || AntMaze::new(id)));
    }
    if let Some(id) = ant::id() {
        all.insert(id, Simulation::mujoco(move || Ant::new(id)));
    }
    for id in adroit::all() {
        all.insert(id, Simulation::mujoco(move || Adroit::new(id)));
    }
    for id in kitchen::all() {
        all.insert(id, Simulation::mujoco(move || Kitchen::new(id)));
    }
    if let Some(id) = goal_ant::id() {
        all.insert(id, Simulation::mujoco(move || GoalAnt::new(id)));
    }
    let point = Simulation {
        make: Arc::new(|| Ok(Box::new(PointMass::default()))),
        version: Version::Named("none".to_owned()),
    };
    all.insert(EnvId::POINT_MASS, point);
    RwLock::new(all)
});

/// Makes environments of one kind: an [`EnvId`], which is looked up, or a program's own
/// maker as a pair of id and function.
///
/// ```
/// use spar_core::EnvId;
/// use spar_env::{Env, EnvError, MakeEnv};
///
/// let own = (EnvId::POINT_MASS, || -> Result<Box<dyn Env>, EnvError> {
///     spar_env::make(EnvId::POINT_MASS)
/// });
/// assert_eq!(own.make()?.id(), EnvId::POINT_MASS.make()?.id());
/// # Ok::<(), EnvError>(())
/// ```
pub trait MakeEnv: Sync {
    /// Which environment it makes.
    fn id(&self) -> EnvId;

    /// A new one.
    ///
    /// # Errors
    /// Whatever the environment says, as that the library it needs is missing.
    fn make(&self) -> Result<Box<dyn Env>, EnvError>;
}

impl MakeEnv for EnvId {
    fn id(&self) -> EnvId {
        *self
    }

    fn make(&self) -> Result<Box<dyn Env>, EnvError> {
        make(*self)
    }
}

impl<M: MakeEnv + ?Sized> MakeEnv for &M {
    fn id(&self) -> EnvId {
        (**self).id()
    }

    fn make(&self) -> Result<Box<dyn Env>, EnvError> {
        (**self).make()
    }
}

impl<F> MakeEnv for (EnvId, F)
where
    F: Fn() -> Result<Box<dyn Env>, EnvError> + Sync,
{
    fn id(&self) -> EnvId {
        self.0
    }

    fn make(&self) -> Result<Box<dyn Env>, EnvError> {
        (self.1)()
    }
}

/// Makes an environment known in this program, for as long as it runs: its name, what
/// is fixed by it, and what simulates it. `version` is what results depend on beside this
/// program, as the version of a physics library, or `none`; it stands in run records.
///
/// # Errors
/// If the spec is not one ([`EnvId::register`]), or if the environment is simulated
/// already.
pub fn register(
    spec: EnvSpec,
    version: &str,
    make: impl Fn() -> Result<Box<dyn Env>, EnvError> + Send + Sync + 'static,
) -> Result<EnvId, NotRegistered> {
    let id = EnvId::register(spec)?;
    let mut simulations = SIMULATIONS.write().unwrap_or_else(PoisonError::into_inner);
    if simulations.contains_key(&id) {
        return Err(NotRegistered::Taken {
            what: "simulation of the environment",
            name: id.to_string(),
        });
    }
    let simulation = Simulation {
        make: Arc::new(make),
        version: Version::Named(version.to_owned()),
    };
    simulations.insert(id, simulation);
    Ok(id)
}

/// Every environment that can be made here, in the order of [`EnvId::all`].
pub fn simulated() -> Vec<EnvId> {
    let simulations = SIMULATIONS.read().unwrap_or_else(PoisonError::into_inner);
    simulations.keys().copied().collect()
}

fn simulation(id: EnvId) -> Result<Simulation, EnvError> {
    let simulations = SIMULATIONS.read().unwrap_or_else(PoisonError::into_inner);
    let found = simulations.get(&id).cloned();
    found.ok_or_else(|| EnvError::NotSimulated {
        env: id,
        simulated: simulations.keys().copied().collect(),
    })
}

/// A new environment.
///
/// # Errors
/// If nothing here simulates it, or if it needs MuJoCo and the library or the model file is
/// missing, of another version, or damaged.
pub fn make(id: EnvId) -> Result<Box<dyn Env>, EnvError> {
    (simulation(id)?.make)()
}

/// What the results of an environment depend on: [`mujoco_version`], or what it was
/// registered with; `"none"` for one in pure Rust.
///
/// # Errors
/// If nothing here simulates it; else as [`mujoco_version`].
pub fn physics_version(id: EnvId) -> Result<String, EnvError> {
    match simulation(id)?.version {
        Version::Mujoco => mujoco_version(),
        Version::Named(version) => Ok(version),
    }
}
