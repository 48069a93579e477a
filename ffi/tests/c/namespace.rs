//! A network namespace of its own for a test, with a TUN's addresses in it.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs `test` in a thread with a network namespace of its own, which goes with the last process in it. Says so
/// where there is none to be had.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let tested = thread::spawn(move || {
        // SAFETY: takes a number; changes only the calling thread's namespace.
        let refused = unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0;
        if refused || std::fs::metadata("/dev/net/tun").is_err() {
            println!("SKIPPED: no network namespace, or no TUN");
            return;
        }
        test();
    });
    tested
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.is_ok_and(|status| status.success()), "ip {arguments}");
}

/// Another namespace, with a name, for a program on the other end of a cable. It goes when this is dropped.
pub(crate) struct Other {
    name: String,
}

impl Other {
    /// Lays a cable from the interface `here` to `there`, which has the addresses `.9` and is up.
    pub(crate) fn connect(here: &str, there: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("portolan-ffi-{}-{number}", std::process::id());
        ip(&format!("netns add {name}"));
        let other = Self { name };
        let name = &other.name;
        ip(&format!(
            "link add {here} type veth peer name {there} netns {name}"
        ));
        ip(&format!("-n {name} link set {there} up"));
        ip(&format!("-n {name} addr add 10.9.0.9/24 dev {there}"));
        ip(&format!(
            "-n {name} -6 addr add fd09::9/64 dev {there} nodad"
        ));
        // What comes back from a Service may come from an address that is routed elsewhere.
        for each in ["all", here] {
            let filter = format!("/proc/sys/net/ipv4/conf/{each}/rp_filter");
            std::fs::write(filter, "0").expect("rp_filter");
        }
        other
    }

    /// The command that runs a program there.
    pub(crate) fn command(&self, program: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.name]);
        there.arg(program.get_program()).args(program.get_args());
        there
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Whoever is left in it keeps it; its name goes.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Gives the device its addresses, and waits until the kernel routes to them.
pub(crate) fn configure(device: &str) {
    for arguments in [
        format!("addr add 10.9.0.1/24 dev {device}"),
        format!("-6 addr add fd09::1/64 dev {device} nodad"),
        format!("link set {device} up"),
    ] {
        ip(&arguments);
    }
    for _ in 0..500 {
        if UdpSocket::bind("[fd09::1]:0").is_ok_and(|socket| socket.connect("[fd09::1]:9").is_ok())
        {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{device} has no route to its own address");
}

/// Whoever connects to `to` reaches `listener`, and every byte does. Returns whom the listener saw.
pub(crate) fn tcp_delivers(listener: &TcpListener, to: SocketAddr, len: usize) -> IpAddr {
    let sent: Vec<u8> = (0..len).map(|index| (index / 251 + index) as u8).collect();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut connection, from) = listener.accept().expect("a connection");
            connection.set_read_timeout(Some(TIMEOUT)).unwrap();
            let mut received = Vec::new();
            connection.read_to_end(&mut received).expect("all of it");
            assert!(received == sent, "{to}: {} bytes", received.len());
            connection.write_all(b"all").expect("an answer goes out");
            from.ip()
        });
        let mut client = TcpStream::connect_timeout(&to, TIMEOUT).expect("a connection");
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        client.write_all(&sent).expect("everything goes out");
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an answer");
        assert_eq!(answer, b"all", "{to}");
        server.join().expect("the server is content")
    })
}

/// A datagram to `to` reaches `server`, and its answer comes back from `to`.
pub(crate) fn udp_delivers(server: &UdpSocket, to: SocketAddr) {
    let client = UdpSocket::bind((server.local_addr().unwrap().ip(), 0)).expect("a port");
    let mut buffer = [0; 2048];
    for socket in [&client, server] {
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    }
    client.send_to(b"question", to).expect("it goes out");
    let (len, from) = server.recv_from(&mut buffer).expect("it arrives");
    assert_eq!(&buffer[..len], b"question");
    server.send_to(b"answer", from).expect("it goes out");
    let (len, from) = client.recv_from(&mut buffer).expect("it comes back");
    assert!(&buffer[..len] == b"answer" && from == to, "{from}");
}
