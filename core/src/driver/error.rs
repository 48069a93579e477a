//! What can go wrong with a device, always by name.

use alloc::string::String;
use core::fmt;
use std::io;

/// A system call that the kernel refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct SystemError {
    /// The network interface.
    pub device: String,
    /// The system call or ioctl, as in its manual page.
    pub operation: &'static str,
    /// What the kernel answered.
    pub source: io::Error,
}

impl SystemError {
    pub(super) fn new(device: &str, operation: &'static str, source: io::Error) -> Self {
        Self {
            device: String::from(device),
            operation,
            source,
        }
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.device, self.operation, self.source)
    }
}

impl core::error::Error for SystemError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Why a device could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A system call was refused.
    System(SystemError),
    /// The device, or what was asked of it, cannot be used.
    Unsuitable {
        /// The network interface, or what the caller named it.
        device: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Unsuitable { device, rule } => write!(f, "{device}: {rule}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Unsuitable { .. } => None,
        }
    }
}

impl From<SystemError> for OpenError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

/// Why a driver did not start, or stopped without being told to.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A system call was refused.
    System(SystemError),
    /// The device has gone: it was deleted, or the other end was closed.
    DeviceGone {
        /// The network interface.
        device: String,
        /// The queue that noticed, counted from 0.
        queue: usize,
    },
    /// A queue without somebody to process its packets, or the other way round.
    ProcessorCount {
        /// The network interface.
        device: String,
        /// How many queues the device has.
        queues: usize,
        /// How many processors were given.
        processors: usize,
    },
    /// The processor of a queue panicked.
    ProcessorPanicked {
        /// The network interface.
        device: String,
        /// The queue, counted from 0.
        queue: usize,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::DeviceGone { device, queue } => {
                write!(
                    f,
                    "{device}: the device has gone (noticed by queue {queue})"
                )
            }
            Self::ProcessorCount {
                device,
                queues,
                processors,
            } => {
                write!(
                    f,
                    "{device}: {queues} queues need as many processors, not {processors}"
                )
            }
            Self::ProcessorPanicked { device, queue } => {
                write!(
                    f,
                    "{device}: the packet processor of queue {queue} panicked"
                )
            }
        }
    }
}

impl core::error::Error for RunError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::DeviceGone { .. }
            | Self::ProcessorCount { .. }
            | Self::ProcessorPanicked { .. } => None,
        }
    }
}

impl From<SystemError> for RunError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}
