//! Elements as `nft` reads and writes them.

use super::{Element, Operation, Set, Transaction};
use crate::net::Family;
use alloc::string::ToString;
use core::fmt;

/// `ip` or `ip6`.
pub(super) const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    }
}

/// For instance `10.96.0.10 . tcp . 80 comment "default/web" : 0.0.16.0`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.set.key();
        let end = self.end.filter(|end| *end != self.key);
        match end.map(|end| end.display(fields)) {
            // The last of all names that begin so says how they begin.
            Some(end) if self.set == Set::PodInterfaces => write!(f, "{end}")?,
            Some(end) => {
                // Only the last field of a range ranges.
                let end = end.to_string();
                let end = end.rsplit(' ').next().unwrap_or_default();
                write!(f, "{}-{end}", self.key.display(fields))?;
            }
            None => write!(f, "{}", self.key.display(fields))?,
        }
        if let Some(timeout) = self.timeout {
            write!(f, " timeout {}s", timeout.as_secs())?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\"")?;
        }
        match &self.data {
            Some(data) => write!(f, " : {}", data.display(self.set.data())),
            None => Ok(()),
        }
    }
}

impl Operation {
    /// The line that makes `nft` do it.
    #[must_use]
    pub const fn line<'a>(&'a self, family: Family, table: &'a str) -> Line<'a> {
        Line {
            operation: self,
            family,
            table,
        }
    }
}

/// An operation on a table, as a line for `nft`.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    operation: &'a Operation,
    family: Family,
    table: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, table) = (family_name(self.family), self.table);
        match self.operation {
            Operation::Add(element) => {
                let set = element.set;
                write!(f, "add element {family} {table} {set} {{ {element} }}")
            }
            Operation::Delete(element) => {
                let set = element.set;
                let name = Element {
                    data: None,
                    timeout: None,
                    comment: None,
                    ..element.clone()
                };
                write!(f, "delete element {family} {table} {set} {{ {name} }}")
            }
        }
    }
}

impl Transaction {
    /// What `nft -f` does in one transaction: a line for each operation.
    #[must_use]
    pub const fn text<'a>(&'a self, table: &'a str) -> TransactionText<'a> {
        TransactionText {
            transaction: self,
            table,
        }
    }
}

/// A transaction on a table, as text for `nft`.
#[derive(Debug, Clone, Copy)]
pub struct TransactionText<'a> {
    transaction: &'a Transaction,
    table: &'a str,
}

impl fmt::Display for TransactionText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations = &self.transaction.operations;
        operations
            .iter()
            .try_for_each(|one| writeln!(f, "{}", one.line(self.transaction.family, self.table)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bytes, Set};
    use super::*;
    use alloc::format;
    use alloc::vec;
    use core::net::Ipv4Addr;

    #[test]
    fn operations_are_written_as_nft_takes_them() {
        let frontend = Bytes::new()
            .address(Ipv4Addr::new(10, 96, 0, 10))
            .protocol(6)
            .port(80);
        let ticket = Bytes::new().address(Ipv4Addr::new(0, 0, 16, 0));
        let service = Element {
            comment: Some("default/web".into()),
            ..Element::mapping(Set::Services, frontend, ticket)
        };
        let allowed = Element {
            end: Some(frontend.address(Ipv4Addr::new(10, 1, 0, 255))),
            ..Element::new(Set::Allowed, frontend.address(Ipv4Addr::new(10, 1, 0, 0)))
        };
        let transaction = Transaction {
            family: Family::Ipv4,
            operations: vec![
                Operation::Delete(service.clone()),
                Operation::Add(service),
                Operation::Add(allowed),
            ],
        };
        assert_eq!(
            format!("{}", transaction.text("t")),
            "delete element ip t services { 10.96.0.10 . tcp . 80 }\n\
             add element ip t services { 10.96.0.10 . tcp . 80 comment \"default/web\" : 0.0.16.0 }\n\
             add element ip t allowed { 10.96.0.10 . tcp . 80 . 10.1.0.0-10.1.0.255 }\n"
        );
    }
}
