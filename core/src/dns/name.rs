//! Names on the wire (RFC 1035, section 3.1): labels, each behind its length, in lower case for comparing.

use super::ConfigError;
use crate::model::ObjectKey;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name, lengths and end included.
pub(super) const MAX_NAME: usize = 255;

/// The longest label.
pub(super) const MAX_LABEL: usize = 63;

/// Labels that fit into a name, its end included.
const MAX_LABELS: usize = 128;

/// A name in lower case, and where its labels begin.
#[derive(Clone)]
pub(super) struct Labels {
    bytes: [u8; MAX_NAME],
    len: usize,
    starts: [u8; MAX_LABELS],
    count: usize,
}

impl Labels {
    /// Reads the name that begins at `at`, and says where it ends. `None` if it is cut, too long, or not written out:
    /// nothing stands before a question that it could point to.
    pub(super) fn read(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut labels = Self {
            bytes: [0; MAX_NAME],
            len: 0,
            starts: [0; MAX_LABELS],
            count: 0,
        };
        let mut rest = message.get(at..)?;
        loop {
            let (&length, after) = rest.split_first()?;
            let start = labels.len;
            let end = start.saturating_add(1).saturating_add(length.into());
            if usize::from(length) > MAX_LABEL {
                return None;
            }
            *labels.starts.get_mut(labels.count)? = u8::try_from(start).ok()?;
            let (label, after) = after.split_at_checked(length.into())?;
            let place = labels.bytes.get_mut(start..end)?;
            let (head, text) = place.split_first_mut()?;
            *head = length;
            text.copy_from_slice(label);
            text.make_ascii_lowercase();
            labels.len = end;
            if length == 0 {
                return Some((labels, at.saturating_add(end)));
            }
            labels.count = labels.count.saturating_add(1);
            rest = after;
        }
    }

    /// How many labels there are, the end not counted.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// A label without its length.
    pub(super) fn label(&self, index: usize) -> Option<&[u8]> {
        if index >= self.count {
            return None;
        }
        let (&length, text) = self.from(index).split_first()?;
        text.get(..length.into())
    }

    /// Where a label begins, in bytes from the name's beginning.
    pub(super) fn offset(&self, index: usize) -> usize {
        self.starts
            .get(index)
            .map_or(self.len, |start| usize::from(*start))
    }

    /// The wire form from a label on, end included.
    pub(super) fn from(&self, index: usize) -> &[u8] {
        let range = self.offset(index)..self.len;
        self.bytes.get(range).unwrap_or_default()
    }

    /// The wire form of some labels, without an end.
    pub(super) fn between(&self, first: usize, after: usize) -> &[u8] {
        let range = self.offset(first)..self.offset(after);
        self.bytes.get(range).unwrap_or_default()
    }
}

/// The name of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZoneName {
    wire: Box<[u8]>,
    labels: usize,
}

impl ZoneName {
    /// The name that `text` says, with or without a dot at its end.
    pub(super) fn new(field: &'static str, text: &str) -> Result<Self, ConfigError> {
        let wire = wire(text).ok_or_else(|| ConfigError {
            field,
            rule: format!("{text:?} is no domain name"),
        })?;
        let labels = text.trim_end_matches('.').split('.').count();
        Ok(Self {
            labels: if wire.len() > 1 { labels } else { 0 },
            wire,
        })
    }

    /// The wire form, end included.
    pub(super) const fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// How many labels of a name stand before this zone's; `None` if the name is not in the zone. Whole labels only.
    pub(super) fn below(&self, name: &Labels) -> Option<usize> {
        let below = name.count().checked_sub(self.labels)?;
        (name.from(below) == &*self.wire).then_some(below)
    }
}

/// The wire form of a name, end included, in lower case; `None` if it is no name.
pub(super) fn wire(text: &str) -> Option<Box<[u8]>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut wire = Vec::new();
    for label in text.split('.').filter(|_| !text.is_empty()) {
        wire.extend_from_slice(&wire_label(label)?);
    }
    wire.push(0);
    (wire.len() <= MAX_NAME).then(|| wire.into())
}

/// A label behind its length, in lower case; `None` if it is none.
pub(super) fn wire_label(text: &str) -> Option<Box<[u8]>> {
    let length = u8::try_from(text.len()).ok()?;
    if length == 0 || text.len() > MAX_LABEL || text.contains('.') {
        return None;
    }
    let mut label = Vec::with_capacity(text.len().saturating_add(1));
    label.push(length);
    label.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
    Some(label.into())
}

/// The labels of a Service, `\x03web\x04shop`; `None` if its names are none, so that nobody can ask for it.
pub(super) fn service_labels(service: &ObjectKey) -> Option<Box<[u8]>> {
    let mut labels = wire_label(&service.name)?.into_vec();
    labels.extend_from_slice(&wire_label(&service.namespace)?);
    Some(labels.into())
}

/// A label that is made while it is written, such as `10-200-1-5` for an endpoint without a hostname.
#[derive(Clone, Copy)]
pub(super) struct MadeLabel {
    bytes: [u8; MAX_LABEL + 1],
    len: usize,
}

impl MadeLabel {
    /// The label of an endpoint's address, as CoreDNS makes it: dashes for its separators, and no dash at the end.
    pub(super) fn of(address: IpAddr) -> Self {
        let mut label = Self {
            bytes: [0; MAX_LABEL + 1],
            len: 1,
        };
        // 40 bytes are the most that an address has.
        let _ = write!(label, "{address}");
        if label.wire().ends_with(b"-") {
            let _ = label.write_char('0');
        }
        if let Some(head) = label.bytes.first_mut() {
            *head = u8::try_from(label.len.saturating_sub(1)).unwrap_or_default();
        }
        label
    }

    /// The label behind its length.
    pub(super) fn wire(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The address whose label this is.
    pub(super) fn address(label: &[u8]) -> Option<IpAddr> {
        let address = dashed_address(label)?;
        let made = Self::of(address);
        let (_, text) = made.wire().split_first()?;
        (text == label).then_some(address)
    }
}

impl fmt::Write for MadeLabel {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let place = self.bytes.get_mut(self.len).ok_or(fmt::Error)?;
            *place = if matches!(byte, b'.' | b':') {
                b'-'
            } else {
                byte
            };
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}

/// The address that a label with dashes says: three of them and digits only are IPv4, all else is IPv6.
pub(super) fn dashed_address(label: &[u8]) -> Option<IpAddr> {
    let mut text = [0; MAX_LABEL];
    let text = text.get_mut(..label.len())?;
    let put = |text: &mut [u8], separator| {
        for (to, from) in text.iter_mut().zip(label) {
            *to = if *from == b'-' { separator } else { *from };
        }
    };
    put(text, b'.');
    let ipv4 = core::str::from_utf8(text).ok()?.parse::<Ipv4Addr>();
    if let Ok(address) = ipv4 {
        return Some(address.into());
    }
    put(text, b':');
    let ipv6 = core::str::from_utf8(text).ok()?.parse::<Ipv6Addr>();
    ipv6.ok().map(IpAddr::V6)
}

/// What the labels before `in-addr.arpa` or `ip6.arpa` say, written backwards (RFC 1035, section 3.5; RFC 3596,
/// section 2.5): all addresses from the first to the last.
pub(super) fn reverse_range(name: &Labels) -> Option<(IpAddr, IpAddr)> {
    let before = name.count().checked_sub(2)?;
    let digits = |count: usize, width: u32, radix: u32| {
        let mut first = 0_u128;
        for index in (0..before).rev() {
            let label = name.label(index)?;
            let text = core::str::from_utf8(label).ok()?;
            let plain = text.len() == 1 || (radix == 10 && !text.starts_with('0'));
            let digit = u8::from_str_radix(text, radix).ok()?;
            if !plain || text.starts_with('+') {
                return None;
            }
            first = first.checked_shl(width)? | u128::from(digit);
        }
        let missing = count.checked_sub(before)?;
        let missing = u32::try_from(missing).ok()?.checked_mul(width)?;
        let first = first.checked_shl(missing).unwrap_or_default();
        let rest = 1_u128.checked_shl(missing).unwrap_or_default();
        Some((first, first | rest.wrapping_sub(1)))
    };
    match name.from(before) {
        b"\x07in-addr\x04arpa\0" => {
            let (first, last) = digits(4, 8, 10)?;
            let address = |bits: u128| u32::try_from(bits).ok().map(Ipv4Addr::from_bits);
            Some((address(first)?.into(), address(last)?.into()))
        }
        b"\x03ip6\x04arpa\0" => {
            let (first, last) = digits(32, 4, 16)?;
            Some((
                Ipv6Addr::from_bits(first).into(),
                Ipv6Addr::from_bits(last).into(),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn labels(text: &str) -> Labels {
        let wire = wire(text).expect("a name");
        Labels::read(&wire, 0).expect("a name").0
    }

    #[test]
    fn names_are_read_in_lower_case_and_only_when_written_out() {
        let (name, end) = Labels::read(b"..\x03WeB\x05local\x00!", 2).expect("a name");
        assert_eq!((name.count(), end), (2, 13));
        assert_eq!(name.label(0), Some(&b"web"[..]));
        assert_eq!(name.from(1), b"\x05local\0");
        assert_eq!(name.label(2), None);
        for broken in [&b"\x03we"[..], b"\xc0\x0c", b"\x40", b"\x01a", b""] {
            assert!(Labels::read(broken, 0).is_none(), "{broken:?}");
        }
        let longest = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(3);
        let fits = [&longest[..], b"\x3d", &[b'a'; 61], b"\0"].concat();
        assert!(Labels::read(&fits, 0).is_some_and(|(name, end)| name.count() == 4 && end == 255));
        let too_long = [&longest[..], b"\x3e", &[b'a'; 62], b"\0"].concat();
        assert!(Labels::read(&too_long, 0).is_none());
        let most = [&b"\x01a".repeat(127)[..], b"\0"].concat();
        assert!(Labels::read(&most, 0).is_some_and(|(name, _)| name.count() == 127));
    }

    #[test]
    fn a_zone_holds_whole_labels_only() {
        let zone = ZoneName::new("zone", "Cluster.Local").expect("a name");
        assert_eq!(zone.below(&labels("a.b.cluster.local.")), Some(2));
        assert_eq!(zone.below(&labels("cluster.local")), Some(0));
        assert_eq!(zone.below(&labels("mycluster.local")), None);
        assert_eq!(zone.below(&labels("local")), None);
        assert!(ZoneName::new("zone", "a..b").is_err());
        assert!(ZoneName::new("zone", &"a".repeat(64)).is_err());
        assert!(ZoneName::new("zone", ".").is_ok_and(|root| root.labels == 0));
    }

    #[test]
    fn an_address_is_its_label_and_back() {
        for (address, label) in [
            ("10.200.1.5", "10-200-1-5"),
            ("fd00:244:2::5", "fd00-244-2--5"),
            ("fd00:244:2::", "fd00-244-2--0"),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            let made = MadeLabel::of(address);
            assert_eq!(&made.wire()[1..], label.as_bytes());
            assert_eq!(usize::from(made.wire()[0]), label.len());
            assert_eq!(MadeLabel::address(label.as_bytes()), Some(address));
        }
        for other in ["10-200-1", "010-200-1-5", "fd00-244-2-0--5", "web", "", "-"] {
            assert_eq!(MadeLabel::address(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn reverse_names_say_one_address_or_a_range() {
        let range = |text: &str| {
            let range = reverse_range(&labels(text));
            range.map(|(first, last)| (first.to_string(), last.to_string()))
        };
        let one = |address: &str| Some((address.to_string(), address.to_string()));
        assert_eq!(range("10.0.96.10.in-addr.arpa"), one("10.96.0.10"));
        assert_eq!(
            range("96.10.in-addr.arpa"),
            Some(("10.96.0.0".to_string(), "10.96.255.255".to_string()))
        );
        let zeros = "0.".repeat(27);
        assert_eq!(range(&format!("a.{zeros}6.9.d.f.ip6.arpa")), one("fd96::a"));
        assert_eq!(
            range("d.f.ip6.arpa"),
            Some((
                "fd00::".to_string(),
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".to_string()
            ))
        );
        for other in [
            "1.10.0.96.10.in-addr.arpa",
            "256.10.in-addr.arpa",
            "010.in-addr.arpa",
            "+1.in-addr.arpa",
            "fd.ip6.arpa",
            "10.in-addr.example",
            "arpa",
        ] {
            assert_eq!(range(other), None, "{other}");
        }
    }
}
