//! The way out of a queue: writes packets, waits once for a full device, and counts what became of each.

use alloc::boxed::Box;
use alloc::vec;
use std::io::{self, Write};

use super::ethernet::MAX_LINK_LEN;
use super::port::{Port, Way};
use super::segment::{MAX_PACKET_LEN, Segments};
use super::stats::{Count, StatsWriter};
use super::stop::Stop;
use super::sys;
use super::virtio::HEADER_LEN;
use crate::dataplane::Offload;

/// How long a full device is waited for before the packet is given up, in milliseconds.
const WAIT_MS: i32 = 10;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The device has it.
    Done,
    /// It is lost, and counted.
    Lost,
    /// There is no device any more.
    Gone,
}

/// A queue's ends and counts.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) port: Port,
    pub(super) stats: StatsWriter,
    pub(super) stop: Stop,
}

impl Output {
    /// Writes one packet with the `before` bytes of headers before it. A full device is waited for once.
    pub(super) fn write(&mut self, way: Way, frame: &[u8], before: usize) -> Written {
        let file = &self.port.end(way).file;
        let mut waited = false;
        loop {
            match (&mut &*file).write(frame) {
                Ok(len) if len == frame.len() => {
                    self.stats.add(Count::SentPackets, 1);
                    self.stats.add(Count::SentBytes, len.saturating_sub(before));
                    return Written::Done;
                }
                Ok(_) => return self.lose(Count::ShortWrites),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if waited || sys::poll_two(file, libc::POLLOUT, &self.stop, WAIT_MS).is_err() {
                        return self.lose(Count::RefusedWrites);
                    }
                    waited = true;
                }
                Err(error) if means_gone(&error) => return Written::Gone,
                Err(error) => {
                    self.stats
                        .set_last_write_error(error.raw_os_error().unwrap_or(0));
                    return self.lose(Count::FailedWrites);
                }
            }
        }
    }

    /// Counts a packet that will not be written.
    pub(super) fn lose(&self, count: Count) -> Written {
        self.stats.add(count, 1);
        Written::Lost
    }
}

/// Cuts packets for an output that takes no packets to be segmented.
#[derive(Debug)]
pub(super) struct Segmenter {
    segment: Box<[u8]>,
    /// A segment behind its headers, where the device wants some.
    frame: Box<[u8]>,
}

impl Segmenter {
    /// Bytes that [`Segmenter::new`] allocates.
    pub(super) const MEMORY_BYTES: usize = MAX_PACKET_LEN + Self::FRAME_LEN;

    const FRAME_LEN: usize = HEADER_LEN + MAX_LINK_LEN + MAX_PACKET_LEN;

    pub(super) fn new() -> Self {
        Self {
            segment: vec![0; MAX_PACKET_LEN].into_boxed_slice(),
            frame: vec![0; Self::FRAME_LEN].into_boxed_slice(),
        }
    }

    /// Writes the segments of the packet behind the first `link_len` bytes of `frame`, each behind a link header like
    /// that; all of it is lost if its offload fields contradict it.
    pub(super) fn write(
        &mut self,
        way: Way,
        frame: &[u8],
        link_len: usize,
        offload: &Offload,
        output: &mut Output,
    ) -> Written {
        let Some((link, packet)) = frame.split_at_checked(link_len) else {
            return output.lose(Count::Unsegmentable);
        };
        let Ok(mut segments) = Segments::new(packet, offload, &mut self.segment) else {
            return output.lose(Count::Unsegmentable);
        };
        let header_len = output.port.header_len();
        let before = header_len.saturating_add(link_len);
        while let Some(segment) = segments.next_segment() {
            let end = before.saturating_add(segment.len());
            let Some((headers, body)) = self
                .frame
                .get_mut(..end)
                .and_then(|frame| frame.split_at_mut_checked(before))
            else {
                return output.lose(Count::Unsegmentable);
            };
            let Some((header, place)) = headers.split_at_mut_checked(header_len) else {
                return output.lose(Count::Unsegmentable);
            };
            header.fill(0);
            place.copy_from_slice(link);
            body.copy_from_slice(segment);
            output.stats.add(Count::SoftwareSegments, 1);
            let frame = self.frame.get(..end).unwrap_or_default();
            if output.write(way, frame, before) == Written::Gone {
                return Written::Gone;
            }
        }
        Written::Done
    }
}

/// EBADFD: a TUN file whose interface was deleted; EFAULT: one whose interface is being deleted while it is read
/// (drivers/net/tun.c, `tun_get` and `tun_ring_recv`); ENXIO: a packet socket whose interface was deleted
/// (net/packet/af_packet.c, `packet_snd`); the others: a socket whose peer has closed.
pub(super) fn means_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EBADFD
                | libc::EFAULT
                | libc::ENODEV
                | libc::ENXIO
                | libc::EPIPE
                | libc::ECONNRESET
                | libc::ENOTCONN
        )
    )
}
