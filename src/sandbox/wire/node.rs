//! Short forms for building and reading stanzas.

use std::io::Read as _;

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::read::ZlibDecoder;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, NodeContent, OwnedNodeRef};

/// The server's own address.
pub(in crate::sandbox) const SERVER: &str = "s.whatsapp.net";

/// The flag of a compressed stanza, in its first byte.
const COMPRESSED: u8 = 2;

/// Starts an element.
pub(in crate::sandbox) fn el(tag: &'static str) -> NodeBuilder {
    NodeBuilder::new(tag)
}

/// An attribute as text; empty when absent.
pub(in crate::sandbox) fn attr(node: &Node, key: &str) -> String {
    node.attrs.get(key).map(|value| value.as_str().into_owned()).unwrap_or_default()
}

/// An attribute as an address, in either of its two encodings.
pub(in crate::sandbox) fn jid(node: &Node, key: &str) -> Option<Jid> {
    node.attrs().optional_jid(key)
}

/// The content as bytes; empty when there is none.
pub(in crate::sandbox) fn bytes(node: &Node) -> Vec<u8> {
    match &node.content {
        Some(NodeContent::Bytes(bytes)) => bytes.clone(),
        Some(NodeContent::String(text)) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    }
}

/// The content of the first child with that tag.
pub(in crate::sandbox) fn child_bytes(node: &Node, tag: &str) -> Option<Vec<u8>> {
    node.get_optional_child(tag).map(bytes)
}

/// The content as text.
pub(in crate::sandbox) fn text(node: &Node) -> String {
    String::from_utf8_lossy(&bytes(node)).into_owned()
}

/// The child elements, none for other content.
pub(in crate::sandbox) fn children(node: &Node) -> &[Node] {
    node.children().unwrap_or_default()
}

/// A stanza as it goes over the wire and into the journal.
pub(in crate::sandbox) fn pack(node: &Node) -> Result<Vec<u8>, wacore_binary::error::BinaryError> {
    wacore_binary::marshal::marshal(node)
}

/// Why bytes are no stanza.
#[derive(Debug, thiserror::Error)]
pub(in crate::sandbox) enum Unreadable {
    /// Nothing at all.
    #[error("an empty stanza")]
    Empty,
    /// What is compressed cannot be unpacked, or is much larger than it looks.
    #[error("a compressed stanza that cannot be unpacked within the limit")]
    Packed,
    /// Not the binary form of an element, or nested too deeply.
    #[error("undecodable stanza: {0}")]
    Malformed(#[from] wacore_binary::error::BinaryError),
}

/// The largest stanza once it is unpacked: elements take up to thirty times as much in memory as on the wire.
const MAX_UNPACKED: u64 = 2 * 1024 * 1024;

/// Reads a stanza, unpacking it where it is compressed.
pub(in crate::sandbox) fn unpack(mut bytes: BytesMut) -> Result<Node, Unreadable> {
    let flags = *bytes.first().ok_or(Unreadable::Empty)?;
    bytes.advance(1);
    let plain = if flags & COMPRESSED == 0 { bytes.freeze() } else { inflate(&bytes)? };
    Ok(OwnedNodeRef::new(plain)?.to_owned_node())
}

fn inflate(packed: &[u8]) -> Result<Bytes, Unreadable> {
    let mut plain = Vec::new();
    let mut reader = ZlibDecoder::new(packed).take(MAX_UNPACKED + 1);
    reader.read_to_end(&mut plain).map_err(|_| Unreadable::Packed)?;
    // One byte more than the limit was asked for, so a limit that was passed shows.
    if reader.limit() == 0 { Err(Unreadable::Packed) } else { Ok(plain.into()) }
}

/// About how many bytes a stanza takes while it waits to be sent.
pub(in crate::sandbox) fn weight(node: &Node) -> usize {
    const ELEMENT: usize = 128;
    let attributes: usize = node.attrs.0.iter().map(|(name, value)| name.len() + value.as_str().len()).sum();
    let content = match &node.content {
        Some(NodeContent::Bytes(bytes)) => bytes.len(),
        Some(NodeContent::String(text)) => text.len(),
        Some(NodeContent::Nodes(children)) => children.iter().map(weight).sum(),
        None => 0,
    };
    ELEMENT + attributes + content
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn packed(plain: &[u8]) -> BytesMut {
        let mut encoder = flate2::write::ZlibEncoder::new(vec![COMPRESSED], flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        BytesMut::from(encoder.finish().unwrap().as_slice())
    }

    #[test]
    fn a_compressed_stanza_is_read_and_a_bomb_is_not() {
        let stanza = el("iq").attr("id", "1").children([el("ping").build()]).build();
        assert_eq!(unpack(packed(&pack(&stanza).unwrap()[1..])).unwrap(), stanza);
        let bomb = packed(&vec![0; 64 * 1024 * 1024]);
        assert!(bomb.len() < 100_000, "small on the wire");
        assert!(matches!(unpack(bomb), Err(Unreadable::Packed)));
        assert!(matches!(unpack(BytesMut::new()), Err(Unreadable::Empty)));
    }

    #[test]
    fn a_deep_nest_is_refused() {
        let nest = |depth: usize| {
            // A list of two: the tag and the content, which is a list of one.
            let mut bytes = vec![0];
            for _ in 0..depth {
                bytes.extend([248, 2, 252, 1, b'a', 248, 1]);
            }
            bytes.extend([248, 1, 252, 1, b'a']);
            BytesMut::from(bytes.as_slice())
        };
        assert!(unpack(nest(20)).is_ok());
        assert!(unpack(nest(100_000)).is_err());
    }

    #[test]
    fn what_is_large_weighs_much() {
        let large = el("message").attr("id", "x".repeat(1000)).children([el("enc").bytes(vec![0; 5000]).build()]).build();
        assert!((6000..7000).contains(&weight(&large)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = unpack(BytesMut::from(bytes.as_slice()));
        }

        /// Beginnings that the decoder knows get further than noise.
        #[test]
        fn damaged_stanzas_are_read_or_refused(
            at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let stanza = el("message").attr("to", Jid::pn_device("5511900000001", 3)).attr("id", "3A00").attr("type", "text")
                .children([el("enc").attr("v", "2").attr("type", "pkmsg").bytes(vec![7; 300]).build(), el("meta").build()]).build();
            let mut bytes = pack(&stanza).unwrap();
            for (place, value) in at {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = unpack(BytesMut::from(bytes.as_slice()));
        }
    }
}
