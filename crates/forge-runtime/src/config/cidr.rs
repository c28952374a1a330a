//! A range of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address or a range of them: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`. IPv4 addresses that are written as IPv6
/// (`::ffff:10.0.0.7`) are the same as in their own form.
///
/// ```
/// use forge_runtime::config::Cidr;
///
/// let range: Cidr = "10.0.0.0/8".parse().unwrap();
/// assert!(range.contains("10.1.2.3".parse().unwrap()));
/// assert!(!range.contains("11.1.2.3".parse().unwrap()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether an address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                masked_v4(own.into(), self.prefix) == masked_v4(other.into(), self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                masked_v6(own.into(), self.prefix) == masked_v6(other.into(), self.prefix)
            }
            _ => false,
        }
    }
}

fn masked_v4(bits: u32, prefix: u8) -> u32 {
    bits & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn masked_v6(bits: u128, prefix: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not an address or a range; write it like 10.0.0.7, 10.0.0.0/8 or fd00::/8",
                text.escape_debug()
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?))
            }
            Some(_) => return Err(wrong()),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let address = written.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        // A mapped address counts its prefix in the 128 bits it was written with.
        let skipped = if written.is_ipv6() && address.is_ipv4() { 96 } else { 0 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix.checked_sub(skipped).filter(|prefix| *prefix <= bits).ok_or_else(wrong)?,
        };
        let start = match address {
            IpAddr::V4(ip) => IpAddr::V4(masked_v4(ip.into(), prefix).into()),
            IpAddr::V6(ip) => IpAddr::V6(masked_v6(ip.into(), prefix).into()),
        };
        if start != address {
            return Err(format!(
                "`{text}` begins in the middle of its range; \
                 write {start}/{prefix} for the range, or {address} for the one address"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == bits { write!(f, "{}", self.address) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, inside: &[&str], outside: &[&str]) {
        let cidr: Cidr = range.parse().unwrap();
        assert!(inside.iter().all(|ip| cidr.contains(ip.parse().unwrap())), "{range}");
        assert!(!outside.iter().any(|ip| cidr.contains(ip.parse().unwrap())), "{range}");
    }

    #[test]
    fn ranges() {
        check("10.0.0.7", &["10.0.0.7", "::ffff:10.0.0.7"], &["10.0.0.8", "::1"]);
        check("10.0.0.0/8", &["10.255.0.1"], &["11.0.0.0", "9.255.255.255"]);
        check("0.0.0.0/0", &["1.2.3.4", "255.255.255.255"], &["::"]);
        check("::/0", &["fe80::1"], &["1.2.3.4"]);
        check("fd00::/8", &["fdff::1"], &["fe00::1"]);
        check("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.0"]);
    }

    #[test]
    fn what_is_not_a_range() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::/129",
            "::ffff:10.0.0.0/90",
            "example.org",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        let hint = "10.1.2.3/8".parse::<Cidr>().unwrap_err();
        assert!(hint.contains("10.0.0.0/8") && hint.contains("10.1.2.3 for"), "{hint}");
    }
}
