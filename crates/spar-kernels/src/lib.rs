//! Fused network, optimizer and averaging kernels, each behind one safe function with a plain reference.
