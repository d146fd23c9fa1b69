//! Networks and hosts of one's own, which the egress guard lets through although they are not public.

use std::fmt;
use std::net::IpAddr;

/// One entry of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// Every address of a network.
    Network {
        /// The network's address; bits behind the prefix are ignored.
        base: IpAddr,
        /// How many leading bits count.
        prefix: u8,
    },
    /// A host by its name, in lower case: whatever it resolves to is let through.
    Host(String),
}

impl Own {
    /// Reads `10.0.0.0/8`, `192.168.1.7`, `fd00::/8` or `hooks.internal`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('.');
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        if let Ok(base) = address.parse::<IpAddr>() {
            let most = if base.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Ok(most), str::parse).ok()?;
            return (prefix <= most).then_some(Self::Network { base, prefix });
        }
        // A name whose last label begins with a digit would be read as an address elsewhere.
        let label = |label: &str| {
            !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let last = address.rsplit('.').next().unwrap_or_default();
        let named = prefix.is_none() && address.split('.').all(label) && !last.starts_with(|c: char| c.is_ascii_digit());
        named.then(|| Self::Host(address.to_ascii_lowercase()))
    }

    /// Whether the address lies in this network.
    pub fn has_address(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Network { base: IpAddr::V4(base), prefix }, IpAddr::V4(it)) => {
                same(u128::from(base.to_bits()) << 96, u128::from(it.to_bits()) << 96, *prefix)
            }
            (Self::Network { base: IpAddr::V6(base), prefix }, IpAddr::V6(it)) => same(base.to_bits(), it.to_bits(), *prefix),
            _ => false,
        }
    }

    /// Whether this is the host of that name.
    pub fn has_host(&self, name: &str) -> bool {
        matches!(self, Self::Host(own) if own.eq_ignore_ascii_case(name.trim_end_matches('.')))
    }
}

fn same(one: u128, other: u128, prefix: u8) -> bool {
    // A shift by all 128 bits, for prefix 0, leaves nothing to compare.
    (one ^ other).checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { base, prefix } => write!(f, "{base}/{prefix}"),
            Self::Host(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(own: &str, address: &str) -> bool {
        Own::parse(own).unwrap().has_address(address.parse().unwrap())
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        assert!(covers("10.0.0.0/8", "10.255.1.2") && !covers("10.0.0.0/8", "11.0.0.1"));
        assert!(covers("192.168.1.7", "192.168.1.7") && !covers("192.168.1.7", "192.168.1.6"));
        assert!(covers("0.0.0.0/0", "127.0.0.1") && !covers("0.0.0.0/0", "::1"));
        assert!(covers("fd00::/8", "fdab::1") && !covers("fd00::/8", "fe80::1"));
        assert!(!covers("127.0.0.0/8", "::ffff:127.0.0.1"), "a mapped address is another spelling and stays refused");
    }

    #[test]
    fn names_are_read_and_nonsense_is_not() {
        assert!(Own::parse("Hooks.Internal.").unwrap().has_host("hooks.internal"));
        assert!(!Own::parse("hooks.internal").unwrap().has_host("evil.hooks.internal"));
        for bad in ["", "10.0.0.0/33", "fd00::/129", "10.0.0", "a..b", "*.internal", "http://x", "x/8", "2130706433"] {
            assert!(Own::parse(bad).is_none(), "{bad}");
        }
    }
}
