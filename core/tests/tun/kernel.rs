//! A kernel's network in a namespace of its own, and what must be delivered through it.
#![expect(
    unsafe_code,
    reason = "unshare and setsockopt, which std does not offer"
)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;

use portolan::driver::{Tun, TunOptions};

pub(crate) const HERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1)),
];
pub(crate) const THERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2)),
];
/// Set for the part of this test that runs inside gVisor.
pub(crate) const IN_GVISOR: &str = "PORTOLAN_TEST_IN_GVISOR";
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `test` in a thread with a network namespace of its own, which goes with the thread's last socket.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce() + Send + 'static) {
    let name = String::from(name);
    let tested = thread::spawn(move || {
        if let Err(error) = enter_namespace() {
            eprintln!("SKIPPED {name}: no network namespace: unshare(CLONE_NEWNET): {error}");
            return;
        }
        if let Err(error) = std::fs::metadata("/dev/net/tun") {
            eprintln!("SKIPPED {name}: /dev/net/tun: {error}");
            return;
        }
        test();
    });
    tested
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Gives the calling thread a network namespace of its own.
pub(crate) fn enter_namespace() -> std::io::Result<()> {
    // SAFETY: takes a number; changes only the calling thread's namespace.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

pub(crate) fn in_gvisor() -> bool {
    std::env::var_os(IN_GVISOR).is_some()
}

pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("ip runs");
    assert!(
        done.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

pub(crate) fn address(device: &str) {
    ip(&format!("link set {device} up"));
    ip(&format!("addr add {}/24 dev {device}", HERE[0]));
    ip(&format!("-6 addr add {}/64 dev {device} nodad", HERE[1]));
    if !in_gvisor() {
        await_own(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
    }
}

/// The kernel makes the route to an IPv6 address of its own a moment later, in a work queue.
pub(crate) fn await_own(address: Ipv6Addr) {
    let own = format!("{:032x} 80 ", address.to_bits());
    for _ in 0..500 {
        let routes = std::fs::read_to_string("/proc/thread-self/net/ipv6_route");
        if routes.is_ok_and(|routes| routes.contains(&own)) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("there is no route to {address}, which is our own");
}

pub(crate) fn options(offload: bool, queues: usize) -> TunOptions {
    TunOptions {
        offload,
        queues,
        up: true,
        mtu: Some(1500),
        ..TunOptions::new("ptl0")
    }
}

pub(crate) fn open(offload: bool, queues: usize) -> Tun {
    let tun = Tun::open(&options(offload, queues)).expect("the TUN opens");
    address(tun.name());
    tun
}

/// Bytes that are unlike each other at every distance that a wrong segment could be off by.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    core::iter::repeat_with(next).take(len).collect()
}

pub(crate) fn tcp_delivers(len: usize) {
    for (here, there) in HERE.into_iter().zip(THERE) {
        let listener = TcpListener::bind((here, 0)).expect("a port to listen on");
        let port = listener.local_addr().expect("its address").port();
        tcp_delivers_to(listener, SocketAddr::new(there, port), len);
    }
}

/// Whoever connects to `to` reaches `listener`, and every byte does. Returns whom the listener saw.
pub(crate) fn tcp_delivers_to(listener: TcpListener, to: SocketAddr, len: usize) -> SocketAddr {
    let sent = pattern(len);
    let expected = sent.clone();
    let server = thread::spawn(move || {
        let (mut connection, from) = listener.accept().expect("a connection");
        let timeout = connection.set_read_timeout(Some(TIMEOUT));
        timeout.expect("a timeout");
        let mut received = Vec::new();
        connection
            .read_to_end(&mut received)
            .expect("all that was sent");
        assert!(received == expected, "{to}: {} bytes", received.len());
        connection.write_all(b"all").expect("an answer goes out");
        from
    });
    let mut client = TcpStream::connect_timeout(&to, TIMEOUT).expect("a connection");
    client.set_write_timeout(Some(TIMEOUT)).expect("a timeout");
    client.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    client.write_all(&sent).expect("everything goes out");
    client.shutdown(Shutdown::Write).expect("no more to send");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("an answer");
    assert_eq!(answer, b"all", "{to}");
    server.join().expect("the server is content")
}

/// Sends `sizes`, one datagram each, and if `segments` one long datagram to be segmented.
pub(crate) fn udp_delivers(sizes: &[usize], segments: bool) {
    for (here, there) in HERE.into_iter().zip(THERE) {
        let server = UdpSocket::bind((here, 0)).expect("a port");
        let client = UdpSocket::bind((here, 0)).expect("a port");
        server.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let port = server.local_addr().expect("its address").port();
        let mut buffer = vec![0; 65_536];
        for size in sizes {
            let sent = pattern(*size);
            client
                .send_to(&sent, (there, port))
                .expect("the datagram goes out");
            let (len, from) = server
                .recv_from(&mut buffer)
                .expect("the datagram comes back");
            assert!(buffer[..len] == sent, "{here}: {size} bytes, not {len}");
            assert_eq!(from.ip(), there);
        }
        if segments {
            long_datagram_delivers(&client, &server, SocketAddr::new(there, port));
        }
    }
}

/// Sends one datagram to be segmented, and expects its segments.
pub(crate) fn long_datagram_delivers(client: &UdpSocket, server: &UdpSocket, to: SocketAddr) {
    segment_datagrams(client, 1400);
    let sent = pattern(1400 * 40 + 33);
    client
        .send_to(&sent, to)
        .expect("the long datagram goes out");
    let mut buffer = vec![0; 65_536];
    for expected in sent.chunks(1400) {
        let (len, _) = server
            .recv_from(&mut buffer)
            .expect("each segment comes back");
        assert!(buffer[..len] == *expected, "{to}: a segment of {len} bytes");
    }
}

pub(crate) fn segment_datagrams(socket: &UdpSocket, size: libc::c_int) {
    let pointer: *const libc::c_int = &raw const size;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one int from `size`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            pointer.cast(),
            len,
        )
    };
    assert_eq!(
        result,
        0,
        "UDP_SEGMENT: {}",
        std::io::Error::last_os_error()
    );
}
