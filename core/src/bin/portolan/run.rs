//! `portolan run`: serves the Services of a set of manifests on a device until it is told to stop.

use crate::CommandError;
use crate::backend::{self, Backend, KernelArguments, Movers};
use crate::control::{Asked, Request, Socket};
use crate::device::DeviceArguments;
use crate::dns::{DnsArguments, DnsServer};
use crate::get::{Resource, rows};
use crate::offline::{apply, own_node};
use crate::serve::{Addresses, Scrape, Server};
use crate::serving::Serving;
use crate::settings::{OptionArguments, Settings, SettingsFiles};
use crate::store::Store;
use crate::watch::{Difference, Manifests};
use crate::{explain, serve, watch};
use clap::Args;
use core::net::SocketAddr;
use core::time::Duration;
use portolan::dataplane::Config;
use portolan::driver::{self, Driver};
use portolan::health::Moment;
use portolan::metrics::{SyncMetrics, exposition};
use portolan::model::{Kind, Object};
use portolan::net::Family;
use portolan::plan::NodeConfig;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use tracing::{error, info, warn};

/// How often the files are looked at. A change is served at most this much later.
const LOOK: Duration = Duration::from_millis(250);

/// What `portolan run` is told.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    settings: SettingsFiles,
    #[command(flatten)]
    options: OptionArguments,
    /// Manifests: files, or directories of .yaml, .yml and .json files. They are the desired state: an object
    /// whose file vanishes is deleted
    #[arg(long, value_name = "PATH", required_unless_present = "store", num_args = 1..)]
    objects: Vec<PathBuf>,
    /// A directory of manifests for which this process does the API server's part too: Services are completed,
    /// judged and given addresses and ports (section `api` of the node's description), endpoints are made from
    /// Pods, and all that is kept in DIR/.portolan. `portolan apply`, `delete` and `edit` work on it
    #[arg(long, value_name = "DIR", conflicts_with = "objects")]
    store: Option<PathBuf>,
    /// What moves the packets [default: what --config's mode says, else userspace]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    #[command(flatten)]
    kernel: KernelArguments,
    #[command(flatten)]
    device: DeviceArguments,
    /// Answers /healthz and /livez here, for instance 0.0.0.0:10256 [default: where --config says, else nowhere]
    #[arg(long, value_name = "IP:PORT")]
    healthz_bind_address: Option<SocketAddr>,
    /// Answers /metrics here, for instance 127.0.0.1:10249 [default: where --config says, else nowhere]
    #[arg(long, value_name = "IP:PORT")]
    metrics_bind_address: Option<SocketAddr>,
    #[command(flatten)]
    dns: DnsArguments,
    /// The control socket [default: /run/portolan.sock, else $XDG_RUNTIME_DIR/portolan.sock]
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
}

/// What wakes the main loop.
#[derive(Debug)]
enum Event {
    Signal(i32),
    Asked(Asked),
    Scraped(Scrape),
}

/// Serves until a signal says stop.
pub(crate) fn run(arguments: &RunArguments) -> Result<ExitCode, CommandError> {
    let stamps = arguments.settings.stamps();
    let settings = arguments.settings.read()?;
    let mut config = Config {
        seed: seed()?,
        options: arguments.options.options(),
        memory_advice: Some(driver::huge_pages),
        ..Config::default()
    };
    config.limits.workers = arguments.device.workers();
    settings.apply(&mut config);
    // What the arguments name stays; the configuration's mode may be edited.
    let may_change = arguments.backend.is_none() && settings.kube_proxy.is_some();
    if may_change {
        config.masquerade_ports = backend::USERSPACE_PORTS;
    }
    let mut serving = Serving::new(settings.node.clone(), &config)?;
    let begun = serve::now();
    let (desired, difference) = Desired::open(arguments, &settings.node)?;
    apply(&mut serving, difference)?;
    let mut sync = SyncMetrics::default();
    note_sync(&mut sync, begun);

    let (events, woken) = channel();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let handle = signals.handle();
    let signalled = events.clone();
    thread::Builder::new()
        .name("portolan-signal".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if signalled.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })?;
    let backend = wanted_backend(arguments, &settings);
    let mut movers = Movers::new(backend, may_change, &arguments.kernel);
    movers.begin(backend, &mut serving, |serving| {
        arguments.device.start(serving)
    })?;
    let server = open_server(arguments, &settings, &events)?;
    server.follow(serving.node());
    let dns = DnsServer::start(&arguments.dns, serving.node())?;
    if let Some(dns) = &dns {
        info!("answering DNS queries for {} Services", dns.len());
    }
    let socket = open_socket(arguments, events)?;
    if let Some(socket) = &socket {
        info!("answering at {}", socket.path().display());
    }
    let mut running = Running {
        arguments,
        serving,
        desired,
        stamps,
        settings,
        movers,
        server,
        dns,
        sync,
    };
    let outcome = running.until_stopped(&woken);
    handle.close();
    running.movers.stop()?;
    outcome?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// A seed that nobody outside can know: whoever knew it could make entries of the tables collide.
fn seed() -> Result<u128, CommandError> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}

/// The arguments decide before the configuration.
fn wanted_backend(arguments: &RunArguments, settings: &Settings) -> Backend {
    let configured = || {
        settings
            .kube_proxy
            .as_ref()
            .map(|config| config.mode.is_userspace())
    };
    match (arguments.backend, configured()) {
        (Some(backend), _) => backend,
        (None, Some(false)) => Backend::Nftables,
        (None, _) => Backend::Userspace,
    }
}

/// Health probes and metrics.
fn open_server(
    arguments: &RunArguments,
    settings: &Settings,
    events: &Sender<Event>,
) -> Result<Server, CommandError> {
    let configured = settings.kube_proxy.as_ref();
    let addresses = Addresses {
        healthz: arguments
            .healthz_bind_address
            .or_else(|| configured.map(|config| config.healthz_bind_address)),
        metrics: arguments
            .metrics_bind_address
            .or_else(|| configured.map(|config| config.metrics_bind_address)),
    };
    let events = events.clone();
    Server::start(addresses, move |scrape| {
        events.send(Event::Scraped(scrape)).is_ok()
    })
}

/// Notes a publication of both families that is over now.
fn note_sync(sync: &mut SyncMetrics, begun: Moment) {
    let ended = serve::now();
    let nanos = ended
        .clock
        .as_nanos()
        .saturating_sub(begun.clock.as_nanos());
    for family in [Family::Ipv4, Family::Ipv6] {
        sync.synced(family, ended.unix, Duration::from_nanos(nanos));
    }
}

/// The control socket. Without one the packets flow all the same, so only a socket that was named must open.
fn open_socket(
    arguments: &RunArguments,
    events: Sender<Event>,
) -> Result<Option<Socket>, CommandError> {
    let ask = move |asked| events.send(Event::Asked(asked)).is_ok();
    match Socket::open(arguments.control.as_deref(), ask) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if arguments.control.is_some() => Err(error),
        Err(error) => {
            warn!("{error}: `portolan get` and `portolan explain` cannot ask this process");
            Ok(None)
        }
    }
}

/// Where the desired state is.
#[derive(Debug)]
enum Desired {
    /// In manifests that somebody else has completed.
    Manifests(Manifests),
    /// In a store of our own.
    Store(Box<Store>),
}

impl Desired {
    fn open(
        arguments: &RunArguments,
        node: &NodeConfig,
    ) -> Result<(Self, Difference), CommandError> {
        let Some(root) = &arguments.store else {
            let mut manifests = Manifests::new(&arguments.objects)?;
            let difference = manifests.refresh(true);
            return Ok((Self::Manifests(manifests), difference));
        };
        let settings = arguments.settings.api(node)?;
        let mut store = Store::open(root, settings, own_node(node))?;
        let difference = store.load()?;
        Ok((Self::Store(Box::new(store)), difference))
    }

    fn refresh(&mut self, all: bool) -> Result<Difference, CommandError> {
        match self {
            Self::Manifests(manifests) => Ok(manifests.refresh(all)),
            Self::Store(store) => store.refresh(all),
        }
    }
}

/// What the main loop holds.
struct Running<'a> {
    arguments: &'a RunArguments,
    serving: Serving,
    desired: Desired,
    settings: Settings,
    stamps: [Option<watch::Stamp>; 2],
    movers: Movers,
    server: Server,
    dns: Option<DnsServer>,
    sync: SyncMetrics,
}

impl Running<'_> {
    fn until_stopped(&mut self, events: &Receiver<Event>) -> Result<(), CommandError> {
        let mut due = driver::now().after(LOOK);
        loop {
            let now = driver::now();
            // However much is asked, the files are looked at in time.
            if now >= due {
                self.follow(false)?;
                due = now.after(LOOK);
            }
            let left = Duration::from_nanos(due.as_nanos().saturating_sub(now.as_nanos()));
            match events.recv_timeout(left) {
                Ok(Event::Signal(SIGHUP)) => {
                    info!("SIGHUP: reading everything again");
                    self.follow(true)?;
                }
                Ok(Event::Signal(_)) => return Ok(()),
                Ok(Event::Asked(asked)) => {
                    let answer = self.answer(&asked.request);
                    // Whoever asked may have gone.
                    let _ = asked.answer.send(answer.map_err(|error| error.to_string()));
                }
                Ok(Event::Scraped(scrape)) => {
                    let snapshot = self.serving.snapshot();
                    let probes = self.server.probes();
                    scrape.answer(exposition(&snapshot, &self.sync, &probes));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(left),
            }
            // The reason comes from `Driver::stop`.
            if !self.movers.drivers().iter().all(Driver::is_running) {
                return Ok(());
            }
            self.movers.follow(&self.serving);
            self.serving.dataplane_mut().poll(driver::now());
        }
    }

    /// Follows the files.
    fn follow(&mut self, all: bool) -> Result<(), CommandError> {
        let stamps = self.arguments.settings.stamps();
        if all || stamps != self.stamps {
            self.stamps = stamps;
            match self.arguments.settings.read() {
                Ok(settings) if settings != self.settings => {
                    if settings.needs_restart(&self.settings) {
                        warn!(
                            "timeouts, capacities and bind addresses change with the next start only"
                        );
                    }
                    let begun = self.begin(0, 0);
                    for rejection in self.serving.reconfigure(settings.node.clone())? {
                        warn!("{rejection}");
                    }
                    self.settings = settings;
                    self.change_backend();
                    self.end(begun);
                    info!("the node's description changed");
                    self.reconfigure_store()?;
                }
                Ok(_) => {}
                Err(error) => error!("{error}; the old description stays in force"),
            }
        }
        match self.desired.refresh(all) {
            Ok(difference) => self.serve(difference),
            // Whatever the reason, the old state is in force, and the files are looked at again.
            Err(error) => {
                error!("{error}; the old state stays in force");
                Ok(())
            }
        }
    }

    /// Tells the store of what the node's description says now.
    fn reconfigure_store(&mut self) -> Result<(), CommandError> {
        let Desired::Store(store) = &mut self.desired else {
            return Ok(());
        };
        let node = &self.settings.node;
        match self.arguments.settings.api(node) {
            Ok(settings) => {
                let difference = store.reconfigure(settings, own_node(node))?;
                self.serve(difference)
            }
            Err(error) => {
                error!("{error}; the old settings stay in force");
                Ok(())
            }
        }
    }

    /// Serves what has changed.
    fn serve(&mut self, difference: Difference) -> Result<(), CommandError> {
        if difference.is_empty() {
            return Ok(());
        }
        let (applied, deleted) = (difference.apply.len(), difference.delete.len());
        let of = |kind| {
            let applied = difference.apply.iter().map(Object::reference);
            let all = applied.chain(difference.delete.iter().cloned());
            all.filter(|object| object.kind == kind).count() as u64
        };
        let begun = self.begin(of(Kind::Service), of(Kind::EndpointSlice));
        apply(&mut self.serving, difference)?;
        self.end(begun);
        info!(
            "{applied} objects applied, {deleted} deleted: {} frontends",
            self.serving.node().frontends().count()
        );
        Ok(())
    }

    /// Moves to another backend if the settings name one now.
    fn change_backend(&mut self) {
        let wanted = wanted_backend(self.arguments, &self.settings);
        if wanted == self.movers.backend() {
            return;
        }
        let arguments = self.arguments;
        let start = |serving: &mut Serving| arguments.device.start(serving);
        match self.movers.begin(wanted, &mut self.serving, start) {
            Ok(()) => info!("new connections are moved by the backend {wanted:?}"),
            Err(error) => error!("{error}; the old backend stays in force"),
        }
    }

    /// Changes of so many Services and slices are about to be made.
    fn begin(&mut self, services: u64, slices: u64) -> Moment {
        let now = serve::now();
        self.server.queued();
        self.sync.queued(now.unix, services, slices);
        now
    }

    /// They have been published.
    fn end(&mut self, begun: Moment) {
        note_sync(&mut self.sync, begun);
        self.server.follow(self.serving.node());
        if let Some(dns) = &mut self.dns {
            dns.follow(self.serving.node());
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Value, CommandError> {
        let now = driver::now();
        match request {
            Request::Get { resource } => match resource {
                Resource::Services
                | Resource::Endpoints
                | Resource::Endpointslices
                | Resource::Pods
                | Resource::Nodes
                | Resource::Namespaces
                | Resource::Servicecidrs => rows::offline(&self.serving, *resource),
                Resource::Connections => Ok(serde_json::to_value(rows::connections(
                    self.serving.dataplane(),
                    now,
                ))?),
                Resource::Stats => Ok(serde_json::to_value(rows::stats(
                    &self.serving,
                    self.movers.drivers().iter().flat_map(Driver::stats),
                ))?),
            },
            Request::Explain { packet, interface } => {
                explain::answer(&self.serving, now, packet, interface.as_deref())
            }
            Request::Apply { .. } | Request::Delete { .. } | Request::Objects { .. } => {
                let Desired::Store(store) = &mut self.desired else {
                    return Err(
                        "this portolan has no store: it was not started with --store".into(),
                    );
                };
                let (answer, difference) = store.answer(request)?;
                self.serve(difference)?;
                Ok(answer)
            }
        }
    }
}
