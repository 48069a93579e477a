//! A forwarder in one file: a Service served on whatever enters a TUN device.
//!
//! `tun_nat --tun ptl0 --frontend 10.96.0.10:80 --endpoint 10.2.0.2:8080 [--queues N] [--no-offload]`
//!
//! `--frontend` and `--endpoint` come in pairs, of one address family each. The host routes packets of both
//! directions into the TUN. Each line on standard input is answered with the counts so far; the end of the
//! input ends the program.
#![cfg(target_os = "linux")]

use core::error::Error;
use core::net::{IpAddr, SocketAddr};

use std::io::{self, BufRead, Write};

use portolan::dataplane::{Descriptor, Verdict};
use portolan::driver::{Driver, QueueStats, RunOptions, Tun, TunOptions};
use portolan::net::{Address, Instant, Tuple};
use portolan::packet::{self, Headers, Offload, Parsed, Rewrite};

struct Options {
    tun: TunOptions,
    run: RunOptions,
    services: Vec<(SocketAddr, SocketAddr)>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut tun = TunOptions {
        up: true,
        ..TunOptions::new("ptl0")
    };
    let mut run = RunOptions::default();
    let (mut frontends, mut endpoints) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--tun" => tun.name = value()?,
            "--queues" => tun.queues = value()?.parse()?,
            "--frames" => run.frames_bytes = value()?.parse()?,
            "--no-offload" => tun.offload = false,
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
        run,
        services: frontends.into_iter().zip(endpoints).collect(),
    })
}

fn translate<A: Address>(
    packet: &mut [u8],
    headers: &Headers<A>,
    offload: &Offload,
    services: &[(SocketAddr, SocketAddr)],
) -> Verdict {
    let from = headers.tuple;
    let source: IpAddr = from.source.into();
    let destination: IpAddr = from.destination.into();
    let mut to: Tuple<A> = from;
    for (frontend, endpoint) in services {
        if (destination, from.destination_port) == (frontend.ip(), frontend.port()) {
            to.destination = A::from_ip(endpoint.ip()).unwrap_or(from.destination);
            to.destination_port = endpoint.port();
        }
        if (source, from.source_port) == (endpoint.ip(), endpoint.port()) {
            to.source = A::from_ip(frontend.ip()).unwrap_or(from.source);
            to.source_port = frontend.port();
        }
    }
    if to == from {
        return Verdict::Pass;
    }
    match packet::rewrite(packet, headers, &Rewrite::new(&from, &to), offload) {
        Ok(()) => Verdict::Forward,
        Err(_) => Verdict::Drop,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Options { tun, run, services } = options()?;
    let tun = Tun::open(&tun)?;
    for loss in tun.losses() {
        eprintln!("{}: {loss}", tun.name());
    }
    let processors = (0..tun.capabilities().queues)
        .map(|_| {
            let services = services.clone();
            move |_: Instant, frames: &mut [u8], descriptors: &mut [Descriptor]| {
                for descriptor in descriptors {
                    let start = descriptor.offset as usize;
                    let packet = &mut frames[start..start + descriptor.len as usize];
                    let offload = &descriptor.offload;
                    let verdict = match packet::parse(packet, offload) {
                        Parsed::Ipv4(headers) => translate(packet, &headers, offload, &services),
                        Parsed::Ipv6(headers) => translate(packet, &headers, offload, &services),
                        Parsed::NotOurs => Verdict::Pass,
                        Parsed::Malformed(_) => Verdict::Drop,
                    };
                    descriptor.verdict = verdict as u8;
                }
            }
        })
        .collect();
    let driver = Driver::start(tun, processors, &run)?;
    let mut output = io::stdout();
    writeln!(output, "ready")?;
    for line in io::stdin().lock().lines() {
        line?;
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
