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
