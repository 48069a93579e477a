//! What a device turned out to be able to do, and what had to be done without.

use alloc::string::String;
use core::fmt;

/// What was granted. Everything else is a [`Loss`], if it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How many queues, each with its own file descriptor.
    pub queues: usize,
    /// Every packet is led by a `struct virtio_net_hdr`, so partial checksums and packets to be segmented may
    /// be written.
    pub virtio_header: bool,
    /// The device may hand over TCP and UDP packets whose checksum is partial (`TUN_F_CSUM`).
    pub checksum: bool,
    /// The device may hand over TCP packets to be segmented, up to 64 KiB long (`TUN_F_TSO4`, `TUN_F_TSO6`).
    pub tcp_segmentation: bool,
    /// The same for segments with ECN's CWR flag (`TUN_F_TSO_ECN`).
    pub ecn_segmentation: bool,
    /// The device may hand over UDP packets to be segmented (`TUN_F_USO4`, `TUN_F_USO6`).
    pub udp_segmentation: bool,
    /// The interface outlives this process, because that was asked for.
    pub persistent: bool,
}

/// Something that was asked for and not granted. Traffic flows all the same; the sentence says what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Fewer queues.
    Queues {
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        granted: usize,
        /// The system's answer.
        why: String,
    },
    /// No virtio header, and with it no offload at all.
    VirtioHeader {
        /// The system's answer.
        why: String,
    },
    /// No partial checksums from the device.
    Checksum {
        /// The system's answer.
        why: String,
    },
    /// No TCP packets longer than the MTU from the device.
    TcpSegmentation {
        /// The system's answer.
        why: String,
    },
    /// TCP packets with CWR are segmented before they arrive.
    EcnSegmentation {
        /// The system's answer.
        why: String,
    },
    /// No UDP packets longer than the MTU from the device.
    UdpSegmentation {
        /// The system's answer.
        why: String,
    },
    /// The MTU could not be set.
    Mtu {
        /// The MTU asked for, in bytes.
        wanted: u32,
        /// The system's answer.
        why: String,
    },
    /// The interface could not be set up.
    Up {
        /// The system's answer.
        why: String,
    },
    /// The interface goes when the process does.
    Persistence {
        /// The system's answer.
        why: String,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queues {
                wanted,
                granted,
                why,
            } => write!(
                f,
                "{granted} of {wanted} queues ({why}): one worker thread for each queue there is"
            ),
            Self::VirtioHeader { why } => write!(
                f,
                "no virtio header ({why}): no offload, every packet is at most one MTU long and its checksum \
                 is complete"
            ),
            Self::Checksum { why } => write!(
                f,
                "no checksum offload ({why}): the sender's kernel completes every checksum, and nothing is \
                 segmented late"
            ),
            Self::TcpSegmentation { why } => {
                write!(
                    f,
                    "no TCP segmentation offload ({why}): every TCP packet is at most one MTU long"
                )
            }
            Self::EcnSegmentation { why } => {
                write!(
                    f,
                    "no TCP segmentation offload with CWR ({why}): the kernel segments those itself"
                )
            }
            Self::UdpSegmentation { why } => write!(
                f,
                "no UDP segmentation offload ({why}; Linux has it since 6.2): the kernel segments those itself"
            ),
            Self::Mtu { wanted, why } => {
                write!(
                    f,
                    "the MTU is not set to {wanted} ({why}): set it by other means, if it must be"
                )
            }
            Self::Up { why } => {
                write!(
                    f,
                    "the interface is not set up ({why}): set it up by other means, if it is down"
                )
            }
            Self::Persistence { why } => {
                write!(
                    f,
                    "not persistent ({why}): the interface goes when this process does"
                )
            }
        }
    }
}

impl Capabilities {
    /// One queue and nothing else.
    pub(super) const fn plain() -> Self {
        Self {
            queues: 1,
            virtio_header: false,
            checksum: false,
            tcp_segmentation: false,
            ecn_segmentation: false,
            udp_segmentation: false,
            persistent: false,
        }
    }
}
