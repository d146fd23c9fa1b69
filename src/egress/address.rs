//! Which addresses belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is not public in IPv4: address, prefix.
const V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),        // this network, unspecified
    ([10, 0, 0, 0], 8),       // private
    ([100, 64, 0, 0], 10),    // shared by carriers (CGNAT); a cloud's metadata at 100.100.100.200
    ([127, 0, 0, 0], 8),      // loopback
    ([168, 63, 129, 16], 32), // a cloud's host agent, metadata on a public-looking address
    ([169, 254, 0, 0], 16),   // link-local; the clouds' metadata at 169.254.169.254
    ([172, 16, 0, 0], 12),    // private
    ([192, 0, 0, 0], 24),     // protocol assignments; a cloud's metadata at 192.0.0.192
    ([192, 0, 2, 0], 24),     // documentation
    ([192, 31, 196, 0], 24),  // AS112
    ([192, 52, 193, 0], 24),  // AMT
    ([192, 88, 99, 0], 24),   // 6to4 relays
    ([192, 168, 0, 0], 16),   // private
    ([198, 18, 0, 0], 15),    // benchmarks
    ([198, 51, 100, 0], 24),  // documentation
    ([203, 0, 113, 0], 24),   // documentation
    ([224, 0, 0, 0], 3),      // multicast, reserved, broadcast
];

/// What is not public within 2000::/3, the only part of IPv6 that is handed out: address, prefix. Everything outside of it (loopback,
/// unspecified, IPv4-mapped and IPv4-compatible, NAT64 in both forms, ULA, link-local, site-local, multicast) is refused as a whole.
const V6: [(u128, u32); 4] = [
    (0x2001_0000 << 96, 23), // protocol assignments: Teredo, ORCHID, benchmarks
    (0x2001_0db8 << 96, 32), // documentation
    (0x2002_0000 << 96, 16), // 6to4, which carries an IPv4 address
    (0x3fff_0000 << 96, 20), // documentation
];

/// Whether anybody's internet may be at this address, so that reaching it tells nothing of our own networks.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => is_public_v4(it),
        IpAddr::V6(it) => is_public_v6(it),
    }
}

fn is_public_v4(it: Ipv4Addr) -> bool {
    !V4.iter().any(|(base, prefix)| (it.to_bits() ^ Ipv4Addr::from(*base).to_bits()) >> (32 - prefix) == 0)
}

fn is_public_v6(it: Ipv6Addr) -> bool {
    let bits = it.to_bits();
    bits >> 125 == 1 && !V6.iter().any(|(base, prefix)| (bits ^ base) >> (128 - prefix) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_internet_is_let_through() {
        for public in ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.128.0.1", "223.255.255.255"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for public in ["2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2001:200::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn edges_of_what_is_refused() {
        let refused = [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
