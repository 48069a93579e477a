//! One queue's thread: reads a burst, has it processed, writes it out. No allocation after the start.

use alloc::string::String;
use std::io::{self, Read};

use super::burst::{Burst, MAX_PACKETS};
use super::error::{RunError, SystemError};
use super::output::{Output, Segmenter, Written, means_gone};
use super::segment;
use super::stats::Count;
use super::sys;
use super::virtio::{self, gso_type};
use crate::dataplane::{Descriptor, Offload, Verdict, offload_flags};
use crate::net::Instant;

/// Bursts between two readings of the thread's CPU clock, which is a system call.
const BURSTS_PER_CLOCK: u32 = 64;

/// Everything that one queue's thread owns.
#[derive(Debug)]
pub(super) struct Queue {
    device: String,
    index: usize,
    burst: Burst,
    output: Output,
    /// Set if what the device does not take is to be done here.
    segmenter: Option<Segmenter>,
}

impl Queue {
    pub(super) fn new(
        device: String,
        index: usize,
        frames_bytes: usize,
        output: Output,
        segmenter: Option<Segmenter>,
    ) -> Self {
        Self {
            device,
            index,
            burst: Burst::new(frames_bytes),
            output,
            segmenter,
        }
    }

    /// Runs until told to stop or until the device fails.
    pub(super) fn run<P>(&mut self, mut process: P) -> Result<(), RunError>
    where
        P: FnMut(Instant, &mut [u8], &mut [Descriptor]),
    {
        let result = self.run_until_stopped(&mut process);
        self.output.stats.set_cpu_time(sys::thread_cpu_time());
        result
    }

    fn run_until_stopped<P>(&mut self, process: &mut P) -> Result<(), RunError>
    where
        P: FnMut(Instant, &mut [u8], &mut [Descriptor]),
    {
        let mut until_clock = BURSTS_PER_CLOCK;
        while !self.output.stop.is_asked() {
            self.read_burst()?;
            if self.burst.len() == 0 {
                self.wait()?;
                continue;
            }
            self.output.stats.add(Count::Bursts, 1);
            let (frames, descriptors) = self.burst.parts();
            process(sys::monotonic(), frames, descriptors);
            self.write_burst()?;
            until_clock = until_clock.saturating_sub(1);
            if until_clock == 0 {
                until_clock = BURSTS_PER_CLOCK;
                self.output.stats.set_cpu_time(sys::thread_cpu_time());
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), RunError> {
        self.output.stats.set_cpu_time(sys::thread_cpu_time());
        self.output.stats.add(Count::Waits, 1);
        sys::poll_two(&self.output.file, libc::POLLIN, &self.output.stop, -1)
            .map_err(|error| SystemError::new(&self.device, "poll", error).into())
    }

    /// Reads until the burst is full or the device has no more.
    fn read_burst(&mut self) -> Result<(), RunError> {
        self.burst.clear();
        let header_len = self.output.header_len;
        let (mut packets, mut bytes) = (0_usize, 0_usize);
        for _ in 0..MAX_PACKETS {
            let Some((slot, room)) = self.burst.room(header_len) else {
                break;
            };
            match (&self.output.file).read(room) {
                Ok(0) => return Err(self.gone()),
                Ok(len) => match len.checked_sub(header_len) {
                    Some(len) if len > 0 && self.burst.push(slot, len, header_len) => {
                        packets = packets.saturating_add(1);
                        bytes = bytes.saturating_add(len);
                    }
                    _ => self.output.stats.add(Count::Unreadable, 1),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if means_gone(&error) => return Err(self.gone()),
                Err(error) => return Err(SystemError::new(&self.device, "read", error).into()),
            }
        }
        self.output.stats.add(Count::ReceivedPackets, packets);
        self.output.stats.add(Count::ReceivedBytes, bytes);
        Ok(())
    }

    fn write_burst(&mut self) -> Result<(), RunError> {
        for index in 0..self.burst.len() {
            let Some(descriptor) = self.burst.descriptor(index) else {
                break;
            };
            let count = match descriptor.verdict() {
                Verdict::Pass => Count::Passed,
                Verdict::Forward => Count::Forwarded,
                Verdict::Reply => Count::Replied,
                Verdict::Drop => Count::Dropped,
            };
            self.output.stats.add(count, 1);
            if descriptor.verdict() != Verdict::Drop
                && self.write_packet(&descriptor) == Written::Gone
            {
                return Err(self.gone());
            }
        }
        Ok(())
    }

    fn write_packet(&mut self, descriptor: &Descriptor) -> Written {
        debug_assert!(
            descriptor.verdict() != Verdict::Reply || descriptor.offload == Offload::default(),
            "an answer is a packet of its own, complete with its checksum"
        );
        if let Some(segmenter) = &mut self.segmenter {
            if descriptor.offload.gso_type != gso_type::NONE {
                let Some(packet) = self.burst.packet(descriptor, 0) else {
                    return self.output.lose(Count::Unsegmentable);
                };
                return segmenter.write(packet, &descriptor.offload, &mut self.output);
            }
            if descriptor.offload.flags & offload_flags::PARTIAL != 0 {
                let mut offload = descriptor.offload;
                let completed = self
                    .burst
                    .packet(descriptor, 0)
                    .is_some_and(|packet| segment::complete_checksum(packet, &mut offload).is_ok());
                if !completed {
                    return self.output.lose(Count::Unsegmentable);
                }
                self.output.stats.add(Count::SoftwareChecksums, 1);
            }
            self.burst
                .set_header(descriptor, virtio::encode(&Offload::default()));
        } else if matches!(descriptor.verdict(), Verdict::Forward | Verdict::Reply) {
            // What is passed goes back with the very header that it came with.
            self.burst
                .set_header(descriptor, virtio::encode(&descriptor.offload));
        }
        let Some(frame) = self.burst.packet(descriptor, self.output.header_len) else {
            return self.output.lose(Count::Unsegmentable);
        };
        self.output.write(frame)
    }

    fn gone(&self) -> RunError {
        RunError::DeviceGone {
            device: self.device.clone(),
            queue: self.index,
        }
    }
}
