//! Benchmarks of Portolan.
