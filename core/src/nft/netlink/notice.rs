//! What the kernel tells of commits by others: which tables they touched, and the generation that came of it.

use super::attribute::{self, Attributes};
use super::dump::generation_of;
use super::message::Messages;
use super::numbers::{NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4, NFPROTO_IPV6, NFTA_TABLE, NLMSG_OVERRUN};
use crate::net::Family;

/// One event of the group of nftables. The events of a commit come before its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// Something in a table was added, changed or deleted, or the table itself was.
    Touched {
        /// The socket whose commit it was (its netlink port).
        port: u32,
        /// The table's family.
        family: Family,
        /// The table's name.
        table: &'a str,
    },
    /// A commit is complete.
    Generation {
        /// The socket whose commit it was (its netlink port).
        port: u32,
        /// The ruleset's generation now.
        generation: u32,
    },
    /// Events were lost: nothing is certain until everything has been read again.
    Lost,
}

/// The events in what a socket received. Tables of other families than `ip` and `ip6` are left out.
pub fn read_notices(received: &[u8]) -> impl Iterator<Item = Notice<'_>> {
    Messages::new(received).filter_map(|message| {
        if message.kind == NLMSG_OVERRUN {
            return Some(Notice::Lost);
        }
        let port = message.port;
        if let Some(generation) = generation_of(&message) {
            return Some(Notice::Generation { port, generation });
        }
        let (NFNL_SUBSYS_NFTABLES, _) = message.subsystem() else {
            return None;
        };
        let (family, attributes) = message.netfilter()?;
        let family = match family {
            NFPROTO_IPV4 => Family::Ipv4,
            NFPROTO_IPV6 => Family::Ipv6,
            _ => return None,
        };
        let table = attribute::text(Attributes::find(attributes, NFTA_TABLE)?)?;
        Some(Notice::Touched {
            port,
            family,
            table,
        })
    })
}
