//! The devices of the userspace backend: a TUN or two, or packet sockets.

use crate::CommandError;
use crate::serving::Serving;
use clap::Args;
use portolan::dataplane::{Descriptor, descriptor_flags};
use portolan::driver::{
    AfPacket, AfPacketOptions, Capabilities, Device, Driver, RunOptions, Tun, TunOptions,
};
use portolan::model::Kind;
use portolan::net::Arrival;
use tracing::{info, warn};

/// Which devices they are.
#[derive(Debug, Args)]
pub(crate) struct DeviceArguments {
    /// The TUN device of the userspace backend: made if there is none of this name
    #[arg(long, value_name = "NAME", conflicts_with = "af_packet")]
    tun: Option<String>,
    /// A second TUN device, for a node that tells pods by their interfaces (detectLocal BridgeInterface or
    /// InterfaceNamePrefix): what is routed into this one comes from pods
    #[arg(long, value_name = "NAME", requires = "tun")]
    pod_tun: Option<String>,
    /// Instead of a TUN, one Ethernet interface, to be a next hop that routers send Services to, or two, to be a bump
    /// in the wire between them; see docs/routing.md
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', num_args = 1)]
    af_packet: Vec<String>,
    /// Queues of each device or interface, a thread for each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    queues: u32,
    /// Does without checksum and segmentation offload
    #[arg(long)]
    no_offload: bool,
}

impl DeviceArguments {
    /// How many threads move packets, at most.
    pub(crate) fn workers(&self) -> u32 {
        let devices = match self.af_packet.len() {
            0 => 1 + u32::from(self.pod_tun.is_some()),
            interfaces => u32::try_from(interfaces).unwrap_or(u32::MAX),
        };
        self.queues.saturating_mul(devices)
    }

    /// Opens the devices and starts a thread for each of their queues.
    pub(crate) fn start(&self, serving: &mut Serving) -> Result<Vec<Driver>, CommandError> {
        let device = match &self.tun {
            Some(name) => self.tun(name)?,
            None => self.af_packet()?,
        };
        let mut drivers = vec![self.start_device(serving, device, Arrival::Elsewhere)?];
        if let Some(name) = &self.pod_tun {
            let device = self.tun(name)?;
            drivers.push(self.start_device(serving, device, Arrival::PodInterface)?);
        } else if let Some(pods) = &serving.node().plan().node().pod_interface {
            warn!(
                "pods are told by their interfaces ({pods}), and without --pod-tun nobody says which packets entered by \
                 them: no sender counts as a pod"
            );
        }
        Ok(drivers)
    }

    fn tun(&self, name: &str) -> Result<Device, CommandError> {
        let tun = Tun::open(&TunOptions {
            queues: usize::try_from(self.queues)?,
            offload: !self.no_offload,
            ..TunOptions::new(name)
        })?;
        Ok(tun.into())
    }

    fn af_packet(&self) -> Result<Device, CommandError> {
        let interfaces: Vec<&str> = self.af_packet.iter().map(String::as_str).collect();
        let options = match interfaces.as_slice() {
            [] => return Err("the userspace backend needs --tun NAME or --af-packet NAME".into()),
            [only] => AfPacketOptions::next_hop(only),
            [this, other] => AfPacketOptions::between(this, other),
            _ => return Err("--af-packet takes one interface or two".into()),
        };
        let queues = usize::try_from(self.queues)?;
        Ok(AfPacket::open(&AfPacketOptions { queues, ..options })?.into())
    }

    /// Starts one device, whose packets all entered by the same kind of interface.
    fn start_device(
        &self,
        serving: &mut Serving,
        device: Device,
        arrival: Arrival,
    ) -> Result<Driver, CommandError> {
        for loss in device.losses() {
            warn!("{}: {loss}", device.name());
        }
        let capabilities = device.capabilities();
        let mut processors = Vec::new();
        for _ in 0..capabilities.queues {
            let mut worker = serving.dataplane().worker()?;
            processors.push(
                move |now, frames: &mut [u8], descriptors: &mut [Descriptor]| {
                    if arrival == Arrival::PodInterface {
                        for descriptor in descriptors.iter_mut() {
                            descriptor.flags = descriptor_flags::FROM_POD;
                        }
                    }
                    worker.process_burst(now, frames, descriptors);
                },
            );
        }
        let options = RunOptions {
            software_offload: self.no_offload,
            ..RunOptions::default()
        };
        let driver = Driver::start(device, processors, &options)?;
        let services = serving.objects().keys();
        info!(
            "serving {} frontends of {} Services on {} (offloads: {}; queues: {})",
            serving.node().frontends().count(),
            services
                .filter(|object| object.kind == Kind::Service)
                .count(),
            driver.device(),
            offloads(&capabilities),
            capabilities.queues,
        );
        Ok(driver)
    }
}

fn offloads(capabilities: &Capabilities) -> String {
    let granted = [
        (capabilities.checksum, "checksum"),
        (capabilities.tcp_segmentation, "TCP segmentation"),
        (capabilities.udp_segmentation, "UDP segmentation"),
    ];
    let names: Vec<_> = granted
        .iter()
        .filter(|(granted, _)| *granted)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
