//! The device by itself. One namespace is both ends: the processor swaps source and destination, so a connection
//! from `.1` to `.2` comes back to `.1` as one from `.2`. Swapping changes no checksum, partial or complete, so
//! whatever the kernel refuses here the driver has broken.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use portolan::dataplane::{Descriptor, Verdict};
use portolan::driver::{Driver, Loss, QueueStats, RunError, RunOptions, Tun, TunOptions};
use portolan::net::Instant;

use crate::kernel::{IN_GVISOR, in_gvisor, in_namespace, ip, open, tcp_delivers, udp_delivers};

/// Sends every unicast packet back as if it came from where it went.
fn swap(frames: &mut [u8], descriptor: &mut Descriptor) {
    let start = descriptor.offset as usize;
    let packet = &mut frames[start..start + descriptor.len as usize];
    let (at, len) = if packet[0] >> 4 == 4 {
        (12, 4)
    } else {
        (8, 16)
    };
    let (sources, destinations) = packet[at..at + 2 * len].split_at_mut(len);
    sources.swap_with_slice(destinations);
    let unicast = sources[0] != 0xff && sources[0] & 0xf0 != 0xe0;
    descriptor.verdict = if unicast {
        Verdict::Forward
    } else {
        Verdict::Drop
    } as u8;
}

/// What the test looks at from outside while the driver runs.
struct Swapping {
    driver: Driver,
    longest: Arc<AtomicUsize>,
}

impl Swapping {
    fn start(tun: Tun, options: &RunOptions) -> Self {
        let longest = Arc::new(AtomicUsize::new(0));
        let processors = (0..tun.capabilities().queues)
            .map(|_| {
                let longest = Arc::clone(&longest);
                move |_: Instant, frames: &mut [u8], descriptors: &mut [Descriptor]| {
                    for descriptor in descriptors {
                        longest.fetch_max(descriptor.len as usize, Ordering::Relaxed);
                        swap(frames, descriptor);
                    }
                }
            })
            .collect();
        let driver = Driver::start(tun, processors, options).expect("the driver starts");
        Self { driver, longest }
    }

    fn stop(self) -> (QueueStats, usize) {
        let queues = self.driver.stop().expect("nothing failed");
        let sum = queues
            .into_iter()
            .fold(QueueStats::default(), QueueStats::plus);
        (sum, self.longest.load(Ordering::Relaxed))
    }
}

const SIZES: [usize; 6] = [1, 2, 511, 1024, 1399, 1400];

#[test]
fn with_offload_long_packets_go_through_whole() {
    in_namespace("with_offload_long_packets_go_through_whole", || {
        let tun = open(true, 1);
        assert!(tun.capabilities().virtio_header && tun.capabilities().tcp_segmentation);
        let udp_segmentation = tun.capabilities().udp_segmentation;
        let running = Swapping::start(tun, &RunOptions::default());
        udp_delivers(&SIZES, true);
        let before = running
            .driver
            .stats()
            .fold(QueueStats::default(), QueueStats::plus);
        if udp_segmentation {
            assert!(
                before.received_packets < 40,
                "datagrams came segmented: {before:?}"
            );
        }
        tcp_delivers(8 << 20);
        let (stats, longest) = running.stop();
        assert!(longest > 20_000, "the longest packet had {longest} bytes");
        assert_eq!(stats.software_segments + stats.software_checksums, 0);
        assert_eq!(
            stats.failed_writes + stats.short_writes + stats.unreadable,
            0,
            "{stats:?}"
        );
        assert!(stats.cpu_time() > Duration::ZERO);
    });
}

#[test]
fn without_virtio_header_everything_is_one_mtu_and_works() {
    in_namespace(
        "without_virtio_header_everything_is_one_mtu_and_works",
        || {
            let tun = open(false, 1);
            assert!(!tun.capabilities().virtio_header);
            assert_eq!(tun.losses(), [], "what was not asked for is no loss");
            let running = Swapping::start(tun, &RunOptions::default());
            udp_delivers(&SIZES, true);
            tcp_delivers(2 << 20);
            let (stats, longest) = running.stop();
            assert_eq!(longest, 1500);
            assert_eq!(
                stats.failed_writes + stats.short_writes + stats.unreadable,
                0,
                "{stats:?}"
            );
        },
    );
}

#[test]
fn software_finishes_what_the_output_does_not_take() {
    in_namespace("software_finishes_what_the_output_does_not_take", || {
        let options = RunOptions {
            software_offload: true,
            ..RunOptions::default()
        };
        let running = Swapping::start(open(true, 1), &options);
        udp_delivers(&SIZES, true);
        tcp_delivers(4 << 20);
        let (stats, longest) = running.stop();
        assert!(longest > 20_000, "the longest packet had {longest} bytes");
        assert!(stats.software_segments > 2000, "{stats:?}");
        assert!(stats.software_checksums > 0, "{stats:?}");
        assert_eq!(stats.unsegmentable + stats.failed_writes, 0, "{stats:?}");
    });
}

#[test]
fn two_queues_share_the_work() {
    in_namespace("two_queues_share_the_work", || {
        let tun = open(true, 2);
        assert_eq!(
            (tun.capabilities().queues, tun.losses()),
            (2, [].as_slice())
        );
        let running = Swapping::start(tun, &RunOptions::default());
        tcp_delivers(1 << 20);
        for size in 1..40 {
            udp_delivers(&[size], false);
        }
        let queues: Vec<_> = running.driver.stats().collect();
        assert!(
            queues.iter().all(|queue| queue.received_packets > 0),
            "{queues:?}"
        );
        running.stop();
    });
}

#[test]
fn an_open_descriptor_is_taken_over_with_its_offload() {
    in_namespace("an_open_descriptor_is_taken_over_with_its_offload", || {
        let opened = open(true, 1);
        let descriptors = opened
            .descriptors()
            .map(|fd| fd.try_clone_to_owned().expect("a copy"));
        let tun =
            Tun::from_descriptors("unknown", descriptors.collect(), false).expect("it is taken");
        drop(opened);
        assert_eq!(tun.name(), "ptl0");
        assert!(tun.capabilities().virtio_header && tun.capabilities().tcp_segmentation);
        let running = Swapping::start(tun, &RunOptions::default());
        tcp_delivers(1 << 20);
        running.stop();
    });
}

#[test]
fn a_multi_queue_interface_made_beforehand_is_opened_with_one_queue() {
    in_namespace(
        "a_multi_queue_interface_made_beforehand_is_opened_with_one_queue",
        || {
            ip("tuntap add dev ptl0 mode tun multi_queue");
            let tun = open(true, 1);
            assert!(tun.capabilities().virtio_header);
            assert_eq!(tun.losses(), []);
        },
    );
}

#[test]
fn a_single_queue_interface_made_beforehand_loses_the_other_queues() {
    in_namespace(
        "a_single_queue_interface_made_beforehand_loses_the_other_queues",
        || {
            ip("tuntap add dev ptl0 mode tun");
            let tun = open(true, 3);
            assert_eq!(tun.capabilities().queues, 1);
            let [
                Loss::Queues {
                    wanted: 3,
                    granted: 1,
                    ..
                },
            ] = tun.losses()
            else {
                panic!("{:?}", tun.losses());
            };
            let running = Swapping::start(tun, &RunOptions::default());
            tcp_delivers(1 << 20);
            running.stop();
        },
    );
}

#[test]
fn a_deleted_interface_ends_the_driver_by_name() {
    in_namespace("a_deleted_interface_ends_the_driver_by_name", || {
        let running = Swapping::start(open(true, 2), &RunOptions::default());
        ip("link del ptl0");
        for _ in 0..200 {
            if !running.driver.is_running() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!running.driver.is_running(), "it noticed");
        let error = running.driver.stop().expect_err("the device has gone");
        assert!(matches!(error, RunError::DeviceGone { .. }), "{error}");
        assert!(error.to_string().starts_with("ptl0: "), "{error}");
    });
}

#[test]
fn a_name_that_is_too_long_is_refused_by_name() {
    let error = Tun::open(&TunOptions::new("a-name-of-16-byt")).expect_err("too long");
    assert!(error.to_string().contains("a-name-of-16-byt"), "{error}");
}

#[test]
fn in_gvisor_the_device_degrades_by_itself() {
    if in_gvisor() {
        return degraded();
    }
    let test = std::env::current_exe().expect("this test's own path");
    let done = Command::new("runsc")
        .args(["--network=none", "--platform=ptrace", "do", "env"])
        .arg(format!("{IN_GVISOR}=1"))
        .arg(test)
        .args([
            "--exact",
            "device::in_gvisor_the_device_degrades_by_itself",
            "--nocapture",
        ])
        .output();
    match done {
        Err(error) => {
            eprintln!("SKIPPED in_gvisor_the_device_degrades_by_itself: runsc: {error}");
        }
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stdout);
            let errors = String::from_utf8_lossy(&done.stderr);
            if said.contains("running ") {
                assert!(
                    done.status.success() && said.contains("1 passed"),
                    "{said}{errors}"
                );
            } else {
                eprintln!("SKIPPED in_gvisor_the_device_degrades_by_itself: runsc: {errors}");
            }
        }
    }
}

/// What the test above runs inside gVisor, which has neither virtio header nor several queues.
fn degraded() {
    let tun = open(true, 2);
    let capabilities = tun.capabilities();
    assert!(
        capabilities.queues == 1 && !capabilities.virtio_header,
        "{capabilities:?}"
    );
    for loss in tun.losses() {
        eprintln!("{loss}");
    }
    let lost = |what: fn(&Loss) -> bool| tun.losses().iter().any(what);
    assert!(lost(|loss| matches!(loss, Loss::VirtioHeader { .. })));
    assert!(lost(|loss| matches!(
        loss,
        Loss::Queues {
            wanted: 2,
            granted: 1,
            ..
        }
    )));
    let running = Swapping::start(tun, &RunOptions::default());
    udp_delivers(&SIZES, false);
    tcp_delivers(1 << 20);
    let (stats, longest) = running.stop();
    assert!(
        longest <= 1500 && stats.failed_writes == 0,
        "{longest} {stats:?}"
    );
}

#[test]
fn a_persistent_interface_stays_and_keeps_its_mtu() {
    in_namespace("a_persistent_interface_stays_and_keeps_its_mtu", || {
        let mut options = TunOptions {
            persistent: true,
            mtu: Some(1400),
            ..TunOptions::new("ptl%d")
        };
        let tun = Tun::open(&options).expect("the TUN opens");
        assert!(tun.capabilities().persistent && tun.losses().is_empty());
        assert_eq!(tun.name(), "ptl0", "the kernel numbered it");
        drop(tun);
        ip("link set ptl0 up");
        let shown = Command::new("ip").args(["link", "show", "ptl0"]).output();
        let shown = String::from_utf8(shown.expect("ip runs").stdout).expect("text");
        assert!(shown.contains("mtu 1400"), "{shown}");
        options.mtu = Some(10);
        let error = Tun::open(&options).expect_err("no IP over 10 bytes");
        assert!(
            error.to_string().starts_with("ptl1: SIOCSIFMTU: "),
            "{error}"
        );
    });
}
