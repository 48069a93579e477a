//! Noticing what others changed, and putting it right.

use super::{FAMILIES, REPAIRS, Table};
use crate::net::Family;
use crate::nft::netlink::{AskError, Notice};
use crate::nft::{Element, Set, TableError};
use alloc::vec::Vec;

impl Table {
    /// Looks whether somebody else changed the tables.
    pub(super) fn look(&mut self) -> Result<(), TableError> {
        let (Some(monitor), Some(socket)) = (&mut self.monitor, &self.socket) else {
            return Ok(());
        };
        let (own, name) = (socket.port(), &self.renderer.options().table);
        let mut touched = false;
        monitor
            .hear(|notice| match notice {
                Notice::Touched { port, table, .. } => touched |= port != own && table == name,
                Notice::Generation { .. } => {}
                Notice::Lost => touched = true,
            })
            .map_err(TableError::Socket)?;
        self.doubtful |= touched;
        Ok(())
    }

    /// Reads and repairs until the tables are what they should be.
    pub(super) fn settle_doubts(&mut self) -> Result<(), TableError> {
        for _ in 0..REPAIRS {
            if !self.doubtful {
                return Ok(());
            }
            self.doubtful = false;
            self.stats.repairs = self.stats.repairs.saturating_add(1);
            for family in FAMILIES {
                self.repair(family)?;
            }
            if self.started {
                self.wake()?;
            }
        }
        if self.doubtful {
            return Err(TableError::Unrepaired(
                "somebody changes it all the time, or the kernel refuses".into(),
            ));
        }
        Ok(())
    }

    /// Where rules or elements of constant sets are missing, or there are others, the table is made anew.
    fn repair(&mut self, family: Family) -> Result<(), TableError> {
        let position = usize::from(family == Family::Ipv6);
        let noted = self.constants.get(position).copied().flatten();
        let sound = match (noted, &mut self.socket) {
            (Some(noted), Some(socket)) => {
                let table = &self.renderer.options().table;
                socket.constants(family, table).map_err(TableError::Read)? == noted
            }
            (_, _) => true,
        };
        let elements = if sound { self.read(family)? } else { None };
        if let Some(elements) = elements {
            let steps = self.renderer.repair(family, elements);
            return self.carry_out(&steps);
        }
        self.make(&[family])?;
        let steps = self.renderer.repair(family, Vec::new());
        self.carry_out(&steps)?;
        self.note_constants()
    }

    /// All elements of a family's table, sorted; `None` if it is not there, or only through `nft`.
    pub(super) fn read(&mut self, family: Family) -> Result<Option<Vec<Element>>, TableError> {
        let Some(socket) = &mut self.socket else {
            return Ok(None);
        };
        let mut all = Vec::new();
        for set in Set::ALL {
            match socket.elements(family, &self.renderer.options().table, set) {
                Ok(elements) => all.extend(elements),
                Err(AskError::Refused { source, .. })
                    if source.raw_os_error() == Some(libc::ENOENT) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(TableError::Read(error)),
            }
        }
        Ok(Some(all))
    }
}
