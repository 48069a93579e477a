//! What the host says of its own node, as a struct.

use crate::address::{portolan_address, portolan_prefix};
use crate::call::{control, output, text, text_or_none};
use crate::error::{Failure, portolan_error};
use crate::node::portolan_node;
use crate::scheduler::schedule;
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use crate::value::{addresses, prefixes};
use core::ffi::c_char;
use core::mem::MaybeUninit;
use portolan::node::{LocalDetector, NodeConfig, NodePortAddresses, OtherProxies};

/// Senders in cluster_cidrs are pods: kube-proxy's default. (A number of portolan_node_config.detect_local.)
pub const PORTOLAN_DETECT_CLUSTER_CIDR: u8 = 0;
/// Senders in pod_cidrs are pods.
pub const PORTOLAN_DETECT_NODE_CIDR: u8 = 1;
/// There is no way to tell pods from others.
pub const PORTOLAN_DETECT_NONE: u8 = 2;
/// Pods are who sends by the bridge pod_interface: the host marks what enters by it (PORTOLAN_FLAG_FROM_POD).
pub const PORTOLAN_DETECT_BRIDGE_INTERFACE: u8 = 3;
/// Pods are who sends by an interface whose name begins with pod_interface: the host marks what enters by one.
pub const PORTOLAN_DETECT_INTERFACE_NAME_PREFIX: u8 = 4;

/// NodePorts are served on the first address of each family: kube-proxy's default in nftables mode. (A number of
/// portolan_node_config.node_port_addresses.)
pub const PORTOLAN_NODE_PORTS_PRIMARY: u8 = 0;
/// NodePorts are served on every address of the node.
pub const PORTOLAN_NODE_PORTS_ALL: u8 = 1;
/// NodePorts are served on the node's addresses in node_port_prefixes.
pub const PORTOLAN_NODE_PORTS_WITHIN: u8 = 2;
/// Both: on the first address of each family, and on addresses in node_port_prefixes.
pub const PORTOLAN_NODE_PORTS_PRIMARY_AND_WITHIN: u8 = 3;

/// What the host says of its own node. Fields that are left zero take their default; `addresses`, `zone` and
/// `pod_cidrs` are then taken from the v1 Node of this name. What it points to is read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_node_config {
    /// sizeof(portolan_node_config).
    pub struct_size: u32,
    /// How pods are told from everybody else: PORTOLAN_DETECT_...
    pub detect_local: u8,
    /// Where NodePorts are served: PORTOLAN_NODE_PORTS_...
    pub node_port_addresses: u8,
    /// 1 to masquerade everything that is sent to a ClusterIP, else 0.
    pub masquerade_all: u8,
    /// How endpoints of Services are chosen that do not say so themselves: PORTOLAN_SCHEDULER_...
    pub scheduler: u8,
    /// The node's name, which endpoints on it have as nodeName.
    pub name: *const c_char,
    /// The node's zone; NULL: endpoints are not chosen by zone.
    pub zone: *const c_char,
    /// Serve only Services with this label service.kubernetes.io/service-proxy-name; NULL: only those without.
    pub proxy_name: *const c_char,
    /// The node's addresses; the first of each family is primary.
    pub addresses: *const portolan_address,
    /// How many there are.
    pub address_count: usize,
    /// Where this node's pods' addresses come from.
    pub pod_cidrs: *const portolan_prefix,
    /// How many there are.
    pub pod_cidr_count: usize,
    /// Where all pods' addresses come from.
    pub cluster_cidrs: *const portolan_prefix,
    /// How many there are.
    pub cluster_cidr_count: usize,
    /// Where Services' addresses come from: packets to one that no Service has are dropped.
    pub service_cidrs: *const portolan_prefix,
    /// How many there are.
    pub service_cidr_count: usize,
    /// With PORTOLAN_NODE_PORTS_WITHIN, and with _PRIMARY_AND_WITHIN: where NodePorts are served.
    pub node_port_prefixes: *const portolan_prefix,
    /// How many there are.
    pub node_port_prefix_count: usize,
    /// What Maglev's hash begins with: nodes that are to make the same choice have the same.
    pub hash_seed: u64,
    /// For how many seconds a new endpoint gets fewer connections than its share; 0: not at all.
    pub slow_start_seconds: u16,
    /// 1 to leave packets to ClusterIPs alone whose Service another proxy serves; 0: they are dropped.
    pub pass_other_proxies: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// With PORTOLAN_DETECT_BRIDGE_INTERFACE or PORTOLAN_DETECT_INTERFACE_NAME_PREFIX: the name, or how names begin.
    pub pod_interface: *const c_char,
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_node_config {
    const FIRST_SIZE: usize = core::mem::offset_of!(Self, pod_interface);
}

impl portolan_node_config {
    /// # Safety
    /// Its pointers are NULL or valid for reading what the counts beside them say; strings are NUL-terminated.
    unsafe fn to_config(self) -> Result<NodeConfig, Failure> {
        // SAFETY: as promised, here and below.
        let name = unsafe { text(self.name, "config.name") }?;
        if name.is_empty() {
            return Err(Failure::invalid("config.name", "is empty"));
        }
        // SAFETY: likewise.
        let zone = unsafe { text_or_none(self.zone, "config.zone") }?;
        // SAFETY: likewise.
        let proxy_name = unsafe { text_or_none(self.proxy_name, "config.proxy_name") }?;
        // SAFETY: likewise.
        let addresses =
            unsafe { addresses(self.addresses, self.address_count, "config.addresses") }?;
        // SAFETY: likewise.
        let pod_cidrs =
            unsafe { prefixes(self.pod_cidrs, self.pod_cidr_count, "config.pod_cidrs") }?;
        // SAFETY: likewise.
        let cluster_cidrs = unsafe {
            prefixes(
                self.cluster_cidrs,
                self.cluster_cidr_count,
                "config.cluster_cidrs",
            )
        }?;
        // SAFETY: likewise.
        let service_cidrs = unsafe {
            prefixes(
                self.service_cidrs,
                self.service_cidr_count,
                "config.service_cidrs",
            )
        }?;
        Ok(NodeConfig {
            name: name.to_owned(),
            addresses,
            zone: zone.map(str::to_owned),
            pod_cidrs,
            cluster_cidrs,
            // SAFETY: likewise.
            detect_local: unsafe { self.detector() }?,
            other_proxies: if self.pass_other_proxies == 0 {
                OtherProxies::Drop
            } else {
                OtherProxies::Pass
            },
            masquerade_all: self.masquerade_all != 0,
            service_cidrs,
            // SAFETY: likewise.
            node_port_addresses: unsafe { self.node_port_addresses() }?,
            schedule: schedule(
                self.scheduler,
                self.slow_start_seconds,
                self.hash_seed,
                "config.scheduler",
            )?,
            proxy_name: proxy_name.map(str::to_owned),
        })
    }
}

impl portolan_node_config {
    /// # Safety
    /// As of [`Self::to_config`].
    unsafe fn node_port_addresses(&self) -> Result<NodePortAddresses, Failure> {
        // SAFETY: as promised.
        let within = unsafe {
            prefixes(
                self.node_port_prefixes,
                self.node_port_prefix_count,
                "config.node_port_prefixes",
            )
        }?;
        match self.node_port_addresses {
            PORTOLAN_NODE_PORTS_PRIMARY => Ok(NodePortAddresses::Primary),
            PORTOLAN_NODE_PORTS_ALL => Ok(NodePortAddresses::All),
            PORTOLAN_NODE_PORTS_WITHIN => Ok(NodePortAddresses::Within(within)),
            PORTOLAN_NODE_PORTS_PRIMARY_AND_WITHIN => {
                Ok(NodePortAddresses::PrimaryAndWithin(within))
            }
            other => Err(Failure::invalid(
                "config.node_port_addresses",
                format!("{other} says not where NodePorts are served: must be 0 to 3"),
            )),
        }
    }

    /// # Safety
    /// As of [`Self::to_config`].
    unsafe fn detector(&self) -> Result<LocalDetector, Failure> {
        let interface = || {
            // SAFETY: as promised.
            let name = unsafe { text(self.pod_interface, "config.pod_interface") }?;
            if name.is_empty() {
                return Err(Failure::invalid("config.pod_interface", "is empty"));
            }
            Ok(name.to_owned())
        };
        match self.detect_local {
            PORTOLAN_DETECT_CLUSTER_CIDR => Ok(LocalDetector::ClusterCidr),
            PORTOLAN_DETECT_NODE_CIDR => Ok(LocalDetector::NodeCidr),
            PORTOLAN_DETECT_NONE => Ok(LocalDetector::None),
            PORTOLAN_DETECT_BRIDGE_INTERFACE => Ok(LocalDetector::BridgeInterface(interface()?)),
            PORTOLAN_DETECT_INTERFACE_NAME_PREFIX => {
                Ok(LocalDetector::InterfaceNamePrefix(interface()?))
            }
            other => Err(Failure::invalid(
                "config.detect_local",
                format!("{other} is no way of telling pods: must be 0 to 4"),
            )),
        }
    }
}

/// Makes a node from a struct; otherwise as portolan_node_new(). Since 0.1.
///
/// # Safety
/// `config` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_new_from(
    config: *const portolan_node_config,
    node: Option<&mut MaybeUninit<*mut portolan_node>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(node, "node")?;
        // SAFETY: as promised.
        let config = unsafe { sized::read(config, "config") }?;
        // SAFETY: as promised of what it points to.
        let config = unsafe { config.to_config() }?;
        out.write(portolan_node::new(config));
        Ok(())
    })
}
