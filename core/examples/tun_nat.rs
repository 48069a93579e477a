//! A forwarder in one file: a Service served on whatever enters a TUN device, or crosses the wire between two interfaces.
//!
//! `tun_nat --tun ptl0 --frontend 10.96.0.10:80 --endpoint 10.2.0.2:8080 [--queues N] [--no-offload]`
//! `tun_nat --between eth0 eth1 --frontend 10.96.0.10:80 --endpoint 10.2.0.2:8080 [--queues N] [--no-offload]`
//!
//! `--frontend` and `--endpoint` come in pairs, of one address family each. The host routes packets of both
//! directions into the TUN, or they cross the wire. Each line on standard input is answered with the counts so far; the end of the
//! input ends the program.
#![cfg(target_os = "linux")]

use core::error::Error;
use core::net::SocketAddr;

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use portolan::dataplane::{Config, Dataplane, Descriptor, NewWorkerError};
use portolan::driver::{
    self, AfPacket, AfPacketOptions, Device, Driver, OpenError, QueueStats, RunOptions, Tun,
    TunOptions,
};
use portolan::net::{Instant, Protocol, ServiceId};
use portolan::service::{
    Edit, EndpointSet, EndpointSpec, Frontend, FrontendKind, Schedule, ServiceSpec, SourceRule,
};

struct Options {
    tun: TunOptions,
    between: Option<[String; 2]>,
    run: RunOptions,
    services: Vec<(SocketAddr, SocketAddr)>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut tun = TunOptions {
        up: true,
        ..TunOptions::new("ptl0")
    };
    let mut run = RunOptions::default();
    let mut between = None;
    let (mut frontends, mut endpoints) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--tun" => tun.name = value()?,
            "--between" => between = Some([value()?, value()?]),
            "--queues" => tun.queues = value()?.parse()?,
            "--frames" => run.frames_bytes = value()?.parse()?,
            "--no-offload" => {
                tun.offload = false;
                run.software_offload = true;
            }
            "--frontend" => frontends.push(value()?.parse()?),
            "--endpoint" => endpoints.push(value()?.parse()?),
            unknown => return Err(format!("unknown argument {unknown}").into()),
        }
    }
    if frontends.len() != endpoints.len() {
        return Err("as many --endpoint as --frontend".into());
    }
    Ok(Options {
        tun,
        between,
        run,
        services: frontends.into_iter().zip(endpoints).collect(),
    })
}

/// The ServicePort that is served at `frontend` by `endpoint` alone, without masquerading.
fn service(frontend: SocketAddr, endpoint: SocketAddr) -> ServiceSpec {
    let rule = SourceRule {
        set: EndpointSet::Cluster,
        masquerade: false,
    };
    ServiceSpec {
        protocol: Protocol::Tcp,
        frontends: vec![Frontend {
            address: frontend.ip(),
            port: frontend.port(),
            kind: FrontendKind::ClusterIp,
            rules: [rule; 3],
            source_ranges: Vec::new(),
        }],
        endpoints: vec![EndpointSpec {
            address: endpoint.ip(),
            port: endpoint.port(),
            local: false,
            in_cluster_set: true,
            in_local_set: false,
            weight: 1,
            tag: 0,
        }],
        affinity_seconds: None,
        schedule: Schedule::default(),
    }
}

fn open(options: &Options) -> Result<Device, OpenError> {
    let Some([here, there]) = &options.between else {
        return Ok(Tun::open(&options.tun)?.into());
    };
    let sockets = AfPacket::open(&AfPacketOptions {
        queues: options.tun.queues,
        up: true,
        ..AfPacketOptions::between(here, there)
    })?;
    Ok(sockets.into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let device = open(&options)?;
    let Options { run, services, .. } = options;
    for loss in device.losses() {
        eprintln!("{}: {loss}", device.name());
    }
    let mut dataplane = Dataplane::new(&Config::default())?;
    let mut edits = (0..)
        .zip(services)
        .map(|(id, (frontend, endpoint))| {
            Edit::Put(ServiceId(id), Arc::new(service(frontend, endpoint)))
        })
        .collect();
    dataplane.publish(&mut edits)?;
    let processors = (0..device.capabilities().queues)
        .map(|_| {
            let mut worker = dataplane.worker()?;
            Ok(
                move |now: Instant, frames: &mut [u8], burst: &mut [Descriptor]| {
                    worker.process_burst(now, frames, burst);
                },
            )
        })
        .collect::<Result<Vec<_>, NewWorkerError>>()?;
    let driver = Driver::start(device, processors, &run)?;
    let mut output = io::stdout();
    writeln!(output, "ready")?;
    for line in io::stdin().lock().lines() {
        line?;
        dataplane.poll(driver::now());
        if !driver.is_running() {
            break;
        }
        let sum = driver.stats().fold(QueueStats::default(), QueueStats::plus);
        writeln!(
            output,
            "{} {} {}",
            sum.cpu_nanos, sum.received_packets, sum.received_bytes
        )?;
        output.flush()?;
    }
    let queues = driver.stop()?;
    eprintln!(
        "{:?}",
        queues
            .into_iter()
            .fold(QueueStats::default(), QueueStats::plus)
    );
    Ok(())
}
