//! `portolan explain`: where a packet would go and why, by the code that moves the packets.

mod words;

use crate::CommandError;
use crate::check::build::{Bindings, Built, build, tcp_flags};
use crate::check::case::PacketFields;
use crate::check::scalar::{Hex, Ip, IpProtocol, Payload, Scalar};
use crate::control::{self, Request};
use crate::offline::Source;
use crate::serving::Serving;
use clap::Args;
use core::net::{IpAddr, SocketAddr};
use portolan::net::Instant;
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;

/// The port that a client is given if none is named: the first of Linux' ephemeral range.
const CLIENT_PORT: u16 = 32_768;

/// What `portolan explain` is told.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Who sends: an address, or address:port ([address]:port in IPv6). Pod, node or outsider follows from it
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = end)]
    src: End,
    /// Where to: address:port, or an address for ICMP
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = end)]
    dst: End,
    /// TCP, UDP, SCTP, ICMP, ICMPv6 or a protocol number
    #[arg(long, default_value = "TCP", value_parser = protocol)]
    proto: IpProtocol,
    /// The interface that the packet enters by, for a node that tells pods by their interfaces
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// TCP flags of the packet, of FSRPAUEC
    #[arg(long, default_value = "S", value_parser = flags)]
    flags: String,
    /// Prints a JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// An address, and a port if one was named.
#[derive(Debug, Clone, Copy)]
struct End {
    address: IpAddr,
    port: Option<u16>,
}

fn end(text: &str) -> Result<End, String> {
    if let Ok(address) = text.parse() {
        return Ok(End {
            address,
            port: None,
        });
    }
    text.parse::<SocketAddr>()
        .map(|socket| End {
            address: socket.ip(),
            port: Some(socket.port()),
        })
        .map_err(|_| "is no address, address:port or [address]:port".to_owned())
}

fn protocol(text: &str) -> Result<IpProtocol, String> {
    IpProtocol::parse(text)
        .or_else(|error| IpProtocol::parse(&text.to_uppercase()).map_err(|_| error))
}

fn flags(text: &str) -> Result<String, String> {
    tcp_flags(text).map(|_| text.to_owned())
}

/// Explains one packet.
pub(crate) fn explain(arguments: &ExplainArguments) -> Result<ExitCode, CommandError> {
    let packet = packet(arguments)?;
    let hex = Hex(packet.bytes).to_string();
    let answer = match arguments.source.load()? {
        Some(serving) => {
            let now = Instant::from_secs(1_000_000);
            answer(&serving, now, &hex, arguments.interface.as_deref())?
        }
        None => {
            let request = Request::Explain {
                packet: hex,
                interface: arguments.interface.clone(),
            };
            control::ask(arguments.source.control(), &request)?
        }
    };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &answer)?;
        writeln!(out)?;
    } else {
        let text = answer
            .get("text")
            .and_then(Value::as_str)
            .unwrap_or_default();
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The packet that is asked about.
fn packet(arguments: &ExplainArguments) -> Result<Built, CommandError> {
    let (src, dst) = (arguments.src, arguments.dst);
    let portless = !matches!(
        arguments.proto,
        IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP
    );
    let dport = match (dst.port, portless) {
        (Some(port), false) => Some(port),
        (None, true) => None,
        (None, false) => return Err(format!("--dst needs a port for {}", arguments.proto).into()),
        (Some(_), true) => return Err(format!("{} has no ports", arguments.proto).into()),
    };
    let tcp = arguments.proto == IpProtocol::TCP;
    let fields = PacketFields {
        src: Some(Ip(src.address).into()),
        dst: Some(Ip(dst.address).into()),
        proto: Some(arguments.proto),
        sport: dport.map(|_| src.port.unwrap_or(CLIENT_PORT).into()),
        dport: dport.map(Into::into),
        flags: tcp.then(|| arguments.flags.clone()),
        chunk: (arguments.proto == IpProtocol::SCTP).then(|| "INIT".to_owned()),
        payload: (arguments.proto == IpProtocol::UDP).then_some(Payload::Length(1)),
        ..PacketFields::default()
    };
    Ok(build(&fields, &Bindings::new())?)
}

/// What became of a packet that enters by an interface, as `portolan explain --json` prints it; `text` is the same for
/// people.
pub(crate) fn answer(
    serving: &Serving,
    now: Instant,
    hex: &str,
    interface: Option<&str>,
) -> Result<Value, CommandError> {
    let packet = Hex::parse(hex).map_err(|error| format!("packet {error}"))?;
    let arrival = serving.arrival(interface);
    let explanation = serving.dataplane().explain_from(now, &packet.0, arrival);
    Ok(words::answer(serving, &explanation))
}
