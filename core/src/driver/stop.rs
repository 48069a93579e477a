//! One request to stop, which any number of threads see and wait for.

use alloc::sync::Arc;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::sys;
use crate::sync::Word;

/// A request to stop. Once made it stays; its descriptor is readable from then on.
#[derive(Debug, Clone)]
pub(super) struct Stop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    asked: Word,
    event: File,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            asked: Word::new(0),
            event: sys::event()?,
        })))
    }

    pub(super) fn ask(&self) {
        self.0.asked.write(1);
        // Fails only if the counter is at its maximum, and then it is readable already.
        let _ = (&self.0.event).write(&1_u64.to_ne_bytes());
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.asked.read() != 0
    }
}

impl AsRawFd for Stop {
    fn as_raw_fd(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
