//! Short forms for building and reading stanzas.

use bytes::BytesMut;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, NodeContent, OwnedNodeRef};

/// The server's own address.
pub(in crate::sandbox) const SERVER: &str = "s.whatsapp.net";

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

/// Reads a stanza, unpacking it where it is compressed.
pub(in crate::sandbox) fn unpack(bytes: BytesMut) -> Result<Node, wacore_binary::error::BinaryError> {
    let plain = wacore_binary::util::unpack_bytes(bytes)?;
    Ok(OwnedNodeRef::new(plain)?.to_owned_node())
}
