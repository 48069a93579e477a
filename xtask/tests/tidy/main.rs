//! What no compiler checks: which layer may know which, how long files and functions get, where
//! `unsafe` may stand, what the default build depends on, whether the walks lead anywhere.

mod dependencies;
mod layers;
mod sizes;
mod sources;
mod walks;
mod words;
