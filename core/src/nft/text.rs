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
        let (verb, set) = command(self.operation);
        let (family, table) = (family_name(self.family), self.table);
        write!(f, "{verb} element {family} {table} {set} {{ ")?;
        write_element(self.operation, f)?;
        f.write_str(" }")
    }
}

/// What an operation does to which set.
const fn command(operation: &Operation) -> (&'static str, Set) {
    match operation {
        Operation::Add(element) => ("add", element.set),
        Operation::Delete(element) => ("delete", element.set),
    }
}

/// The element, or only what names it.
fn write_element(operation: &Operation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match operation {
        Operation::Add(element) => write!(f, "{element}"),
        Operation::Delete(element) => {
            let name = Element {
                data: None,
                timeout: None,
                comment: None,
                ..element.clone()
            };
            write!(f, "{name}")
        }
    }
}

impl Transaction {
    /// What `nft -f` does in one transaction: a command for neighbouring operations of one kind on one set, which it
    /// reads in a fraction of the time that one for each takes.
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
        let (family, table) = (family_name(self.transaction.family), self.table);
        let operations = &self.transaction.operations;
        for alike in operations.chunk_by(|one, next| command(one) == command(next)) {
            if let [alone] = alike {
                writeln!(f, "{}", alone.line(self.transaction.family, table))?;
                continue;
            }
            for (position, operation) in alike.iter().enumerate() {
                if position == 0 {
                    let (verb, set) = command(operation);
                    write!(f, "{verb} element {family} {table} {set} {{\n  ")?;
                } else {
                    f.write_str(",\n  ")?;
                }
                write_element(operation, f)?;
            }
            f.write_str("\n}\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bytes;
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
        let allowed = |net| Element {
            end: Some(frontend.address(Ipv4Addr::new(10, 1, net, 255))),
            ..Element::new(Set::Allowed, frontend.address(Ipv4Addr::new(10, 1, net, 0)))
        };
        let transaction = Transaction {
            family: Family::Ipv4,
            operations: vec![
                Operation::Delete(service.clone()),
                Operation::Add(service),
                Operation::Add(allowed(0)),
                Operation::Add(allowed(1)),
            ],
        };
        assert_eq!(
            format!("{}", transaction.text("t")),
            "delete element ip t services { 10.96.0.10 . tcp . 80 }\n\
             add element ip t services { 10.96.0.10 . tcp . 80 comment \"default/web\" : 0.0.16.0 }\n\
             add element ip t allowed {\n  10.96.0.10 . tcp . 80 . 10.1.0.0-10.1.0.255,\n  \
             10.96.0.10 . tcp . 80 . 10.1.1.0-10.1.1.255\n}\n"
        );
    }
}
