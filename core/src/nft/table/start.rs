//! Making the tables, or taking over what there is: an earlier process's tables as they are, others by going around
//! them. Tables are filled asleep and then woken, by one small transaction; so whenever this process dies, packets pass
//! through all of it or through nothing of it.

use super::{FAMILIES, GRACE, Table, renewal};
use crate::net::{Family, Generation, Instant};
use crate::nft::netlink::{
    AskError, Batch, Monitor, Outcome, Socket, TableEdit, TableFlags, TableVerb,
};
use crate::nft::renderer::Renderer;
use crate::nft::text::family_name;
use crate::nft::{NftError, Options, TableError, features};
use crate::node::Node;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::io;
use std::thread;

/// What there is under our name in a family.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Absent,
    /// Of another layout, not whole, or of somebody else; are its hooks in force?
    Other {
        awake: bool,
    },
    /// Of this layout, with chains for these affinity timeouts.
    Ours {
        timeouts: BTreeMap<u32, u8>,
    },
}

/// The table that serves while one of another layout is replaced by ours of the same name.
pub(super) fn stand_in(table: &str) -> String {
    format!("{table}-stand-in")
}

impl Table {
    /// Makes what is constant, asleep, unless something is there already that serves.
    pub(super) fn prepare(&mut self) -> Result<(), TableError> {
        let mut missing = Vec::new();
        for family in FAMILIES {
            match self.find(family)? {
                State::Absent | State::Other { awake: false } => missing.push(family),
                State::Other { awake: true } | State::Ours { .. } => {}
            }
        }
        if self.socket.is_none() || missing.is_empty() {
            return Ok(());
        }
        self.make(&missing)
    }

    /// The first call of [`Table::sync`].
    pub(super) fn start(&mut self, node: &Node, now: Instant) -> Result<(), TableError> {
        self.looked = now;
        if self.socket.is_none() {
            // Nobody knows what there is.
            self.make(&FAMILIES)?;
        } else {
            self.prepare()?;
        }
        let mut others = Vec::new();
        for family in FAMILIES {
            if self.find(family)? == (State::Other { awake: true }) {
                others.push(family);
            }
        }
        if !others.is_empty() {
            self.go_around(&others, node)?;
        }
        self.load(node)?;
        self.started = true;
        self.note_constants()?;
        self.condemn(now);
        self.put_others_to_sleep(now)?;
        if self.socket.is_some() {
            self.monitor = Monitor::open().ok();
        }
        self.forget_stale_flows(now);
        Ok(())
    }

    /// Replaces tables of our name but another layout, which serve: another one serves in between.
    fn go_around(&mut self, others: &[Family], node: &Node) -> Result<(), TableError> {
        let options = self.renderer.options().clone();
        let instead = Options {
            table: stand_in(&options.table),
            ..options.clone()
        };
        self.renderer = Renderer::new(instead);
        let served = self.prepare().and_then(|()| self.load(node));
        self.renderer = Renderer::new(options);
        served?;
        let name = self.renderer.options().table.clone();
        for family in others {
            self.put_to_sleep(*family, &name)?;
        }
        thread::sleep(GRACE);
        self.make(others)
    }

    /// Fills the tables of the renderer's name and wakes them.
    fn load(&mut self, node: &Node) -> Result<(), TableError> {
        // What an earlier try began is found in the kernel.
        self.renderer = Renderer::new(self.renderer.options().clone());
        self.condemned.clear();
        let mut empty = true;
        for family in FAMILIES {
            let State::Ours { timeouts } = self.find(family)? else {
                continue;
            };
            let elements = self.read(family)?.unwrap_or_default();
            empty &= elements.is_empty() && timeouts.is_empty();
            self.renderer.adopt(family, &elements, timeouts);
        }
        let changes = node.changes(Generation(0));
        if empty {
            self.fill(changes)?;
        } else {
            let update = self.renderer.update(&changes);
            self.seen = changes.to;
            self.stale.follow(&changes);
            self.add_chains(&update.chains)?;
            self.doubtful = true;
        }
        self.settle_doubts()?;
        // Everything is there: from here on packets pass through.
        self.wake()
    }

    /// What there is under our name.
    fn find(&mut self, family: Family) -> Result<State, TableError> {
        let options = self.renderer.options();
        let Some(socket) = &mut self.socket else {
            return Ok(State::Absent);
        };
        let flags = socket.table(family, &options.table);
        let Some(flags) = flags.map_err(TableError::Read)? else {
            return Ok(State::Absent);
        };
        let chains = socket.chains(family, &options.table);
        let chains = chains.map_err(TableError::Read)?;
        let timeouts = chains.iter().filter_map(|name| timeout_of_chain(name));
        let timeouts: BTreeMap<u32, u8> = timeouts.collect();
        let persists = flags.has(TableFlags::PERSISTENT) || !self.owned;
        if persists && chains.contains(&self.renderer.layout(family)) {
            let constants = socket.constants(family, &options.table);
            // Of what somebody emptied while nobody looked, the layout's name is left.
            if constants.map_err(TableError::Read)?.count == self.renderer.count(family, &timeouts)
            {
                return Ok(State::Ours { timeouts });
            }
        }
        let awake = !flags.has(TableFlags::ASLEEP) && !chains.is_empty();
        Ok(State::Other { awake })
    }

    /// Makes what is constant in these families anew, asleep; whatever is there goes.
    pub(super) fn make(&mut self, families: &[Family]) -> Result<(), TableError> {
        let mut text = String::new();
        for family in families.iter().copied() {
            if self.owned {
                self.make_persistent(family)?;
                text.push_str(&self.renderer.constant(family));
            } else {
                // Deleting takes the kernel some milliseconds.
                if self.may_be_there(family)? {
                    text.push_str(&renewal(family, &self.renderer.options().table));
                }
                text.push_str(&self.renderer.asleep(family));
            }
            text.push_str(&self.renderer.chains(family));
        }
        self.asleep = true;
        let made = self.nft.apply(&text);
        made.map_err(|error| match error {
            NftError::Refused(_) => {
                features::missing(&self.nft).map_or(TableError::Nft(error), TableError::Unsupported)
            }
            NftError::Run(_) => TableError::Nft(error),
        })
    }

    /// nft 1.0.6 cannot say that a table outlives its owner.
    fn make_persistent(&mut self, family: Family) -> Result<(), TableError> {
        let table = self.renderer.options().table.clone();
        if self.may_be_there(family)? {
            self.edit(family, &table, TableVerb::Delete)?;
        }
        let flags = TableFlags::ASLEEP | TableFlags::PERSISTENT;
        self.edit(family, &table, TableVerb::Create(flags))
    }

    /// Is there a table of our name? Without a socket nobody knows.
    fn may_be_there(&mut self, family: Family) -> Result<bool, TableError> {
        let table = self.renderer.options().table.clone();
        Ok(self.socket.is_none() || self.flags(family, &table)?.is_some())
    }

    /// Puts the hooks of both tables into force, and makes them this process's own if they are to be.
    pub(super) fn wake(&mut self) -> Result<(), TableError> {
        let table = self.renderer.options().table.clone();
        if self.socket.is_none() {
            if self.asleep {
                let woken = FAMILIES.map(|family| {
                    let family = family_name(family);
                    format!("add table {family} {table} {{ }}\n")
                });
                let woken = self.nft.apply(&woken.concat());
                woken.map_err(TableError::Nft)?;
                self.asleep = false;
            }
            return Ok(());
        }
        for family in FAMILIES {
            let Some(flags) = self.flags(family, &table)? else {
                continue;
            };
            let awake = flags.without(TableFlags::ASLEEP);
            if awake != flags {
                self.edit(family, &table, TableVerb::Set(awake))?;
            }
            let own = awake | TableFlags::OWNED;
            if self.owned && awake != own {
                self.edit(family, &table, TableVerb::Set(own))?;
            }
        }
        Ok(())
    }

    /// Gives up owning the tables until [`Table::wake`], so that `nft` may change them.
    pub(super) fn let_go(&mut self) -> Result<(), TableError> {
        if self.owned && self.started {
            self.look()?;
            self.socket = Some(Socket::open().map_err(TableError::Socket)?);
        }
        Ok(())
    }

    /// Ours serve: what they take the place of passes nothing on from now on. Packets that are in its chains leave
    /// them as they would have.
    fn put_others_to_sleep(&mut self, now: Instant) -> Result<(), TableError> {
        let mut names = self.replaces.clone();
        names.push(stand_in(&self.renderer.options().table));
        names.retain(|name| *name != self.renderer.options().table);
        for name in names {
            for family in FAMILIES {
                if self.put_to_sleep(family, &name)? {
                    let due = now.after(GRACE);
                    self.replaced.push((due, family, name.clone()));
                }
            }
        }
        Ok(())
    }

    /// Takes a table's hooks out of force; `false` if there is no such table.
    fn put_to_sleep(&mut self, family: Family, table: &str) -> Result<bool, TableError> {
        let Some(flags) = self.flags(family, table)? else {
            return Ok(false);
        };
        let asleep = flags | TableFlags::ASLEEP;
        if asleep != flags {
            self.edit(family, table, TableVerb::Set(asleep))?;
        }
        Ok(true)
    }

    /// Deletes what ours have taken the place of, when no packet can be in its chains any more.
    pub(super) fn delete_replaced(&mut self, now: Instant) -> Result<(), TableError> {
        while let Some(place) = self.replaced.iter().position(|(due, ..)| *due <= now) {
            let (_, family, table) = self.replaced.remove(place);
            if self.flags(family, &table)?.is_some() {
                self.edit(family, &table, TableVerb::Delete)?;
            }
        }
        Ok(())
    }

    fn flags(&mut self, family: Family, table: &str) -> Result<Option<TableFlags>, TableError> {
        match &mut self.socket {
            Some(socket) => socket.table(family, table).map_err(TableError::Read),
            None => Ok(None),
        }
    }

    /// Does something to a whole table.
    fn edit(&mut self, family: Family, table: &str, verb: TableVerb) -> Result<(), TableError> {
        let edit = TableEdit {
            family,
            table: table.into(),
            verb,
        };
        let batch = Batch::of_tables(&[edit]);
        let (Some(socket), Some(batch)) = (&mut self.socket, batch) else {
            return Ok(());
        };
        let outcome = socket.commit(&batch).map_err(TableError::Socket)?;
        let persistent =
            matches!(verb, TableVerb::Create(flags) if flags.has(TableFlags::PERSISTENT));
        if persistent && refused_as(&outcome) == Some(libc::EOPNOTSUPP) {
            let why = "tables that survive their owner (Linux 6.9, NFT_TABLE_F_PERSIST)";
            return Err(TableError::Unsupported(why.into()));
        }
        done(outcome, &format!("{verb:?} of table {table}"))
    }
}

/// The error number of the first refusal.
fn refused_as(outcome: &Outcome) -> Option<i32> {
    match outcome {
        Outcome::Refused(refusals) => refusals.first().map(|refusal| refusal.errno),
        Outcome::Committed | Outcome::Superseded | Outcome::Unknown => None,
    }
}

/// What is not done is an error.
pub(super) fn done(outcome: Outcome, what: &str) -> Result<(), TableError> {
    let errno = match &outcome {
        Outcome::Committed => return Ok(()),
        Outcome::Refused(_) => refused_as(&outcome).unwrap_or(libc::EINVAL),
        Outcome::Superseded | Outcome::Unknown => libc::EAGAIN,
    };
    Err(TableError::Read(AskError::Refused {
        what: what.into(),
        source: io::Error::from_raw_os_error(errno),
    }))
}

/// Index and seconds out of a chain's name, for instance `sticky-0-10800s-cluster`.
fn timeout_of_chain(name: &str) -> Option<(u32, u8)> {
    let mut parts = name.strip_prefix("sticky-")?.split('-');
    let index = parts.next()?.parse().ok()?;
    let seconds = parts.next()?.strip_suffix('s')?.parse().ok()?;
    Some((seconds, index))
}
