//! Scalars of a case file: text that is parsed where it stands, so that an error names its line.

use core::fmt::{self, Display};
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use portolan::net::Prefix;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

/// Reads one scalar as text, whatever it looks like, and parses it.
fn parsed<'de, D, T, E>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: Display,
{
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(|error| D::Error::custom(format_args!("`{text}` {error}")))
}

/// A number, decimal or with `0x`.
pub(crate) trait Number: Sized {
    /// The number in its type, if it fits.
    fn from_u64(number: u64) -> Option<Self>;
    /// The greatest value.
    const GREATEST: u64;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn from_u64(number: u64) -> Option<Self> { Self::try_from(number).ok() }
            #[expect(clippy::allow_attributes, reason = "u64 needs no conversion, the others do")]
            #[allow(trivial_numeric_casts, clippy::unnecessary_cast, reason = "one macro for all widths")]
            const GREATEST: u64 = <$type>::MAX as u64;
        }
    )*};
}
numbers!(u8, u16, u32, u64);

fn number<T: Number>(text: &str) -> Result<T, String> {
    let plain = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    plain
        .ok()
        .and_then(T::from_u64)
        .ok_or_else(|| format!("is not a number between 0 and {}", T::GREATEST))
}

/// What a field of a packet holds: a value, or the name of one that an earlier packet bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field<T> {
    /// It is this.
    Value(T),
    /// `$name`.
    Variable(String),
}

impl<T> From<T> for Field<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T: Display> Display for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// What can stand in a [`Field`].
pub(crate) trait Scalar: Sized {
    /// Parses one; the error continues a sentence that begins with the text.
    fn parse(text: &str) -> Result<Self, String>;
}

impl<T: Number> Scalar for T {
    fn parse(text: &str) -> Result<Self, String> {
        number(text)
    }
}

/// An IP address in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ip(pub(crate) IpAddr);

impl Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Scalar for Ip {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| "is no IP address".to_owned())
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, |text| {
            if text.starts_with('$') {
                Ok(Self::Variable(text.to_owned()))
            } else {
                T::parse(text).map(Self::Value)
            }
        })
    }
}

impl<'de> Deserialize<'de> for Ip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, Self::parse)
    }
}

/// A prefix such as `10.96.0.0/16`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cidr(pub(crate) Prefix);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, |text| Prefix::from_str(text).map(Self))
    }
}

/// An endpoint, `10.200.1.5:80` or `[fd20::5]:80`; brackets may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Endpoint(pub(crate) SocketAddr);

impl Scalar for Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = || {
            let (address, port) = text.rsplit_once(':')?;
            Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
        };
        text.parse()
            .ok()
            .or_else(plain)
            .map(Self)
            .ok_or_else(|| "is no endpoint such as 10.200.1.5:80 or [fd20::5]:80".to_owned())
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, Self::parse)
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An IP protocol: a name or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpProtocol(pub(crate) u8);

impl IpProtocol {
    pub(crate) const ICMP: Self = Self(1);
    pub(crate) const TCP: Self = Self(6);
    pub(crate) const UDP: Self = Self(17);
    pub(crate) const ICMPV6: Self = Self(58);
    pub(crate) const SCTP: Self = Self(132);
}

impl Scalar for IpProtocol {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "TCP" => Ok(Self::TCP),
            "UDP" => Ok(Self::UDP),
            "SCTP" => Ok(Self::SCTP),
            "ICMP" => Ok(Self::ICMP),
            "ICMPv6" => Ok(Self::ICMPV6),
            other => number(other)
                .map(Self)
                .map_err(|_| "is neither TCP, UDP, SCTP, ICMP, ICMPv6 nor a number".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for IpProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, Self::parse)
    }
}

impl Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.write_str("TCP"),
            Self::UDP => f.write_str("UDP"),
            Self::SCTP => f.write_str("SCTP"),
            Self::ICMP => f.write_str("ICMP"),
            Self::ICMPV6 => f.write_str("ICMPv6"),
            Self(number) => number.fmt(f),
        }
    }
}

/// Bytes in hexadecimal; blanks and colons between them are for the eye.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Scalar for Hex {
    fn parse(text: &str) -> Result<Self, String> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace() && *byte != b':')
            .collect();
        let wrong = || "is not hexadecimal, two digits a byte".to_owned();
        if !digits.len().is_multiple_of(2) {
            return Err(wrong());
        }
        digits
            .chunks(2)
            .map(|pair| {
                core::str::from_utf8(pair)
                    .ok()
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                    .ok_or_else(wrong)
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, Self::parse)
    }
}

impl Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A payload: so many bytes of a pattern, or these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// So many bytes.
    Length(usize),
    /// These.
    Bytes(Vec<u8>),
}

impl Payload {
    /// The bytes meant.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            // 0x40 on: printable, and no two neighbours equal, so that a shifted copy shows.
            Self::Length(length) => (0..*length).map(|i| 0x40 + (i % 61) as u8).collect(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "{length} bytes"),
            Self::Bytes(bytes) => Hex(bytes.clone()).fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LengthOrHex;
        impl Visitor<'_> for LengthOrHex {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or bytes in hexadecimal")
            }

            fn visit_u64<E: Error>(self, length: u64) -> Result<Payload, E> {
                let length = usize::try_from(length).ok().filter(|l| *l <= 0xffff);
                length
                    .map(Payload::Length)
                    .ok_or_else(|| E::custom("a payload has at most 65535 bytes"))
            }

            fn visit_i64<E: Error>(self, length: i64) -> Result<Payload, E> {
                self.visit_u64(u64::try_from(length).unwrap_or(u64::MAX))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Payload, E> {
                Hex::parse(text)
                    .map(|hex| Payload::Bytes(hex.0))
                    .map_err(|error| E::custom(format_args!("`{text}` {error}")))
            }
        }
        deserializer.deserialize_any(LengthOrHex)
    }
}
