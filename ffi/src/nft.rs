//! A node's decisions in the kernel, as nftables. Linux only.

use crate::call::{self, ErrorOut, control, enter, output, text_or_none};
use crate::dataplane::PORTOLAN_NEVER;
use crate::driver::duplicate;
use crate::error::{Failure, portolan_error};
use crate::limits;
use crate::node::portolan_node;
use crate::rejections::portolan_rejections;
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::ffi::{c_char, c_int};
use core::mem::{MaybeUninit, offset_of};
use portolan::model::Rejection;
use portolan::net::{Generation, Instant};
use portolan::nft::{NftCommand, Options, Renderer, Table, TableError, TableOptions};
use std::sync::Mutex;

/// The nftables tables of one network namespace, kept at one node's plan. Used by one thread at a time. It runs the
/// program nft for what is constant, and talks netlink for the rest.
#[derive(Debug)]
pub struct portolan_nft {
    pub(crate) table: Mutex<Table>,
}

/// Names and places of the tables, and how the kernel is reached. Fields that are left zero take their default. What
/// it points to is read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_nft_options {
    /// sizeof(portolan_nft_options).
    pub struct_size: u32,
    /// How many clients' endpoints are remembered in each family, for session affinity; 0: 1048576.
    pub affinity_clients: u32,
    /// The name of both families' tables; NULL: "portolan". Neighbours that look for kube-proxy look for "kube-proxy".
    pub table: *const c_char,
    /// A socket of NETLINK_NETFILTER that the host opened, perhaps in another network namespace: duplicated, the
    /// caller's own stays open. NULL: one is opened in the calling thread's namespace.
    pub socket: *const c_int,
    /// How nft is called: the program and what stands before its own arguments, which must lead to the namespace of
    /// the socket, "ip", "netns", "exec", "n1", "nft" for instance. None: "nft".
    pub command: *const *const c_char,
    /// How many words there are.
    pub command_count: usize,
    /// The priority of the nat chains in prerouting and output.
    pub dnat_priority: i32,
    /// The priority of the chains that reject and drop.
    pub filter_priority: i32,
    /// The priority of the nat chain in postrouting.
    pub snat_priority: i32,
    /// 1: the three priorities above are meant; 0: kube-proxy's, -100, 0 and 100.
    pub own_priorities: u8,
    /// 1: do without netlink: slower, and without noticing what others change.
    pub nft_only: u8,
    /// 1: the tables belong to this process: nobody else may change them, "nft flush ruleset" leaves them alone, and the
    /// next process takes them over. Needs Linux 6.9, and that `socket` is NULL and `nft_only` 0.
    pub owned: u8,
    /// Zero.
    pub reserved: u8,
    /// Tables of other programs that these take the place of, by name: "kube-proxy", for instance. Once these serve
    /// they are put to sleep, and deleted a second later, so no connection finds neither.
    pub replaces: *const *const c_char,
    /// How many names there are.
    pub replaces_count: usize,
    /// The first of the source ports that masqueraded connections get; 0: 1024. Where portolan_worker_process()
    /// masquerades to the same addresses, because one backend takes over from the other, each needs ports of its own
    /// (portolan_limits): an answer tells by its port alone whose it is.
    pub masquerade_port_first: u16,
    /// The last of them; 0: 65,535.
    pub masquerade_port_last: u16,
    /// Zero.
    pub reserved_end: u32,
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_nft_options {
    const FIRST_SIZE: usize = offset_of!(Self, masquerade_port_first);
}

impl portolan_nft_options {
    /// # Safety
    /// The name is NULL or NUL-terminated.
    unsafe fn layout(self) -> Result<Options, Failure> {
        let mut layout = Options::default();
        // SAFETY: as promised.
        if let Some(table) = unsafe { text_or_none(self.table, "options.table") }? {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
            let named = table.starts_with(|letter: char| letter.is_ascii_alphabetic());
            if !named || !table.chars().all(plain) || table.len() > 200 {
                let message = format!("\"{table}\" is no name of a table");
                return Err(Failure::invalid("options.table", message));
            }
            layout.table = table.to_owned();
        }
        if self.own_priorities != 0 {
            layout.dnat_priority = self.dnat_priority;
            layout.filter_priority = self.filter_priority;
            layout.snat_priority = self.snat_priority;
        }
        if self.affinity_clients != 0 {
            layout.affinity_clients = self.affinity_clients;
        }
        let ports = (self.masquerade_port_first, self.masquerade_port_last);
        if ports != (0, 0) {
            let ports = limits::source_ports(ports, "options.masquerade_port_last")?;
            layout.masquerade_ports = Some(ports);
        }
        Ok(layout)
    }

    /// # Safety
    /// Its pointers are NULL or valid for reading what the counts beside them say; strings are NUL-terminated.
    unsafe fn open(self) -> Result<Table, Failure> {
        // SAFETY: as promised, here and below.
        let layout = unsafe { self.layout() }?;
        // SAFETY: likewise.
        let command = unsafe { texts(self.command, self.command_count, "options.command") }?;
        // SAFETY: likewise.
        let replaces = unsafe { texts(self.replaces, self.replaces_count, "options.replaces") }?;
        // SAFETY: likewise.
        let socket = unsafe { self.socket.as_ref() };
        let options = TableOptions {
            layout,
            nft: NftCommand::new(command),
            socket: socket.map(duplicate).transpose()?,
            nft_only: self.nft_only != 0,
            replaces,
            owned: self.owned != 0,
        };
        Table::open(options).map_err(|error| failed(&error))
    }
}

/// # Safety
/// `words` is NULL or valid for reading `count` pointers to NUL-terminated strings.
unsafe fn texts(
    words: *const *const c_char,
    count: usize,
    field: &'static str,
) -> Result<Vec<String>, Failure> {
    // SAFETY: as promised.
    let words = unsafe { call::slice(words, count, field) }?;
    let text = |word: &*const c_char| {
        // SAFETY: as promised.
        unsafe { call::text(*word, field) }.map(str::to_owned)
    };
    words.iter().map(text).collect()
}

fn failed(error: &TableError) -> Failure {
    Failure::new(portolan_status::System, "nft", error.to_string())
}

/// Gets hold of the kernel's nftables; changes nothing yet. PORTOLAN_STATUS_SYSTEM names what nft or the kernel lacks.
/// Owned by the caller, given back with portolan_nft_close() or portolan_nft_delete(). Since 0.1.
///
/// # Safety
/// `options` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_open(
    options: *const portolan_nft_options,
    nft: Option<&mut MaybeUninit<*mut portolan_nft>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(nft, "nft")?;
        // SAFETY: as promised.
        let options = unsafe { sized::read(options, "options") }?;
        // SAFETY: as promised of what it points to.
        let table = unsafe { options.open() }?;
        out.write(Box::into_raw(Box::new(portolan_nft {
            table: Mutex::new(table),
        })));
        Ok(())
    })
}

/// Brings the kernel's tables to the node's present decisions; nothing happens before it has any. Costs what changed
/// since the last call; the first makes the tables, or takes over those of an earlier process. PORTOLAN_STATUS_SYSTEM
/// if the system refuses: what the kernel had is in force, and nothing is lost: call again. May take long. Since 0.1.
///
/// # Safety
/// `nft` and `node` are NULL or handles that live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_sync(
    nft: *mut portolan_nft,
    node: *const portolan_node,
    now_ns: u64,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let nft = unsafe { nft.as_ref() };
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let mut table = enter(nft.map(|handle| &handle.table), "nft")?;
        let node = enter(node.map(|handle| &handle.state), "node")?;
        let now = Instant::from_nanos(now_ns);
        table.sync(&node.node, now).map_err(|error| failed(&error))
    })
}

/// Deletes what nobody asks for any more, and repairs what somebody else changed. Writes when it wants to be called
/// again, on the clock of `now_ns`, or PORTOLAN_NEVER (NULL: not wanted). Failures as of portolan_nft_sync(). Since
/// 0.1.
///
/// # Safety
/// `nft` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_poll(
    nft: *mut portolan_nft,
    now_ns: u64,
    next_ns: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let nft = unsafe { nft.as_ref() };
    control(error, || {
        let mut table = enter(nft.map(|handle| &handle.table), "nft")?;
        let next = table.poll(Instant::from_nanos(now_ns));
        let next = next.map_err(|error| failed(&error))?;
        if let Some(out) = next_ns {
            out.write(next.map_or(PORTOLAN_NEVER, Instant::as_nanos));
        }
        Ok(())
    })
}

/// Writes both tables as they should be, as text for nft: what was sent over netlink, too. `text`, `capacity` and
/// `needed` as of portolan_dataplane_explain_text(). Since 0.1.
///
/// # Safety
/// `nft` is NULL or a handle that lives; `text` is NULL or valid for writing `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_dump(
    nft: *const portolan_nft,
    text: *mut c_char,
    capacity: usize,
    needed: Option<&mut MaybeUninit<usize>>,
) -> portolan_status {
    // SAFETY: as promised.
    let nft = unsafe { nft.as_ref() };
    control(None, || {
        let table = enter(nft.map(|handle| &handle.table), "nft")?;
        // SAFETY: as promised.
        unsafe { call::write_text(&table.text(), text, capacity, needed) }
    })
}

/// Writes both tables of a node as text for nft, without a kernel: for hosts that apply it themselves. `text`,
/// `capacity` and `needed` as of portolan_dataplane_explain_text(). Of `options` only names and places
/// are regarded. Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives; `options` is NULL or valid, and what it points to; `text` is NULL or valid
/// for writing `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_render(
    node: *const portolan_node,
    options: *const portolan_nft_options,
    text: *mut c_char,
    capacity: usize,
    needed: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let node = enter(node.map(|handle| &handle.state), "node")?;
        // SAFETY: as promised.
        let options = unsafe { sized::read(options, "options") }?;
        // SAFETY: as promised of what it points to.
        let mut renderer = Renderer::new(unsafe { options.layout() }?);
        let _ = renderer.update(&node.node.changes(Generation(0)));
        // SAFETY: as promised.
        unsafe { call::write_text(&renderer.text(), text, capacity, needed) }
    })
}

/// Writes what nftables cannot serve as things stand, and what it serves otherwise than asked, as a list to be freed
/// with portolan_rejections_free(). Since 0.1.
///
/// # Safety
/// `nft` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_rejections(
    nft: *const portolan_nft,
    rejections: Option<&mut MaybeUninit<*mut portolan_rejections>>,
) -> portolan_status {
    // SAFETY: as promised.
    let nft = unsafe { nft.as_ref() };
    control(None, || {
        let out = output(rejections, "rejections")?;
        let table = enter(nft.map(|handle| &handle.table), "nft")?;
        let list: Vec<Rejection> = table.rejections().chain(table.concessions()).collect();
        portolan_rejections::give(&list, Some(out));
        Ok(())
    })
}

/// Gives the handle up and sets the pointer to NULL. The tables stay in force: connections go on, and the next
/// portolan_nft_open() takes them over without moving anything. NULL, and a pointer to NULL, have no effect.
/// PORTOLAN_STATUS_BUSY while another thread is inside a call: nothing is done then. Since 0.1.
///
/// # Safety
/// `*nft` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_close(
    nft: Option<&mut *mut portolan_nft>,
) -> portolan_status {
    // SAFETY: as promised.
    unsafe { call::free(nft, |handle| call::is_busy(&handle.table)) }
}

/// Deletes both tables, gives the handle up and sets the pointer to NULL: no packet is translated any more, connections
/// that are translated go on. PORTOLAN_STATUS_SYSTEM if nft cannot; the handle is given up all the same. NULL, and a
/// pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*nft` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_delete(
    nft: Option<&mut *mut portolan_nft>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    let error: ErrorOut<'_> = error;
    control(error, || {
        let Some(pointer) = nft else {
            return Ok(());
        };
        // SAFETY: as promised.
        let held = unsafe { pointer.as_ref() };
        if held.is_some_and(|handle| call::is_busy(&handle.table)) {
            let message = "another thread is inside a call on it";
            return Err(Failure::new(portolan_status::Busy, "nft", message));
        }
        // SAFETY: as promised; nobody is inside.
        let Some(owned) = (unsafe { call::take_box(Some(pointer)) }) else {
            return Ok(());
        };
        let poisoned =
            |_| Failure::new(portolan_status::Poisoned, "nft", "an earlier call panicked");
        let table = owned.table.into_inner().map_err(poisoned)?;
        table.delete().map_err(|error| failed(&error))
    })
}
