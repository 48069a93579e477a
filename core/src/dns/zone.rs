//! The handles: one that follows Services and publishes, and any number that answer.

use super::answer::{Outcome, Transport, answer};
use super::config::{Config, ConfigError, Settings};
use super::name::{service_labels, wire_label};
use super::records::ServiceRecords;
use super::tables::{Edit, Tables};
use crate::model::{EndpointSlice, ObjectKey, Service};
use crate::node::{Node, Revision};
use crate::sync::{self, Published, ReadersBehind};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

/// The zones of one cluster.
///
/// Changes are collected by [`Zone::follow`], or by hand, and seen by all readers together after [`Zone::publish`].
/// They cost what the Services cost that change. One thread at a time; readers run beside it and never wait.
///
/// ```
/// use portolan::dns::{Config, Outcome, Transport, Zone};
///
/// let mut zone = Zone::new(Config::default())?;
/// zone.set_synced(true);
/// zone.publish(1)?;
/// let mut reader = zone.reader().expect("there may be 64");
/// let query = b"\x00\x07\x01\0\0\x01\0\0\0\0\0\0\x0bdns-version\x07cluster\x05local\0\0\x10\0\x01";
/// let mut reply = [0; 512];
/// let Outcome::Reply(length) = reader.answer(query, Transport::Udp, &mut reply) else { unreachable!() };
/// assert!(reply[..length].ends_with(b"1.1.0"));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Zone {
    settings: Arc<Settings>,
    published: Published<Tables>,
    pending: Vec<Edit>,
    /// Readers given away.
    readers: usize,
    /// What has been seen of the node that is followed.
    seen: Revision,
    followed: bool,
}

/// Answers queries of one thread, from what was published last.
#[derive(Debug)]
pub struct Reader {
    tables: sync::Reader<Tables>,
}

impl Zone {
    /// Zones without Services.
    ///
    /// # Errors
    /// [`ConfigError`] names the field that cannot be.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let settings = Arc::new(Settings::new(config)?);
        let tables = || Tables::new(Arc::clone(&settings));
        Ok(Self {
            published: Published::new([tables(), tables()], settings.config.readers),
            settings,
            pending: Vec::new(),
            readers: 0,
            seen: Revision::default(),
            followed: false,
        })
    }

    /// What is served, and how.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.settings.config
    }

    /// A reader for one more thread; `None` if there are [`Config::readers`] already.
    pub fn reader(&mut self) -> Option<Reader> {
        if self.readers >= self.settings.config.readers {
            return None;
        }
        let reader = self.published.reader(self.readers);
        self.readers = self.readers.saturating_add(1);
        Some(Reader { tables: reader })
    }

    /// Takes what changed in a node's objects since the last call: Services, endpoints and namespaces, and whether
    /// they are all known. Another node than before is taken whole.
    pub fn follow(&mut self, node: &Node) {
        let touched = node.touched(self.seen);
        if touched.full {
            let known = self.published.current().keys();
            let gone = known.map(|key| Edit::Service(key.into(), None));
            self.pending.extend(gone.collect::<Vec<_>>());
        }
        for key in &touched.services {
            let objects = node.objects_of(key);
            self.put_service(key, objects.service, &objects.slices);
        }
        if touched.namespaces {
            self.set_namespaces(node.namespaces());
        }
        self.seen = touched.to;
        if self.followed != node.is_synced() {
            self.followed = node.is_synced();
            self.set_synced(self.followed);
        }
    }

    /// A Service and all its slices, or that there is none.
    pub fn put_service(
        &mut self,
        key: &ObjectKey,
        service: Option<&Service>,
        slices: &[&EndpointSlice],
    ) {
        let Some(labels) = service_labels(key) else {
            return;
        };
        let records = service.and_then(|it| ServiceRecords::new(it, slices, &self.settings));
        self.pending
            .push(Edit::Service(labels, records.map(Arc::new)));
    }

    /// The namespaces that exist, all of them; those that Services are in exist anyway.
    pub fn set_namespaces<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        let names = names.into_iter().filter(|name| self.settings.serves(name));
        let labels = names.filter_map(wire_label).collect();
        self.pending.push(Edit::Namespaces(Arc::new(labels)));
    }

    /// A pod, for [`super::PodNames::Verified`].
    pub fn put_pod(&mut self, namespace: &str, address: IpAddr) {
        self.set_pod(namespace, address, true);
    }

    /// A pod that is gone.
    pub fn remove_pod(&mut self, namespace: &str, address: IpAddr) {
        self.set_pod(namespace, address, false);
    }

    fn set_pod(&mut self, namespace: &str, address: IpAddr, exists: bool) {
        if let Some(label) = wire_label(namespace) {
            self.pending.push(Edit::Pod(address, label, exists));
        }
    }

    /// Whether everything is known. Before that an unknown name is answered with SERVFAIL: that it does not exist would
    /// be remembered.
    pub fn set_synced(&mut self, synced: bool) {
        self.pending.push(Edit::Synced(synced));
    }

    /// Lets readers see all changes at once. `serial` is that of the SOA records from here on, usually the seconds
    /// since 1970; without changes nothing happens.
    ///
    /// # Errors
    /// [`ReadersBehind`] if a reader is still in an answer of the publication before the last: nothing is lost, try
    /// again.
    pub fn publish(&mut self, serial: u32) -> Result<(), ReadersBehind> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending.push(Edit::Serial(serial));
        self.published
            .publish(&mut self.pending, &mut (), &mut (), |()| ())?;
        Ok(())
    }

    /// How many Services are served.
    #[must_use]
    pub fn len(&self) -> usize {
        self.published.current().len()
    }

    /// Is no Service served?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Reader {
    /// Answers one query. The reply is never longer than `reply`, nor than the transport allows: for UDP what the query
    /// says, so that `reply` is where a host sets its own limit. 512 bytes are enough for every reply to be sound.
    ///
    /// Allocates nothing, waits for nobody, and depends on nothing but its arguments and what was published.
    pub fn answer(&mut self, query: &[u8], transport: Transport, reply: &mut [u8]) -> Outcome {
        match self.tables.pin() {
            Some(tables) => answer(&tables, query, transport, reply),
            None => Outcome::Silent,
        }
    }
}
