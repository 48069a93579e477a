//! Why the kernel's tables are not what they should be.

use super::command::NftError;
use super::netlink::{AskError, SocketError};
use super::table::REPAIRS;
use alloc::string::String;
use core::fmt;

/// Why the kernel's tables are not what they should be. What the kernel had before is in force; the next call
/// goes on from there.
#[derive(Debug)]
#[non_exhaustive]
pub enum TableError {
    /// The kernel, or `nft`, lacks something; says what.
    Unsupported(String),
    /// `nft` refused.
    Nft(NftError),
    /// The netlink socket failed.
    Socket(SocketError),
    /// A table could not be read.
    Read(AskError),
    /// The tables did not become what they should, though they were read and repaired several times; says what the
    /// kernel refused last.
    Unrepaired(String),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(f, "nftables cannot be used here: {what}"),
            Self::Nft(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Unrepaired(last) => write!(
                f,
                "the tables were repaired {REPAIRS} times in vain: {last}"
            ),
        }
    }
}

impl core::error::Error for TableError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unsupported(_) | Self::Unrepaired(_) => None,
            Self::Nft(error) => Some(error),
            Self::Socket(error) => Some(error),
            Self::Read(error) => Some(error),
        }
    }
}
