//! What each queue has done, counted by its own thread and readable by any.

use alloc::sync::Arc;
use core::time::Duration;

use crate::sync::{CounterSlot, Counters};

macro_rules! queue_counters {
    ($($(#[$doc:meta])* $name:ident = $index:ident;)*) => {
        #[derive(Debug, Clone, Copy)]
        #[repr(usize)]
        pub(super) enum Count { $($index,)* }

        const COUNTS: usize = [$(Count::$index),*].len();

        /// Counts of one queue since the driver was started. Not one moment's: its thread goes on counting.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct QueueStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl QueueStats {
            fn from_counts(counts: &[u64; COUNTS]) -> Self {
                let [$($name),*] = *counts;
                Self { $($name),* }
            }

            /// The sum of two queues' counts.
            #[must_use]
            pub const fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name.wrapping_add(other.$name)),* }
            }
        }
    };
}

queue_counters! {
    /// IP packets read. One packet to be segmented counts as one.
    received_packets = ReceivedPackets;
    /// Bytes read, from the IP header on.
    received_bytes = ReceivedBytes;
    /// Packets written, each segment made in software for itself.
    sent_packets = SentPackets;
    /// Bytes written, from the IP header on.
    sent_bytes = SentBytes;
    /// Packets with the verdict `Pass`.
    passed = Passed;
    /// Packets with the verdict `Forward`.
    forwarded = Forwarded;
    /// Packets with the verdict `Reply`.
    replied = Replied;
    /// Packets with the verdict `Drop`.
    dropped = Dropped;
    /// Bursts processed.
    bursts = Bursts;
    /// Times the thread waited for packets.
    waits = Waits;
    /// Reads shorter than their headers, or longer than any packet, or that make no sense: never processed.
    unreadable = Unreadable;
    /// Checksums completed in software.
    software_checksums = SoftwareChecksums;
    /// Segments made in software.
    software_segments = SoftwareSegments;
    /// Packets lost because their offload fields contradict them.
    unsegmentable = Unsegmentable;
    /// Packets lost because the device had no room for them, though it was waited for.
    refused_writes = RefusedWrites;
    /// Packets that the device took only a part of.
    short_writes = ShortWrites;
    /// Packets lost because the device answered with an error.
    failed_writes = FailedWrites;
    /// The error number of the last failed write; 0 if there was none.
    last_write_error = LastWriteError;
    /// Frames without an IP packet, such as ARP: sent on to the other side, or left to the kernel.
    other_frames = OtherFrames;
    /// Frames that the kernel dropped because this queue did not read them fast enough. Brought up to date with the
    /// CPU time. A TUN counts its own as dropped on transmission (`ip -s link`).
    missed_frames = MissedFrames;
    /// CPU time that the queue's thread has used, in nanoseconds, in the kernel and outside it. Brought up to
    /// date when the thread waits, every 64 bursts, and when it ends.
    cpu_nanos = CpuNanos;
}

impl QueueStats {
    /// CPU time that the queue's thread has used; see [`QueueStats::cpu_nanos`].
    #[must_use]
    pub const fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos)
    }
}

/// The shared counts of one queue.
#[derive(Debug, Clone)]
pub(super) struct SharedStats(Arc<Counters<COUNTS>>);

impl SharedStats {
    pub(super) fn new() -> Self {
        Self(Counters::new(1))
    }

    pub(super) fn read(&self) -> QueueStats {
        QueueStats::from_counts(&self.0.sum())
    }

    pub(super) fn writer(&self) -> StatsWriter {
        StatsWriter {
            slot: self.0.slot(0),
            last_write_error: 0,
            cpu_nanos: 0,
        }
    }
}

/// The end of a queue's counts that its own thread holds.
#[derive(Debug)]
pub(super) struct StatsWriter {
    slot: CounterSlot<COUNTS>,
    last_write_error: u64,
    cpu_nanos: u64,
}

impl StatsWriter {
    pub(super) fn add(&self, count: Count, amount: usize) {
        self.slot.add(count as usize, amount as u64);
    }

    pub(super) fn set_last_write_error(&mut self, number: i32) {
        let number = u64::from(number.unsigned_abs());
        self.slot.add(
            Count::LastWriteError as usize,
            number.wrapping_sub(self.last_write_error),
        );
        self.last_write_error = number;
    }

    pub(super) fn set_cpu_time(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.slot
            .add(Count::CpuNanos as usize, nanos.wrapping_sub(self.cpu_nanos));
        self.cpu_nanos = nanos;
    }
}
