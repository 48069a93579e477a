//! `portolan run` on a TUN device of its own network namespace, asked over its socket.

use super::files::{Files, SHOP};
use super::{portolan, run};
use core::time::Duration;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A running process; stopped if a test fails before it stops it itself.
struct Running {
    child: Child,
    socket: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts it where it may make devices; `None`, said loudly, where namespaces are refused.
    fn start(files: &Files) -> Option<Self> {
        Self::start_on(files, "true", "--tun ptl0")
    }

    /// The same, on a device that `preparation` prepares.
    fn start_on(files: &Files, preparation: &str, device: &str) -> Option<Self> {
        let socket = files.path("control.sock").display().to_string();
        let arguments = format!("run {device} --control {socket} {}", files.arguments());
        let probe = Command::new("unshare")
            .args(["-rn", "test", "-e", "/dev/net/tun"])
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: network namespaces or /dev/net/tun are refused here");
            return None;
        }
        let log = fs::File::create(files.path("log")).expect("writable");
        let child = Command::new("unshare")
            .args([
                "-rn",
                "sh",
                "-c",
                &format!("{preparation} && exec \"$@\""),
                "sh",
            ])
            .arg(portolan().get_program())
            .args(arguments.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("unshare starts");
        Some(Self { child, socket })
    }

    /// Asks until the answer holds what is wanted, for at most ten seconds.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        for _ in 0..200 {
            let finished = run(&format!("{what} --control {}", self.socket));
            if finished.status == 0 && wanted(&finished.stdout) {
                return finished.stdout;
            }
            last = finished.stdout + &finished.stderr;
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{what}: {last}");
    }

    /// Sends a signal by name.
    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// Stops it; its exit code and what it has logged.
    fn stop(&mut self, files: &Files) -> (Option<i32>, String) {
        self.signal("TERM");
        let status = self.child.wait().expect("it ends");
        let log = fs::read_to_string(files.path("log")).expect("a log");
        (status.code(), log)
    }
}

#[test]
fn files_are_followed_live_and_a_signal_ends_it_cleanly() {
    let files = Files::new("run-live");
    let Some(mut running) = Running::start(&files) else {
        return;
    };
    running.until("get services -A", |out| {
        out.contains("shop") && out.contains("dns")
    });
    let asked = "explain --src 10.244.1.9 --dst 10.43.0.10:80";
    running.until(asked, |out| out.contains("drop (NoLocalEndpoint)"));

    // An edit takes effect by itself.
    let edited = SHOP.replace(
        "internalTrafficPolicy: Local",
        "internalTrafficPolicy: Cluster",
    );
    files.write("objects/shop.yaml", &edited);
    running.until(asked, |out| {
        out.contains("forward: the packet opens a connection")
    });

    // A file that is wrong leaves what it held in force; it is named in the log.
    files.write("objects/shop.yaml", "apiVersion: [\n");
    // A file that vanishes takes its objects with it.
    fs::remove_file(files.path("objects/dns.yaml")).expect("removable");
    running.until("get services -A", |out| !out.contains("dns"));
    running.until(asked, |out| {
        out.contains("forward: the packet opens a connection")
    });

    // The node's description is followed too.
    let node = super::files::NODE.replace("10.244.0.0/16", "10.99.0.0/16");
    files.write("node.yaml", &node);
    running.signal("HUP");
    running.until(asked, |out| {
        out.contains("10.244.1.9 is neither a pod nor this node")
    });

    let stats = running.until("get stats --json", |out| out.contains("connections_ipv4"));
    assert!(stats.contains("\"limit\": 262144"), "{stats}");
    running.until("get connections", |out| out.starts_with("PROTOCOL"));

    let (status, log) = running.stop(&files);
    assert_eq!(status, Some(0), "{log}");
    let mut stdout = String::new();
    let pipe = running.child.stdout.as_mut().expect("piped");
    pipe.read_to_string(&mut stdout).expect("UTF-8");
    assert_eq!(stdout, "", "logs go to stderr");
    assert!(
        log.contains("serving 3 frontends of 2 Services on ptl0 (offloads: "),
        "{log}"
    );
    assert!(log.contains("shop.yaml:"), "{log}");
    assert!(
        !fs::exists(files.path("control.sock")).expect("readable"),
        "the socket is gone"
    );
}

#[test]
fn packet_sockets_take_the_place_of_the_tun() {
    let files = Files::new("run-af-packet");
    let cable =
        "ip link add near0 type veth peer name far0 && ip link set near0 up && ip link set far0 up";
    for (device, queues) in [("near0", 2), ("near0,far0", 4)] {
        let arguments = format!("--af-packet {device} --queues 2");
        let Some(mut running) = Running::start_on(&files, cable, &arguments) else {
            return;
        };
        running.until("get stats", |said| !said.is_empty());
        let (status, log) = running.stop(&files);
        assert_eq!(status, Some(0), "{log}");
        let name = device.replace(',', "+");
        assert!(log.contains(&format!(" on {name} (")), "{log}");
        assert!(log.contains(&format!("queues: {queues})")), "{log}");
    }
}

#[test]
fn what_is_routed_into_the_pods_tun_comes_from_pods() {
    let files = Files::new("run-pod-tun");
    let shop = SHOP.replace(
        "internalTrafficPolicy: Local",
        "internalTrafficPolicy: Cluster",
    );
    files.write("objects/shop.yaml", &shop);
    let node = "detectLocal: InterfaceNamePrefix\ninterfaceNamePrefix: veth\n".to_owned()
        + super::files::NODE;
    files.write("node.yaml", &node);
    // One client of the ClusterIP is routed into either TUN.
    let tuns = [("ptl0", "10.1.0.1"), ("ptl1", "10.1.1.1")];
    let prepare = tuns.map(|(tun, client)| {
        format!(
            "ip tuntap add {tun} mode tun vnet_hdr && ip addr add {client}/32 dev {tun} && ip link set {tun} up && \
             ip rule add from {client} lookup {table} && ip route add 10.43.0.0/16 dev {tun} table {table}",
            table = &tun[3..].parse::<u32>().map_or(0, |number| 100 + number)
        )
    });
    let devices = "--tun ptl0 --pod-tun ptl1";
    let Some(mut running) = Running::start_on(&files, &prepare.join(" && "), devices) else {
        return;
    };
    running.until("get services -A", |out| out.contains("shop"));
    let inside = running.child.id().to_string();
    // Nobody answers: their SYNs are enough.
    let clients = tuns.map(|(_, client)| {
        let mut curl = Command::new("nsenter");
        curl.args(["-t", &inside, "-U", "-n", "--preserve-credentials"])
            .args(["curl", "--silent", "--interface", client])
            .arg("http://10.43.0.10/");
        curl.spawn().expect("nsenter starts")
    });
    let connections = running.until("get connections", |out| {
        tuns.iter().all(|(_, client)| out.contains(client))
    });
    for mut client in clients {
        client.kill().expect("it waits for its answer");
        client.wait().expect("it ends");
    }
    for (tun, client) in tuns {
        let own = connections.lines().find(|line| line.contains(client));
        let masqueraded = own.is_some_and(|line| line.contains("172.18.0.2:"));
        assert_eq!(masqueraded, tun == "ptl0", "{connections}");
    }
    let (status, log) = running.stop(&files);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains(" on ptl1 ("), "{log}");
}

#[test]
fn what_is_no_pair_of_interfaces_is_refused() {
    let files = Files::new("run-af-packet-refused");
    for (device, said) in [
        ("--tun ptl0 --af-packet near0", "cannot be used with"),
        ("--af-packet a,b,c", "one interface or two"),
        (
            "--af-packet no-such-device",
            "no-such-device: SIOCGIFINDEX: ",
        ),
        ("", "--tun NAME or --af-packet NAME"),
    ] {
        let socket = files.path("control.sock").display().to_string();
        let finished = run(&format!(
            "run {device} --control {socket} {}",
            files.arguments()
        ));
        assert_eq!(finished.status, 2, "{device}: {}", finished.stderr);
        assert!(
            finished.stderr.contains(said),
            "{device}: {}",
            finished.stderr
        );
    }
}

#[test]
fn what_it_needs_is_said_before_anything_is_served() {
    let files = Files::new("run-needs");
    let finished = run(&format!(
        "run --tun ptl0 --node-config {} --objects {}",
        files.path("missing.yaml").display(),
        files.objects().display()
    ));
    assert_eq!((finished.status, finished.stdout.as_str()), (2, ""));
    assert!(
        finished.stderr.contains("missing.yaml"),
        "{}",
        finished.stderr
    );
    let finished = run(&format!(
        "run --tun ptl0 --node-config {} --objects {}",
        files.path("node.yaml").display(),
        files.path("missing").display()
    ));
    assert_eq!(finished.status, 2);
    assert!(finished.stderr.contains("missing"), "{}", finished.stderr);
}
