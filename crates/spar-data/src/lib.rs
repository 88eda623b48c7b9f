//! D4RL data files as validated datasets, transitions, normalizers and seeded batches.
