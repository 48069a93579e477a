//! The run loop: one thread for each queue of a device, started together and stopped together.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};

use super::burst::Burst;
use super::device::Device;
use super::error::{RunError, SystemError};
use super::output::{Output, Segmenter};
use super::queue::Queue;
use super::stats::{QueueStats, SharedStats};
use super::stop::Stop;
use crate::dataplane::Descriptor;
use crate::net::Instant;

/// How the threads run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// Memory for one burst's packets, in bytes, for each queue. At least one packet of 64 KiB always fits. A
    /// burst ends when the next such packet would not fit, or at 64 packets.
    pub frames_bytes: usize,
    /// Complete checksums and cut segments in software even if the device would take them. Without a virtio
    /// header that happens anyway.
    pub software_offload: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            frames_bytes: 1 << 18,
            software_offload: false,
        }
    }
}

impl RunOptions {
    /// Bytes that [`Driver::start`] allocates for a device of that many queues, threads' stacks not counted.
    #[must_use]
    pub const fn memory_bytes(&self, queues: usize) -> usize {
        let burst = Burst::memory_bytes(self.frames_bytes);
        queues.saturating_mul(burst.saturating_add(Segmenter::MEMORY_BYTES))
    }
}

/// A device whose packets are being processed.
///
/// Dropping it stops it.
#[derive(Debug)]
pub struct Driver {
    device: String,
    queues: Vec<RunningQueue>,
    stop: Stop,
}

#[derive(Debug)]
struct RunningQueue {
    thread: Option<JoinHandle<Result<(), RunError>>>,
    stats: SharedStats,
}

/// The time on the clock that the driver hands to its processors. Timed work beside the packets must use it too.
#[must_use]
pub fn now() -> Instant {
    super::sys::monotonic()
}

impl Driver {
    /// Starts one thread for each queue. Each has a processor of its own, which is called with one burst at a
    /// time and leaves a verdict in every descriptor. What is dropped is counted. Everything else is written back to
    /// the queue of a TUN that it came from; where it goes on packet sockets, [`super::AfPacket`] says. A processor gets
    /// at least one packet and at most 64.
    ///
    /// # Errors
    /// If there are not as many processors as queues, or a thread cannot be started. Nothing runs then.
    pub fn start<P>(
        device: impl Into<Device>,
        processors: Vec<P>,
        options: &RunOptions,
    ) -> Result<Self, RunError>
    where
        P: FnMut(Instant, &mut [u8], &mut [Descriptor]) + Send + 'static,
    {
        let (device, ports, capabilities) = device.into().into_ports();
        if ports.len() != processors.len() {
            let (queues, processors) = (ports.len(), processors.len());
            return Err(RunError::ProcessorCount {
                device,
                queues,
                processors,
            });
        }
        let stop = Stop::new().map_err(|error| SystemError::new(&device, "eventfd", error))?;
        let software = options.software_offload || !capabilities.virtio_header;
        let mut driver = Self {
            device,
            queues: Vec::with_capacity(ports.len()),
            stop,
        };
        for (index, (port, processor)) in ports.into_iter().zip(processors).enumerate() {
            let stats = SharedStats::new();
            let stop = driver.stop.clone();
            let output = Output {
                port,
                stats: stats.writer(),
                stop,
            };
            let segmenter = software.then(Segmenter::new);
            let mut queue = Queue::new(index, options.frames_bytes, output, segmenter);
            let ends = StopAtEnd(driver.stop.clone());
            let thread = thread::Builder::new()
                .name(format!("portolan-q{index}"))
                .spawn(move || {
                    let _ends = ends;
                    queue.run(processor)
                })
                .map_err(|error| SystemError::new(&driver.device, "clone", error))?;
            driver.queues.push(RunningQueue {
                thread: Some(thread),
                stats,
            });
        }
        Ok(driver)
    }

    /// The interface's name.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The counts of each queue.
    pub fn stats(&self) -> impl Iterator<Item = QueueStats> {
        self.queues.iter().map(|queue| queue.stats.read())
    }

    /// Whether no queue has ended. If one ends, the others follow: [`Driver::stop`] then says why.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.stop.is_asked()
    }

    /// Stops every thread and waits for them, and returns the last counts of each queue.
    ///
    /// # Errors
    /// The reason of the first queue that ended by itself, if one did.
    pub fn stop(mut self) -> Result<Vec<QueueStats>, RunError> {
        self.join()?;
        Ok(self.stats().collect())
    }

    fn join(&mut self) -> Result<(), RunError> {
        self.stop.ask();
        let mut result = Ok(());
        for (queue, running) in self.queues.iter_mut().enumerate() {
            let Some(thread) = running.thread.take() else {
                continue;
            };
            let ended = thread.join().unwrap_or_else(|_| {
                Err(RunError::ProcessorPanicked {
                    device: self.device.clone(),
                    queue,
                })
            });
            if result.is_ok() {
                result = ended;
            }
        }
        result
    }
}

/// Readable as soon as the driver has stopped by itself, for hosts that wait for descriptors.
impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Whoever wants the reason calls `stop`.
        let _ = self.join();
    }
}

/// Stops the other queues when one ends, however it ends: packets hashed to its queue would be lost silently.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.ask();
    }
}

#[cfg(test)]
mod tests;
