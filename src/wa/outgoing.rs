//! Our messages as the library's. Pure.

use wacore_binary::{Jid, Server};
use waproto::whatsapp as wa;

use crate::domain::clock::Ambient;
use crate::domain::jid::{Address, Kind};

/// A fresh message id in the form of WhatsApp Web's: `3EB0` and 18 hexadecimal digits.
pub fn message_id(ambient: &Ambient) -> String {
    let random = ambient.random::<9>();
    random.iter().fold(String::from("3EB0"), |id, byte| format!("{id}{byte:02X}"))
}

/// A plain text.
pub fn text(text: &str) -> wa::Message {
    wa::Message { conversation: Some(text.to_owned()), ..Default::default() }
}

/// The library's form of an address.
pub fn jid(address: &Address) -> Jid {
    let server = match address.kind {
        Kind::Phone => Server::Pn,
        Kind::Lid => Server::Lid,
        Kind::Group => Server::Group,
        Kind::Newsletter => Server::Newsletter,
        Kind::Broadcast => Server::Broadcast,
    };
    Jid::new(&*address.user, server)
}

/// Reads an address that this program wrote itself.
pub fn address(canonical: &str) -> Option<Address> {
    Address::parse("chatJid", canonical).ok()
}
