//! Connections, one after another.

use crate::address::portolan_address;
use crate::call::{control, enter, output};
use crate::dataplane::portolan_dataplane;
use crate::error::Failure;
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::mem::MaybeUninit;
use core::net::IpAddr;
use portolan::conntrack::Connection;
use portolan::net::{Instant, Tuple};

/// The endpoint has answered. (A bit of portolan_connection.flags.)
pub const PORTOLAN_CONNECTION_SEEN_REPLY: u8 = 1;
/// The connection is never evicted for a new one.
pub const PORTOLAN_CONNECTION_ASSURED: u8 = 2;
/// Its source is translated to the node's address.
pub const PORTOLAN_CONNECTION_MASQUERADE: u8 = 4;

/// The connections of one moment, owned by the caller. They refer to nothing else; one thread at a time.
#[derive(Debug)]
pub struct portolan_connections {
    list: std::vec::IntoIter<Connection>,
}

/// Addresses and ports of one direction. This struct never grows.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_tuple {
    /// Who sends.
    pub source: portolan_address,
    /// Who receives.
    pub destination: portolan_address,
    /// The sender's port, in host order.
    pub source_port: u16,
    /// The receiver's port, in host order.
    pub destination_port: u16,
}

/// One connection.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_connection {
    /// sizeof(portolan_connection).
    pub struct_size: u32,
    /// Whole seconds until it expires, rounded up.
    pub remaining_seconds: u32,
    /// From the client to the frontend.
    pub original: portolan_tuple,
    /// From the endpoint to the client or, if masqueraded, to the node.
    pub reply: portolan_tuple,
    /// PORTOLAN_PROTOCOL_...
    pub protocol: u8,
    /// Bits of PORTOLAN_CONNECTION_...
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

// SAFETY: repr(C), integers of at most four bytes, each aligned by the ones before.
unsafe impl SizedStruct for portolan_connection {
    const FIRST_SIZE: usize = 100;
}

impl portolan_tuple {
    pub(crate) const NONE: Self = Self {
        source: portolan_address::NONE,
        destination: portolan_address::NONE,
        source_port: 0,
        destination_port: 0,
    };
}

impl From<Tuple<IpAddr>> for portolan_tuple {
    fn from(tuple: Tuple<IpAddr>) -> Self {
        Self {
            source: tuple.source.into(),
            destination: tuple.destination.into(),
            source_port: tuple.source_port,
            destination_port: tuple.destination_port,
        }
    }
}

impl From<Connection> for portolan_connection {
    fn from(connection: Connection) -> Self {
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        Self {
            struct_size: 0,
            remaining_seconds: connection.remaining_seconds,
            original: connection.original.into(),
            reply: connection.reply.into(),
            protocol: connection.original.protocol.number(),
            flags: bit(
                connection.state.seen_reply(),
                PORTOLAN_CONNECTION_SEEN_REPLY,
            ) | bit(connection.state.assured(), PORTOLAN_CONNECTION_ASSURED)
                | bit(connection.masquerade, PORTOLAN_CONNECTION_MASQUERADE),
            reserved: [0; 2],
        }
    }
}

/// Writes a list of the connections alive at `now_ns`, in no order, to be read with portolan_connections_next()
/// and freed with portolan_connections_free(). Takes memory for each of them; packets are not held up. Since
/// 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_connections(
    dataplane: *const portolan_dataplane,
    now_ns: u64,
    connections: Option<&mut MaybeUninit<*mut portolan_connections>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(None, || {
        let out = output(connections, "connections")?;
        let state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let list: Vec<_> = state
            .dataplane
            .connections(Instant::from_nanos(now_ns))
            .collect();
        let list = list.into_iter();
        out.write(Box::into_raw(Box::new(portolan_connections { list })));
        Ok(())
    })
}

/// Writes the next connection of a list. PORTOLAN_STATUS_END after the last. Since 0.1.
///
/// # Safety
/// `connections` is NULL or a list that lives; `connection` is NULL or points to as many writable bytes as its
/// `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_connections_next(
    connections: *mut portolan_connections,
    connection: *mut portolan_connection,
) -> portolan_status {
    // SAFETY: as promised; one thread at a time.
    let connections = unsafe { connections.as_mut() };
    control(None, || {
        let connections = connections.ok_or_else(|| Failure::null("connections"))?;
        let Some(next) = connections.list.as_slice().first() else {
            return Err(Failure::new(
                portolan_status::End,
                "connections",
                "there are no more",
            ));
        };
        // SAFETY: as promised.
        unsafe { sized::write(connection, &portolan_connection::from(*next), "connection") }?;
        connections.list.next();
        Ok(())
    })
}

/// Frees a list and sets the pointer to NULL. NULL, and a pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*connections` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_connections_free(
    connections: Option<&mut *mut portolan_connections>,
) {
    // SAFETY: as promised.
    drop(unsafe { crate::call::take_box(connections) });
}
