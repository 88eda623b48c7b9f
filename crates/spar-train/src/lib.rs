//! Update loop, metric sinks, crash-safe checkpoints and exact resume.
