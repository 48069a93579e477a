//! The kernel that is measured: `nft`, memory, first packets.
#![expect(unsafe_code, reason = "getrusage, which std does not offer")]

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::Instant;

use portolan_benches::run;

#[expect(clippy::disallowed_methods, reason = "what is measured is time itself")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs `nft` on a text.
pub(crate) fn nft(text: &str) -> io::Result<()> {
    run("nft", &["-f", "-"], text).map(drop)
}

/// How long something took, in all and on a processor, of which the kernel so much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// Of this process and its children: what strangers on the machine take is not in it.
    pub(crate) cpu: Duration,
    /// Of `cpu`, in ticks of the kernel's clock.
    pub(crate) kernel: Duration,
}

/// Times `work`.
pub(crate) fn time<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Took)> {
    let used = || {
        let [[user, system], [childrens_user, childrens_system]] =
            [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].map(used_by);
        let kernel = system + childrens_system;
        (user + childrens_user + kernel, kernel)
    };
    let (cpu, kernel) = used();
    let start = now();
    let done = work()?;
    let wall = start.elapsed();
    let (cpu_after, kernel_after) = used();
    let took = Took {
        wall,
        cpu: cpu_after.saturating_sub(cpu),
        kernel: kernel_after.saturating_sub(kernel),
    };
    Ok((done, took))
}

/// Time outside and inside the kernel, of this process or of its children that have ended.
fn used_by(whom: libc::c_int) -> [Duration; 2] {
    // SAFETY: all of its members are numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the kernel writes one rusage into `usage`, which is exclusively ours for the whole call.
    unsafe { libc::getrusage(whom, &raw mut usage) };
    [usage.ru_utime, usage.ru_stime].map(|time| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    })
}

/// Memory that the kernel holds for itself, in bytes: what a ruleset takes is the difference, to a few hundred
/// kilobytes on a quiet machine.
pub(crate) fn kernel_memory() -> u64 {
    // Freed rulesets are freed a moment later.
    thread::sleep(Duration::from_millis(300));
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or(0)
    };
    (kilobytes("SUnreclaim:") + kilobytes("VmallocUsed:")) * 1024
}

/// Gives the host an address.
pub(crate) fn own_address(address: IpAddr) -> io::Result<()> {
    run(
        "ip",
        &["addr", "add", &format!("{address}/32"), "dev", "lo"],
        "",
    )
    .map(drop)
}

/// From sending a first packet to receiving it: the median and the 99th percentile of so many, each a connection of
/// its own, all received at the same address.
pub(crate) fn first_packets(
    from: SocketAddr,
    to: SocketAddr,
    at: &[SocketAddr],
    count: usize,
) -> io::Result<[Duration; 2]> {
    let listeners: Vec<_> = at.iter().map(UdpSocket::bind).collect::<Result<_, _>>()?;
    for listener in &listeners {
        listener.set_nonblocking(true)?;
    }
    let mut times = Vec::with_capacity(count);
    let mut received = [0; 64];
    for _ in 0..count {
        let client = UdpSocket::bind(from)?;
        let start = now();
        client.send_to(b"first", to)?;
        // The kernel delivers to an address of its own before `send_to` returns.
        let arrived = listeners
            .iter()
            .any(|listener| listener.recv(&mut received).is_ok());
        let took = start.elapsed();
        if !arrived {
            return Err(io::Error::other(format!(
                "a packet to {to} did not arrive at {at:?}"
            )));
        }
        times.push(took);
    }
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get(times.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    Ok([at(50), at(99)])
}
