//! Behaviour policies (SAC) and the D4RL data recipes that roll them out.
