//! Behaviour cloning: the frozen anchor.
