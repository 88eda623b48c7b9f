//! One file a method: its hyper-parameters with their source, its networks, its
//! update.

pub mod awac;
pub mod awr;
pub mod bc10;
pub mod bc_diffusion;
pub mod bc_flow;
pub mod bcq;
pub mod brac;
pub mod cql;
pub mod diffusion_ql;
pub mod fac;
pub mod fql;
pub mod hubl;
pub mod idql;
pub mod ifql;
pub mod inac;
pub mod iql;
pub mod lapo;
pub mod plas;
pub mod rebrac;
pub mod rpl;
pub mod sac_n;
pub mod srpo;
pub mod td3bc;

use crate::registry::Entry;

/// Every method, in the order they are listed. A method is added by its file
/// here, a line for its module and one for itself.
pub const METHODS: &[Entry] = &[
    Entry::of::<td3bc::Td3Bc>(),
    Entry::of::<iql::Iql>(),
    Entry::of::<bc10::Bc10>(),
    Entry::of::<awac::Awac>(),
    Entry::of::<rebrac::ReBrac>(),
    Entry::of::<plas::Plas>(),
    Entry::of::<plas::PlasP>(),
    Entry::of::<bcq::Bcq>(),
    Entry::of::<rpl::Rpl>(),
    Entry::of::<inac::InAc>(),
    Entry::of::<cql::Cql>(),
    Entry::of::<brac::BracP>(),
    Entry::of::<brac::BracV>(),
    Entry::of::<awr::Awr>(),
    Entry::of::<sac_n::SacN>(),
    Entry::of::<sac_n::Edac>(),
    Entry::of::<lapo::Lapo>(),
    Entry::of::<hubl::Blended<td3bc::Td3Bc>>(),
    Entry::of::<hubl::Blended<iql::Iql>>(),
    Entry::of::<bc_diffusion::BcDiffusion>(),
    Entry::of::<diffusion_ql::DiffusionQl>(),
    Entry::of::<idql::Idql>(),
    Entry::of::<srpo::Srpo>(),
    Entry::of::<bc_flow::BcFlow>(),
    Entry::of::<fql::Fql>(),
    Entry::of::<ifql::Ifql>(),
    Entry::of::<fac::Fac>(),
];
