//! HalfCheetah, Hopper and Walker2d with gym v2 semantics over MuJoCo.
