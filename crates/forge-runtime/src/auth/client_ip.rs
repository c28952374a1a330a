//! Where a request really comes from.
//!
//! Every proxy adds the address it was called from at the right of `X-Forwarded-For`; what stands further left was sent by
//! somebody else and may be invented. So the header is read from the right, and only as long as each address is one of a
//! proxy we trust: the first that is not is the client.
//!
//! Deliberately not read: `Forwarded` and `X-Real-IP`. A proxy that writes one of these headers passes the others on as the
//! client sent them, so believing several means believing the client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

use crate::config::Cidr;

/// How many addresses of a header are looked at. No chain of proxies is so long.
const HOPS: usize = 64;

/// Whom an address stands for, where it is counted how much somebody does: of an IPv6 address the first 64 bits, because whoever has one of such a
/// block has them all. An IPv4 address in IPv6 form is itself.
pub(crate) fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// Finds the client behind trusted proxies.
#[derive(Debug, Clone, Default)]
pub struct ClientIp {
    trusted: Vec<Cidr>,
}

impl ClientIp {
    /// By the configured `gateway.trusted_proxies`.
    pub fn new(trusted: impl Into<Vec<Cidr>>) -> Self {
        Self { trusted: trusted.into() }
    }

    /// The client's address: of the connection's other end and the proxies' words, the right-most that is not a trusted
    /// proxy. `x_forwarded_for` are the values of all headers of that name, in the order they came. An entry that cannot be
    /// read ends the walk: the proxy to its right is then the client. IPv4 addresses never come out in IPv6 form.
    pub fn resolve<'a>(&self, peer: IpAddr, x_forwarded_for: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        for entry in x_forwarded_for.rev().flat_map(|value| value.rsplit(',')).take(HOPS) {
            if !self.is_trusted(client) {
                return client;
            }
            match address(entry) {
                Some(address) => client = address,
                None => return client,
            }
        }
        client
    }

    /// [`resolve`](Self::resolve) for a request's headers.
    pub fn of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        // A value that is not ASCII is an entry that cannot be read.
        self.resolve(peer, headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or("?")))
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]` or `[::1]:80`.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip())),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trusted: &[&str], peer: &str, headers: &[&str], client: &str) {
        let trusted: Vec<Cidr> = trusted.iter().map(|range| range.parse().unwrap()).collect();
        let found = ClientIp::new(trusted).resolve(peer.parse().unwrap(), headers.iter().copied());
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {headers:?}");
    }

    #[test]
    fn the_right_most_hop_that_is_not_trusted() {
        let proxies = &["10.0.0.0/8", "fd00::/8"];
        // Nobody is trusted: the header means nothing.
        check(&[], "1.1.1.1", &["9.9.9.9"], "1.1.1.1");
        // The connection is not a proxy's: the same.
        check(proxies, "1.1.1.1", &["9.9.9.9"], "1.1.1.1");
        check(proxies, "10.0.0.1", &[], "10.0.0.1");
        check(proxies, "10.0.0.1", &["9.9.9.9"], "9.9.9.9");
        // What the client invented stands to the left.
        check(proxies, "10.0.0.1", &["127.0.0.1, 10.0.0.9, 9.9.9.9"], "9.9.9.9");
        check(proxies, "10.0.0.1", &["6.6.6.6,9.9.9.9 , 10.0.0.2"], "9.9.9.9");
        // Several headers are one list.
        check(proxies, "10.0.0.1", &["6.6.6.6", "9.9.9.9, 10.0.0.3", "10.0.0.2"], "9.9.9.9");
        // All of them trusted: the left-most is as near as one gets.
        check(proxies, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        // Something unreadable ends the walk.
        check(proxies, "10.0.0.1", &["9.9.9.9, unknown"], "10.0.0.1");
        check(proxies, "10.0.0.1", &["9.9.9.9, , 10.0.0.2"], "10.0.0.2");
        check(proxies, "10.0.0.1", &[""], "10.0.0.1");
        for broken in [
            "9.9.9",
            "9.9.9.9:",
            "9.9.9.9:99999",
            "[9.9.9.9]",
            "[::1",
            "::1%eth0",
            "for=9.9.9.9",
            "9.9.9.9; x",
            "'9.9.9.9'",
        ] {
            check(proxies, "10.0.0.1", &[broken], "10.0.0.1");
        }
        // Ports, brackets, and IPv4 in IPv6 form.
        check(proxies, "10.0.0.1", &["9.9.9.9:1234"], "9.9.9.9");
        check(proxies, "10.0.0.1", &["[2001:db8::1]:1234"], "2001:db8::1");
        check(proxies, "10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check(proxies, "10.0.0.1", &["2001:db8::1"], "2001:db8::1");
        check(proxies, "::ffff:10.0.0.1", &["::ffff:9.9.9.9"], "9.9.9.9");
        check(proxies, "fd00::1", &["9.9.9.9, fd00::2"], "9.9.9.9");
        check(&["::1"], "::1", &["10.0.0.1"], "10.0.0.1");
    }

    #[test]
    fn addresses_of_one_block_are_one() {
        let of = |text: &str| block(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:1.2.3.4"), of("1.2.3.4"));
        assert_ne!(of("::ffff:1.2.3.4"), of("::ffff:1.2.3.5"));
    }

    #[test]
    fn a_flood_of_hops_is_not_walked() {
        let many = vec!["10.0.0.2"; 100_000].join(",");
        check(&["10.0.0.0/8"], "10.0.0.1", &["9.9.9.9", &many], "10.0.0.2");
    }

    #[test]
    fn headers_of_a_request() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "6.6.6.6".parse().unwrap());
        headers.append("x-forwarded-for", "9.9.9.9".parse().unwrap());
        let client = ClientIp::new(["10.0.0.1".parse().unwrap()]);
        assert_eq!(client.of("10.0.0.1".parse().unwrap(), &headers), "9.9.9.9".parse::<IpAddr>().unwrap());
        headers.append("x-forwarded-for", http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(client.of("10.0.0.1".parse().unwrap(), &headers), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
