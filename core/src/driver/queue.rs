//! One queue's thread: reads a burst, has it processed, writes it out. No allocation after the start.

use std::io;

use super::burst::{Burst, MAX_PACKETS};
use super::error::{RunError, SystemError};
use super::ethernet;
use super::output::{Output, Segmenter, Written, means_gone};
use super::port::{Arrived, Framing, Way};
use super::segment;
use super::stats::Count;
use super::sys;
use super::virtio::{self, gso_type};
use crate::dataplane::{Descriptor, Offload, Verdict, offload_flags};
use crate::net::Instant;

/// Bursts between two readings of the thread's CPU clock and of what the kernel has dropped, which are system calls.
const BURSTS_PER_CLOCK: u32 = 64;

/// How often an interface that is down is looked for, in milliseconds: nobody tells when it is deleted.
const LOOK_MS: i32 = 100;

/// Everything that one queue's thread owns.
#[derive(Debug)]
pub(super) struct Queue {
    index: usize,
    burst: Burst,
    output: Output,
    /// Set if what the device does not take is to be done here.
    segmenter: Option<Segmenter>,
    /// The interface was set down and has brought nothing since.
    is_down: bool,
}

impl Queue {
    pub(super) fn new(
        index: usize,
        frames_bytes: usize,
        output: Output,
        segmenter: Option<Segmenter>,
    ) -> Self {
        Self {
            index,
            burst: Burst::new(frames_bytes),
            output,
            segmenter,
            is_down: false,
        }
    }

    /// Runs until told to stop or until the device fails.
    pub(super) fn run<P>(&mut self, mut process: P) -> Result<(), RunError>
    where
        P: FnMut(Instant, &mut [u8], &mut [Descriptor]),
    {
        let result = self.run_until_stopped(&mut process);
        self.note_slow_counts();
        result
    }

    fn run_until_stopped<P>(&mut self, process: &mut P) -> Result<(), RunError>
    where
        P: FnMut(Instant, &mut [u8], &mut [Descriptor]),
    {
        let mut until_clock = BURSTS_PER_CLOCK;
        while !self.output.stop.is_asked() {
            let is_drained = self.read_burst()?;
            if self.burst.len() == 0 {
                if is_drained {
                    self.wait()?;
                }
                continue;
            }
            self.output.stats.add(Count::Bursts, 1);
            let (frames, descriptors) = self.burst.parts();
            process(sys::monotonic(), frames, descriptors);
            self.write_burst()?;
            until_clock = until_clock.saturating_sub(1);
            if until_clock == 0 {
                until_clock = BURSTS_PER_CLOCK;
                self.note_slow_counts();
            }
        }
        Ok(())
    }

    fn note_slow_counts(&mut self) {
        let missed = self.output.port.missed();
        self.output.stats.add(Count::MissedFrames, missed);
        self.output.stats.set_cpu_time(sys::thread_cpu_time());
    }

    fn wait(&mut self) -> Result<(), RunError> {
        self.note_slow_counts();
        if self.is_down && !self.output.port.is_there() {
            return Err(self.gone(Way::Back));
        }
        self.output.stats.add(Count::Waits, 1);
        let near = &self.output.port.near;
        let patience = if self.is_down { LOOK_MS } else { -1 };
        sys::poll_two(&near.file, libc::POLLIN, &self.output.stop, patience)
            .map_err(|error| SystemError::new(&near.name, "poll", error).into())
    }

    /// Reads until the burst is full or the device has no more, which it says.
    fn read_burst(&mut self) -> Result<bool, RunError> {
        self.burst.clear();
        let before = self.output.port.room_before();
        let (mut packets, mut bytes, mut is_drained) = (0_usize, 0_usize, false);
        for _ in 0..MAX_PACKETS {
            let Some((slot, room)) = self.burst.room(before) else {
                break;
            };
            match self.output.port.read(room) {
                Ok(Arrived::Closed) => return Err(self.gone(Way::Back)),
                Ok(Arrived::Packet(placed)) if self.burst.push(slot, &placed) => {
                    if self.output.port.far.is_some() {
                        self.burst.note_sender();
                    }
                    packets = packets.saturating_add(1);
                    bytes = bytes.saturating_add(placed.len);
                }
                Ok(Arrived::Packet(_) | Arrived::Unreadable) => {
                    self.output.stats.add(Count::Unreadable, 1);
                }
                Ok(Arrived::Other { begin, end }) => {
                    self.output.stats.add(Count::OtherFrames, 1);
                    let frame = self.burst.read(slot, before, begin, end);
                    if self.output.port.far.is_some()
                        && self.output.write(Way::On, frame, virtio::HEADER_LEN) == Written::Gone
                    {
                        return Err(self.gone(Way::On));
                    }
                }
                Ok(Arrived::Kernels) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    is_drained = true;
                    break;
                }
                Err(error) => self.judge(error)?,
            }
        }
        self.is_down &= packets == 0;
        self.output.stats.add(Count::ReceivedPackets, packets);
        self.output.stats.add(Count::ReceivedBytes, bytes);
        Ok(is_drained)
    }

    /// Goes on after an error that is none, or says what it means.
    fn judge(&mut self, error: io::Error) -> Result<(), RunError> {
        let frames = matches!(self.output.port.framing, Framing::Frames { .. });
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(()),
            // The interface was set down, and may be set up again; or it is being deleted.
            Some(libc::ENETDOWN) if frames => {
                self.is_down = true;
                Ok(())
            }
            _ if means_gone(&error) => Err(self.gone(Way::Back)),
            _ => Err(SystemError::new(&self.output.port.near.name, "read", error).into()),
        }
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
            let Some(mut way) = self.output.port.way(descriptor.verdict()) else {
                continue;
            };
            // A client that is its own endpoint is on this side, and its router would hardly send it its own packets.
            if way == Way::On
                && descriptor.verdict() == Verdict::Forward
                && self.burst.is_for_its_sender(index, &descriptor)
            {
                way = Way::Back;
            }
            if self.write_packet(index, &descriptor, way) == Written::Gone {
                return Err(self.gone(way));
            }
        }
        Ok(())
    }

    fn write_packet(&mut self, index: usize, descriptor: &Descriptor, way: Way) -> Written {
        debug_assert!(
            descriptor.verdict() != Verdict::Reply || descriptor.offload == Offload::default(),
            "an answer is a packet of its own, complete with its checksum"
        );
        let link_len = self.burst.link_len(index);
        let header_len = self.output.port.header_len();
        if way == Way::Back
            && let Some(frame) = self.burst.packet(descriptor, link_len)
        {
            ethernet::turn_round(frame.get_mut(..link_len).unwrap_or_default());
        }
        if let Some(segmenter) = &mut self.segmenter {
            if descriptor.offload.gso_type != gso_type::NONE {
                let Some(frame) = self.burst.packet(descriptor, link_len) else {
                    return self.output.lose(Count::Unsegmentable);
                };
                let offload = &descriptor.offload;
                return segmenter.write(way, frame, link_len, offload, &mut self.output);
            }
            if !self.complete_checksum(descriptor) {
                return self.output.lose(Count::Unsegmentable);
            }
            let none = virtio::encode(&Offload::default());
            self.burst.set_header(descriptor, link_len, none);
        } else if matches!(descriptor.verdict(), Verdict::Forward | Verdict::Reply) {
            // What is passed goes on with the very header that it came with.
            let Some(offload) = ethernet::behind_link(descriptor.offload, link_len) else {
                return self.output.lose(Count::Unsegmentable);
            };
            self.burst
                .set_header(descriptor, link_len, virtio::encode(&offload));
        }
        let before = header_len.saturating_add(link_len);
        let Some(frame) = self.burst.packet(descriptor, before) else {
            return self.output.lose(Count::Unsegmentable);
        };
        self.output.write(way, frame, before)
    }

    /// Completes a partial checksum in software; `false` if there is no right way to.
    fn complete_checksum(&mut self, descriptor: &Descriptor) -> bool {
        if descriptor.offload.flags & offload_flags::PARTIAL == 0 {
            return true;
        }
        let mut offload = descriptor.offload;
        let completed = self
            .burst
            .packet(descriptor, 0)
            .is_some_and(|packet| segment::complete_checksum(packet, &mut offload).is_ok());
        if completed {
            self.output.stats.add(Count::SoftwareChecksums, 1);
        }
        completed
    }

    fn gone(&self, way: Way) -> RunError {
        RunError::DeviceGone {
            device: self.output.port.end(way).name.clone(),
            queue: self.index,
        }
    }
}
