//! The spar library facade and binary: train, eval, data, report.
