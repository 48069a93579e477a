//! The kernel's tables, with real packets: each test has a network namespace of its own.

mod agreement;
mod generate;
mod interfaces;
mod kernel;
mod life;
mod refusals;
mod scene;
mod succession;
