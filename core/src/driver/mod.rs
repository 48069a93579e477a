//! Packets of the kernel: devices, the run loop with one thread for each queue, and in software what a device
//! cannot do itself. Linux only. All of its `unsafe` is in one file, of system calls.

mod burst;
mod capabilities;
mod error;
mod output;
mod queue;
mod run;
pub mod segment;
mod stats;
mod stop;
mod sys;
mod tun;
pub mod virtio;

pub use capabilities::{Capabilities, Loss};
pub use error::{OpenError, RunError, SystemError};
pub use run::{Driver, RunOptions, now};
pub use stats::QueueStats;
pub use tun::{Tun, TunOptions};
