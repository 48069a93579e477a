//! Services for smoltcp: a device around a device, so that a stack of one's own reaches ClusterIPs.
//!
//! What the stack sends passes the dataplane before the inner device has it; what the inner device received
//! passes it before the stack does. A virtual machine monitor, a VPN or a node agent that speaks smoltcp needs
//! no kernel for its Services.

use crate::dataplane::{Descriptor, Verdict, Worker};
use crate::net;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Answers to the stack's own packets (ICMP errors) that wait to be received; more are dropped.
const MAX_ANSWERS: usize = 16;
/// Packets dropped in a row before [`Device::receive`] says that there is none.
const MAX_DROPS: usize = 64;
/// Room for an ICMP error, whatever the packet that it answers (RFC 4443, 2.4).
const MIN_ROOM: usize = 1280;

/// A device whose packets pass a [`Worker`], in both directions.
///
/// Only for devices without a link layer ([`Medium::Ip`]): packets begin at the IP header. Checksums are the
/// stack's to fill and to verify, whatever the inner device could do. Time is the stack's own. Buffers are allocated by
/// [`ServiceDevice::new`]; an answer to the stack allocates its own.
#[derive(Debug)]
pub struct ServiceDevice<D> {
    device: D,
    worker: Worker,
    received: Vec<u8>,
    sent: Vec<u8>,
    answers: VecDeque<Vec<u8>>,
}

/// The inner device has a link layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnIpDevice;

impl core::fmt::Display for NotAnIpDevice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the device's medium must be Medium::Ip: packets begin at the IP header")
    }
}

impl core::error::Error for NotAnIpDevice {}

impl<D: Device> ServiceDevice<D> {
    /// Puts `worker` before and behind `device`.
    ///
    /// # Errors
    /// [`NotAnIpDevice`] if the device has a link layer.
    pub fn new(device: D, worker: Worker) -> Result<Self, NotAnIpDevice> {
        let capabilities = device.capabilities();
        if capabilities.medium != Medium::Ip {
            return Err(NotAnIpDevice);
        }
        let room = capabilities.max_transmission_unit.max(MIN_ROOM);
        let answers = VecDeque::with_capacity(MAX_ANSWERS);
        Ok(Self {
            device,
            worker,
            received: vec![0; room],
            sent: vec![0; room],
            answers,
        })
    }

    /// The inner device.
    #[must_use]
    pub const fn inner(&self) -> &D {
        &self.device
    }

    /// The inner device, to be changed between polls.
    #[must_use]
    pub const fn inner_mut(&mut self) -> &mut D {
        &mut self.device
    }
}

/// Moves one packet; its verdict and its length afterwards.
fn translate(worker: &mut Worker, now: Instant, frame: &mut [u8], len: usize) -> (Verdict, usize) {
    let micros = u64::try_from(now.total_micros()).unwrap_or(0);
    let now = net::Instant::from_nanos(micros.saturating_mul(1_000));
    let mut descriptor = Descriptor::new(0, u32::try_from(len).unwrap_or(u32::MAX));
    descriptor.capacity = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let mut burst = [descriptor];
    worker.process_burst(now, frame, &mut burst);
    let [descriptor] = burst;
    (descriptor.verdict(), descriptor.len as usize)
}

fn remember(answers: &mut VecDeque<Vec<u8>>, answer: Option<&[u8]>) {
    if let Some(answer) = answer
        && answers.len() < MAX_ANSWERS
    {
        answers.push_back(answer.to_vec());
    }
}

impl<D: Device> Device for ServiceDevice<D> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a, D::TxToken<'a>>
    where
        Self: 'a;

    fn receive(
        &mut self,
        timestamp: Instant,
    ) -> Option<(Received<'_>, Sending<'_, D::TxToken<'_>>)> {
        let len = self.next_received(timestamp)?;
        let Self {
            device,
            worker,
            received,
            sent,
            answers,
        } = self;
        let token = device.transmit(timestamp)?;
        let received = Received {
            packet: received.get(..len)?,
        };
        Some((
            received,
            Sending {
                token,
                worker,
                timestamp,
                frame: sent,
                answers,
            },
        ))
    }

    fn transmit(&mut self, timestamp: Instant) -> Option<Sending<'_, D::TxToken<'_>>> {
        let Self {
            device,
            worker,
            sent,
            answers,
            ..
        } = self;
        let token = device.transmit(timestamp)?;
        Some(Sending {
            token,
            worker,
            timestamp,
            frame: sent,
            answers,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = self.device.capabilities();
        // What is to be translated must be summed first, whatever the inner device would do by itself.
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

impl<D: Device> ServiceDevice<D> {
    /// Puts the next packet for the stack into `received`.
    fn next_received(&mut self, timestamp: Instant) -> Option<usize> {
        if let Some(answer) = self.answers.pop_front() {
            self.received
                .get_mut(..answer.len())?
                .copy_from_slice(&answer);
            return Some(answer.len());
        }
        for _ in 0..MAX_DROPS {
            let (token, _) = self.device.receive(timestamp)?;
            let frame = self.received.as_mut_slice();
            let taken = token.consume(|packet| {
                let slot = frame.get_mut(..packet.len())?;
                slot.copy_from_slice(packet);
                Some(packet.len())
            });
            let Some(len) = taken else { continue };
            match translate(&mut self.worker, timestamp, frame, len) {
                (Verdict::Pass | Verdict::Forward, len) => return Some(len),
                (Verdict::Reply, len) => {
                    // The sender of what was received is behind the inner device.
                    if let Some(token) = self.device.transmit(timestamp)
                        && let Some(answer) = frame.get(..len)
                    {
                        token.consume(len, |out| out.copy_from_slice(answer));
                    }
                }
                (Verdict::Drop, _) => {}
            }
        }
        None
    }
}

/// A packet for the stack.
#[derive(Debug)]
pub struct Received<'a> {
    packet: &'a [u8],
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.packet)
    }
}

/// A packet that the stack is about to send.
#[derive(Debug)]
pub struct Sending<'a, T> {
    token: T,
    worker: &'a mut Worker,
    timestamp: Instant,
    frame: &'a mut Vec<u8>,
    answers: &'a mut VecDeque<Vec<u8>>,
}

impl<T: TxToken> TxToken for Sending<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let Self {
            token,
            worker,
            timestamp,
            frame,
            answers,
        } = self;
        if frame.len() < len {
            // Beyond the device's own limit: the stack's mistake, kept from being ours.
            return token.consume(len, write);
        }
        let (packet, _) = frame.split_at_mut(len);
        let result = write(packet);
        match translate(worker, timestamp, frame, len) {
            (Verdict::Pass | Verdict::Forward, len) => {
                if let Some(packet) = frame.get(..len) {
                    token.consume(len, |out| out.copy_from_slice(packet));
                }
            }
            (Verdict::Reply, len) => remember(answers, frame.get(..len)),
            (Verdict::Drop, _) => {}
        }
        result
    }
}

#[cfg(test)]
mod tests;
