//! Packets of the kernel: devices, the run loop with one thread for each queue, and in software what a device
//! cannot do itself. Linux only. All of its `unsafe` is in files of system calls.
//!
//! A [`Tun`] is for a host that routes: its kernel sends packets into it and takes them back. [`AfPacket`] is for
//! frames: a next hop for other routers, or a bump in the wire. Both ask for everything and say what they did without; a
//! [`Driver`] runs a processor for each of their queues, which is usually a [`Worker`](crate::dataplane::Worker).
//! `examples/tun_nat.rs` is a whole forwarder.
//!
//! ```no_run
//! use portolan::dataplane::{Config, Dataplane, Descriptor};
//! use portolan::driver::{Driver, RunOptions, Tun, TunOptions};
//! use portolan::net::Instant;
//!
//! let dataplane = Dataplane::new(&Config::default())?;
//! let tun = Tun::open(&TunOptions { queues: 2, up: true, ..TunOptions::new("ptl0") })?;
//! for loss in tun.losses() {
//!     eprintln!("{}: {loss}", tun.name());
//! }
//! let mut processors = Vec::new();
//! for _ in 0..tun.capabilities().queues {
//!     let mut worker = dataplane.worker()?;
//!     processors.push(move |now: Instant, frames: &mut [u8], burst: &mut [Descriptor]| {
//!         worker.process_burst(now, frames, burst);
//!     });
//! }
//! let driver = Driver::start(tun, processors, &RunOptions::default())?;
//! // Until it is told to stop, or its device goes.
//! let counts = driver.stop()?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `tun` | opening a device by name or by descriptor, probing downwards |
//! | `af_packet` | packet sockets on one interface, or on two |
//! | `ethernet` | the frame around a packet |
//! | `device`, `port` | any of these, and where a queue's packets come from and go |
//! | `capabilities` | what was granted, and what each loss costs |
//! | `run` | threads for the queues, started and stopped together |
//! | `queue` | one thread: read a burst, process it, write it out |
//! | `burst` | the memory of one burst |
//! | `output` | writing, and what became of each packet |
//! | `parties` | whom a packet is from and for |
//! | `segment` | checksums and segments in software |
//! | `virtio` | the header that carries offload |
//! | `stats`, `stop`, `error` | counts, the request to stop, what goes wrong |
//! | `datagrams` | a UDP socket, many datagrams at a time |
//! | `sys`, `wire`, `mmsg` | system calls |

mod af_packet;
mod burst;
mod capabilities;
mod datagrams;
mod device;
mod error;
mod ethernet;
mod mmsg;
mod output;
mod parties;
mod port;
mod queue;
mod run;
pub mod segment;
mod stats;
mod stop;
mod sys;
mod tun;
pub mod virtio;
mod wire;

pub use af_packet::{AfPacket, AfPacketOptions};
pub use capabilities::{Capabilities, Loss};
pub use datagrams::{AnswerSender, Datagrams, Peer};
pub use device::Device;
pub use error::{OpenError, RunError, SystemError};
pub use run::{Driver, RunOptions, now};
pub use stats::QueueStats;
pub use sys::huge_pages;
pub use tun::{Tun, TunOptions};
