//! Another host on the wire: a thread with a network namespace of its own, which does what it is asked.

use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::kernel::{enter_namespace, ip};

type Job = Box<dyn FnOnce() + Send>;

/// A host with one interface, `eth0`. It goes with its last socket.
pub(crate) struct Station {
    jobs: Sender<Job>,
    namespace: String,
}

impl Station {
    pub(crate) fn new() -> Self {
        let (jobs, asked) = channel::<Job>();
        let (say, said) = channel();
        thread::spawn(move || {
            enter_namespace().expect("a second namespace, where there was a first");
            ip("link set lo up");
            let own = std::fs::read_link("/proc/thread-self").expect("its own directory");
            let told = say.send(format!("/proc/{}/ns/net", own.display()));
            told.expect("somebody listens");
            asked.into_iter().for_each(|job| job());
        });
        let namespace = said.recv().expect("the station is up");
        Self { jobs, namespace }
    }

    /// Runs `job` there.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (say, said) = channel();
        let job: Job = Box::new(move || say.send(job()).expect("somebody listens"));
        self.jobs.send(job).expect("the station is up");
        said.recv().expect("the job ends well")
    }

    /// Lays a cable from the interface `near`, in the calling thread's namespace, to `eth0` there.
    pub(crate) fn connect(&self, near: &str) {
        let Self { namespace, .. } = self;
        ip(&format!(
            "link add {near} type veth peer name eth0 netns {namespace}"
        ));
        ip(&format!("link set {near} addrgenmode none"));
        ip(&format!("link set {near} up"));
        self.run(|| {
            ip("link set eth0 up");
            // What comes back from a Service may come from an address that is routed elsewhere.
            for name in ["all", "eth0"] {
                let filter = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
                std::fs::write(filter, "0").expect("rp_filter");
            }
        });
    }

    /// Asks for `url` there; `None`, said aloud, if there is no curl.
    pub(crate) fn curl(&self, url: &str) -> Option<String> {
        let url = url.to_owned();
        let done = self.run(move || {
            Command::new("curl")
                .args(["--silent", "--show-error", "--max-time", "10", &url])
                .output()
        });
        let Ok(done) = done else {
            eprintln!("SKIPPED asking by HTTP: there is no curl here");
            return None;
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        assert!(done.status.success(), "{}", text(done.stderr));
        Some(text(done.stdout))
    }
}
