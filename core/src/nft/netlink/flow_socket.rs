//! Deleting connections that the kernel tracks: one dump, then deletions in batches.

use alloc::string::String;
use alloc::vec::Vec;
use std::io;

use super::Progress;
use super::flow::{Flow, FlowDump, ask_flows, delete_flows, forget_flows};
use super::message::Messages;
use super::reply::Answer;
use super::socket::{AskError, READINGS, Socket, SocketError};
use crate::net::Family;

/// How many deletions one datagram holds: some 25 KiB.
const DELETIONS: usize = 256;

impl Socket {
    /// Deletes the UDP connections of a family that `is_stale` says yes to, and says how many. The kernel's table is
    /// read once; what is new meanwhile is seen next time. Needs no memory for what is not stale.
    ///
    /// # Errors
    /// If the kernel does not let this process read its connections, or the socket fails. What was deleted stays so.
    pub fn delete_flows(
        &mut self,
        family: Family,
        mut is_stale: impl FnMut(&Flow) -> bool,
    ) -> Result<usize, AskError> {
        let mut stale = self.flows(family, &mut is_stale)?;
        // A table that changes while it is read shows some connections twice.
        stale.sort_unstable();
        stale.dedup();
        let mut deleted = 0_usize;
        for flows in stale.chunks(DELETIONS) {
            deleted = deleted.saturating_add(self.delete(flows)?);
        }
        Ok(deleted)
    }

    /// Makes the kernel forget every connection of a family in this namespace, of all protocols: for namespaces that
    /// are a test's own.
    ///
    /// # Errors
    /// If the kernel refuses, or the socket fails.
    pub fn forget_flows(&mut self, family: Family) -> Result<(), AskError> {
        let sequence = self.take_sequences(1);
        self.discard();
        self.send(&forget_flows(family, sequence))?;
        loop {
            for message in Messages::new(self.receive()?) {
                match Answer::read(&message) {
                    Some(answer) if answer.sequence == sequence && answer.errno == 0 => {
                        return Ok(());
                    }
                    Some(answer) if answer.sequence == sequence => {
                        let source = io::Error::from_raw_os_error(answer.errno);
                        let what = String::from("forgetting tracked connections");
                        return Err(AskError::Refused { what, source });
                    }
                    Some(_) | None => {}
                }
            }
        }
    }

    fn flows(
        &mut self,
        family: Family,
        is_stale: &mut impl FnMut(&Flow) -> bool,
    ) -> Result<Vec<Flow>, AskError> {
        let what = || String::from("tracked connections");
        let mut filtered = true;
        for _ in 0..READINGS {
            let mut stale = Vec::new();
            let sequence = self.take_sequences(1);
            let question = ask_flows(family, sequence, filtered);
            let mut dump = FlowDump::new(sequence);
            let progress = self.dump(&question, |received| {
                dump.read(received, |flow| {
                    if is_stale(&flow) {
                        stale.push(flow);
                    }
                })
            })?;
            match progress {
                Progress::Done => return Ok(stale),
                Progress::Refused(libc::EINVAL | libc::EOPNOTSUPP) if filtered => filtered = false,
                Progress::Refused(errno) => {
                    let source = io::Error::from_raw_os_error(errno);
                    let what = what();
                    return Err(AskError::Refused { what, source });
                }
                Progress::Interrupted | Progress::More => {}
            }
        }
        Err(AskError::Unsteady { what: what() })
    }

    /// Deletes flows in one datagram; says how many there still were.
    fn delete(&mut self, flows: &[Flow]) -> Result<usize, SocketError> {
        let count = u32::try_from(flows.len()).unwrap_or(u32::MAX);
        let first = self.take_sequences(count);
        let last = first.saturating_add(count).saturating_sub(1);
        self.discard();
        self.send(&delete_flows(flows, first))?;
        let mut gone = 0_usize;
        loop {
            for message in Messages::new(self.receive()?) {
                let Some(answer) = Answer::read(&message) else {
                    continue;
                };
                // Gone meanwhile is as good as deleted, but not our doing.
                gone = gone.saturating_add(usize::from(answer.errno != 0));
                if answer.sequence == last {
                    return Ok(flows.len().saturating_sub(gone));
                }
            }
        }
    }
}
