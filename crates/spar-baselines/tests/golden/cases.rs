//! One small case a method. Learning rates are large, so that a parameter's
//! change keeps its digits when it is added to the parameter in single precision.

use super::{ACT, LATENT, ROWS};

/// A method with small networks.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Hyper-parameters that are not the method's default.
    pub(crate) settings: &'static str,
    /// What each stream gives in one update.
    pub(crate) noise: &'static [(&'static str, Draw)],
    /// What one action draws, one after the other.
    pub(crate) acting: &'static [Draw],
    /// What trained variables start about.
    pub(crate) variables: f32,
}

/// A number of draws from one stream.
#[derive(Clone, Copy)]
pub(crate) enum Draw {
    /// With this deviation.
    Normal(f32, usize),
    /// On `[-1, 1)`.
    Uniform(usize),
    /// So many whole numbers below the first.
    Index(usize, usize),
    /// One on `[0, 1)`, in double precision.
    Unit,
    /// On `[0, 1)`.
    Fraction(usize),
}

/// Of diffusion chains.
const STEPS: usize = 5;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "td3bc",
        settings: "hidden = [8, 8]\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
                   policy_noise = 0.4",
        noise: &[("noise", Draw::Normal(0.4, ROWS * ACT))],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "iql",
        settings: "hidden = [8, 8]\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
                   decay_updates = 3\ndata.states = 'standardized'\ndata.rewards.range = 10.0\n\
                   weight_max = 5.0",
        noise: &[],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "bc10",
        // The best of four trajectories; without the discount it would be another.
        settings: "hidden = [8, 8]\nlr = 1e-2\ndata.keep = { fraction = 0.3, discount = 0.5 }",
        noise: &[],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "awac",
        settings: "hidden = [8, 8]\nlr = 1e-2\ntau = 0.05\nlambda = 0.8\nweight_max = 6.0",
        noise: &[
            ("next", Draw::Normal(1.0, ROWS * ACT)),
            ("proposal", Draw::Normal(1.0, ROWS * ACT)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "rebrac",
        settings: "hidden = [8, 8]\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
                   policy_noise = 0.4\nactor_beta = 0.5\ncritic_beta = 0.7",
        noise: &[("noise", Draw::Normal(0.4, ROWS * ACT))],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "plas",
        settings: "vae_hidden = [8, 8]\nvae_lr = 1e-2\nvae_updates = 1\nhidden = [8, 8]\nactor_lr = 1e-2\n\
                   critic_lr = 1e-2\ntau = 0.05",
        noise: &[("posterior", Draw::Normal(1.0, ROWS * LATENT))],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "plas-p",
        settings: "vae_hidden = [8, 8]\nvae_lr = 1e-2\nvae_updates = 1\nhidden = [8, 8]\nactor_lr = 1e-2\n\
                   critic_lr = 1e-2\ntau = 0.05\nperturbation = 0.3",
        noise: &[("posterior", Draw::Normal(1.0, ROWS * LATENT))],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "bcq",
        settings: "vae_hidden = [8, 8]\nhidden = [8, 8]\nlr = 1e-2\ntau = 0.05\nphi = 0.3\n\
                   target_candidates = 3\ncandidates = 4",
        noise: &[
            ("posterior", Draw::Normal(1.0, ROWS * LATENT)),
            ("next", Draw::Normal(1.0, 3 * ROWS * LATENT)),
            ("proposal", Draw::Normal(1.0, ROWS * LATENT)),
        ],
        acting: &[Draw::Normal(1.0, 4 * LATENT)],
        variables: 0.0,
    },
    Case {
        name: "rpl",
        settings: "hidden = [8, 8]\nlr = 1e-2\ntau = 0.05\nrho = 0.6\nburn_in = 1",
        noise: &[],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "inac",
        settings: "hidden = [8, 8]\nlr = 1e-2\ntau = 0.05\ntemperature = 2.0",
        noise: &[
            ("own", Draw::Normal(1.0, ROWS * ACT)),
            ("next", Draw::Normal(1.0, ROWS * ACT)),
        ],
        acting: &[],
        variables: 4.0,
    },
    Case {
        name: "cql",
        settings: "hidden = [8, 8]\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
                   alpha = 2.0\nactions = 3\nbc_updates = 1",
        noise: &[
            ("own", Draw::Normal(1.0, ROWS * ACT)),
            ("next", Draw::Normal(1.0, ROWS * ACT)),
            ("random", Draw::Uniform(3 * ROWS * ACT)),
            ("pushed_own", Draw::Normal(1.0, 3 * ROWS * ACT)),
            ("pushed_next", Draw::Normal(1.0, 3 * ROWS * ACT)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "brac-p",
        settings: "hidden = [8, 8]\ncritic_hidden = [8, 8]\nbehaviour_lr = 1e-2\nactor_lr = 1e-2\n\
                   critic_lr = 1e-2\ntau = 0.05\nbehaviour_updates = 1\nsamples = 3\n\
                   warm_start = 0\nalpha = 3e-4",
        noise: &[
            ("own", Draw::Normal(1.0, ROWS * ACT)),
            ("next", Draw::Normal(1.0, ROWS * ACT)),
            ("own_divergence", Draw::Normal(1.0, 3 * ROWS * ACT)),
            ("next_divergence", Draw::Normal(1.0, 3 * ROWS * ACT)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "brac-v",
        settings: "hidden = [8, 8]\ncritic_hidden = [8, 8]\nbehaviour_lr = 1e-2\nactor_lr = 1e-2\n\
                   critic_lr = 1e-2\ntau = 0.05\nbehaviour_updates = 1\nsamples = 3\n\
                   warm_start = 0\nalpha = 3e-4",
        noise: &[
            ("own", Draw::Normal(1.0, ROWS * ACT)),
            ("next", Draw::Normal(1.0, ROWS * ACT)),
            ("own_divergence", Draw::Normal(1.0, 3 * ROWS * ACT)),
            ("next_divergence", Draw::Normal(1.0, 3 * ROWS * ACT)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "awr",
        settings: "hidden = [8, 8]\nactor_lr = 1e-3\ncritic_lr = 1e-1\ncritic_steps = 1\n\
                   actor_steps = 1\ndiscount = 0.9\nweight_max = 3.0\ndata.states = 'raw'",
        noise: &[],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "sac-n",
        settings: "hidden = [8, 8]\ncritics = 4\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05",
        noise: &[
            ("own", Draw::Normal(1.0, ROWS * ACT)),
            ("next", Draw::Normal(1.0, ROWS * ACT)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "edac",
        // Targets of the greatest value: SAC-N's case has the usual ones. It clones first.
        settings: "hidden = [8, 8]\ncritics = 3\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
                   eta = 2.0\nmax_q_backup = true\nbc_updates = 1",
        noise: &[
            ("own", Draw::Normal(1.0, ROWS * ACT)),
            ("next", Draw::Normal(1.0, 10 * ROWS * ACT)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "lapo",
        // Noise that is cut off, and bounds that the value's targets meet.
        settings: "hidden = [8, 8]\nlr = 1e-2\ntau = 0.05\ndiscount = 0.7\nmin_weight = 0.8\n\
                   latent_noise = 0.3\nnoise_clip = 0.4",
        noise: &[
            ("posterior", Draw::Normal(1.0, ROWS * LATENT)),
            ("latent", Draw::Normal(0.3, ROWS * LATENT)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "hubl-td3bc",
        settings: "hidden = [8, 8]\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
                   policy_noise = 0.4\ndata.hubl = { alpha = 0.7, blend = 'sigmoid' }",
        noise: &[("noise", Draw::Normal(0.4, ROWS * ACT))],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "hubl-iql",
        settings: "hidden = [8, 8]\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
                   decay_updates = 3\ndata.states = 'standardized'\ndata.rewards = 'raw'\nweight_max = 5.0\n\
                   data.hubl = { alpha = 0.7, blend = 'rank' }",
        noise: &[],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "bc-diffusion",
        settings: "hidden = [8, 8]\ntime_dim = 4\nlr = 1e-2",
        noise: &[
            ("step", Draw::Index(STEPS, ROWS)),
            ("noise", Draw::Normal(1.0, ROWS * ACT)),
        ],
        acting: &[Draw::Normal(1.0, STEPS * ACT)],
        variables: 0.0,
    },
    Case {
        name: "diffusion-ql",
        // The average moves in the second update, as the authors' in the thousandth.
        settings: "hidden = [8, 8]\ncritic_hidden = [8, 8]\ntime_dim = 4\nlr = 1e-2\n\
                   critic_lr = 1e-2\ntau = 0.05\neta = 0.7\ngrad_norm = 0.4\nbackup_samples = 3\n\
                   average_after = 1\naverage_every = 1\naverage_rate = 0.05\ncandidates = 4\n\
                   temperature = 0.5",
        noise: &[
            ("next", Draw::Normal(1.0, 3 * STEPS * ROWS * ACT)),
            ("step", Draw::Index(STEPS, ROWS)),
            ("noise", Draw::Normal(1.0, ROWS * ACT)),
            ("proposal", Draw::Normal(1.0, STEPS * ROWS * ACT)),
            ("coin", Draw::Uniform(1)),
        ],
        acting: &[Draw::Normal(1.0, STEPS * 4 * ACT), Draw::Unit],
        variables: 0.0,
    },
    Case {
        name: "idql",
        settings: "width = 8\nblocks = 2\ntime_dim = 6\ntime_hidden = 8\ndropout = 0.25\n\
                   lr = 1e-2\ndecay_updates = 3\nweight_decay = 0.1\naverage_rate = 0.05\n\
                   hidden = [8, 8]\ncritic_lr = 1e-2\ntau = 0.05\nexpectile = 0.8\n\
                   candidates = 4\ndata.rewards.range = 10.0",
        noise: &[
            ("step", Draw::Index(STEPS, ROWS)),
            ("noise", Draw::Normal(1.0, ROWS * ACT)),
            ("dropout", Draw::Uniform(2 * ROWS * 8)),
        ],
        acting: &[Draw::Normal(1.0, STEPS * 4 * ACT)],
        variables: 0.0,
    },
    Case {
        name: "srpo",
        settings: "width = 8\nblocks = 2\ntime_dim = 6\ntime_hidden = 8\ndropout = 0.25\n\
                   behaviour_lr = 1e-2\nweight_decay = 0.1\nbehaviour_updates = 1\n\
                   critic_updates = 1\nhidden = [8, 8]\ncritic_lr = 1e-2\n\
                   policy_hidden = [8, 8]\nlr = 1e-2\ndecay_updates = 3\ntau = 0.05\n\
                   expectile = 0.8\nbeta = 0.5\nnormalize_gradient = true\n\
                   data.rewards.range = 10.0",
        noise: &[
            ("time", Draw::Uniform(ROWS)),
            ("noise", Draw::Normal(1.0, ROWS * ACT)),
            ("dropout", Draw::Uniform(2 * ROWS * 8)),
        ],
        acting: &[],
        variables: 0.0,
    },
    Case {
        name: "bc-flow",
        settings: "hidden = [8, 8]\nlr = 1e-2\nflow_steps = 4",
        noise: FLOW,
        acting: &[Draw::Normal(1.0, ACT)],
        variables: 0.0,
    },
    Case {
        name: "fql",
        settings: "hidden = [8, 8]\nlr = 1e-2\ntau = 0.05\nflow_steps = 4\nalpha = 0.3",
        noise: &[
            FLOW[0],
            FLOW[1],
            ("next", Draw::Normal(1.0, ROWS * ACT)),
            ("proposal", Draw::Normal(1.0, ROWS * ACT)),
        ],
        acting: &[Draw::Normal(1.0, ACT)],
        variables: 0.0,
    },
    Case {
        name: "ifql",
        settings: "hidden = [8, 8]\nlr = 1e-2\ntau = 0.05\nflow_steps = 4\ncandidates = 5",
        noise: FLOW,
        acting: &[Draw::Normal(1.0, 5 * ACT)],
        variables: 0.0,
    },
    Case {
        name: "fac",
        settings: "hidden = [8, 8]\nlr = 1e-2\ntau = 0.05\nflow_steps = 4\nflow_updates = 1\n\
                   alpha = 0.7\nlambda = 0.3",
        noise: &[
            FLOW[0],
            FLOW[1],
            ("next", Draw::Normal(1.0, ROWS * ACT)),
            ("pushed", Draw::Normal(1.0, ROWS * ACT)),
            ("proposal", Draw::Normal(1.0, ROWS * ACT)),
        ],
        acting: &[Draw::Normal(1.0, ACT)],
        variables: 0.0,
    },
];

/// Methods with a setting that changes what they are, each under a name of its own.
pub(crate) const VARIANTS: &[Case] = &[Case {
    // Cal-QL. The returns lie among the critics' values, so that some are raised and some
    // are not.
    name: "cal-ql",
    settings: "hidden = [8, 8]\nactor_lr = 1e-2\ncritic_lr = 1e-2\ntau = 0.05\n\
               alpha = 2.0\nactions = 3\nbc_updates = 1\ncalibrated = true\ndiscount = 0.8\n\
               data.rewards.affine = { scale = 1.5, shift = -0.25 }",
    noise: &[
        ("own", Draw::Normal(1.0, ROWS * ACT)),
        ("next", Draw::Normal(1.0, ROWS * ACT)),
        ("random", Draw::Uniform(3 * ROWS * ACT)),
        ("pushed_own", Draw::Normal(1.0, 3 * ROWS * ACT)),
        ("pushed_next", Draw::Normal(1.0, 3 * ROWS * ACT)),
    ],
    acting: &[],
    variables: 0.0,
}];

/// What a flow's loss draws.
const FLOW: &[(&str, Draw)] = &[
    ("flow.noise", Draw::Normal(1.0, ROWS * ACT)),
    ("flow.time", Draw::Fraction(ROWS)),
];
