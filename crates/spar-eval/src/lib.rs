//! Seeded rollouts of any policy, normalized scores and statistics.
