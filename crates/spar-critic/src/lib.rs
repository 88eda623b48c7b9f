//! Conservative critics: ensembles, target critics, expectile and TD losses.
