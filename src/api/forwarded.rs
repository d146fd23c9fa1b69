//! The address that a request came from: the connection's own, or what trusted proxies say of it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};

use crate::domain::network::Own;

/// How many proxies may stand in a row; what is said beyond them is not read.
const MOST: usize = 32;

/// The address of the client behind `peer`. Only what a trusted proxy says counts, and of that only what trusted proxies have seen
/// themselves: read from the end, the first address that is no trusted proxy's. A proxy sets one of the two headers and may pass on
/// whatever its client put into the other one, so when they disagree neither is believed.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Own]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|own| own.has_address(address));
    if !is_trusted(peer) {
        return peer;
    }
    let nearest = |said: Vec<Option<IpAddr>>| {
        let mut known = peer;
        for address in said.into_iter().rev().take(MOST) {
            let Some(address) = address else { break };
            known = address;
            if !is_trusted(address) {
                break;
            }
        }
        known
    };
    let (old, new) = (list(headers, "x-forwarded-for", entry), list(headers, header::FORWARDED.as_str(), forwarded));
    match (old.is_empty(), new.is_empty()) {
        (true, _) => nearest(new),
        (false, true) => nearest(old),
        (false, false) => {
            let (one, other) = (nearest(old), nearest(new));
            if one == other { one } else { peer }
        }
    }
}

/// The elements of a header that may come in several lines.
fn list(headers: &HeaderMap, name: &str, read: fn(&str) -> Option<IpAddr>) -> Vec<Option<IpAddr>> {
    // A line that is no text is an element that nobody understands.
    headers.get_all(name).iter().flat_map(|line| line.to_str().unwrap_or("?").split(',').map(read).collect::<Vec<_>>()).collect()
}

/// `for=` of one element of `Forwarded` (RFC 7239, section 4).
fn forwarded(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    entry(pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?.1.trim().trim_matches('"'))
}

/// An address, with or without a port and brackets.
fn entry(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = plain.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let trusted = [Own::parse("10.0.0.0/8").unwrap(), Own::parse("fd00::/8").unwrap()];
        let headers = lines.iter().fold(HeaderMap::new(), |mut all, (name, value)| {
            all.append(*name, value.parse().unwrap());
            all
        });
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let lies = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(of("192.0.2.1", &lies), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &lies), "1.1.1.1");
        assert_eq!(of("::ffff:10.0.0.1", &lies), "1.1.1.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_was_put_before_the_proxies_does_not_count() {
        assert_eq!(of("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2")]), "192.0.2.7");
        assert_eq!(of("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(of("10.0.0.1", &[("forwarded", "for=6.6.6.6, For=\"[2001:db8::7]:4711\";proto=https")]), "2001:db8::7");
        assert_eq!(of("fd00::1", &[("x-forwarded-for", "192.0.2.7:5000")]), "192.0.2.7");
        // All of them are proxies: the farthest one is all that is known.
        assert_eq!(of("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")]), "10.0.0.3");
        for odd in ["unknown", "_hidden", "", "1.2.3", "192.0.2.7, ?"] {
            assert_eq!(of("10.0.0.1", &[("x-forwarded-for", odd)]), "10.0.0.1", "{odd}");
        }
    }

    #[test]
    fn headers_that_disagree_are_not_believed() {
        let one = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(of("10.0.0.1", &one), "10.0.0.1");
        let same = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=\"192.0.2.7:99\"")];
        assert_eq!(of("10.0.0.1", &same), "192.0.2.7");
    }
}
