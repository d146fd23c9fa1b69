//! Published keys: taken from linked devices, handed out to whoever wants to start a session. Phones have theirs made on demand.

use bytes::Buf as _;
use sha1::{Digest as _, Sha1};
use wacore_binary::{Jid, Node};

use super::World;
use super::account::{Bundle, Place, SignedKey};
use super::iq::{Answer, bad_request};
use super::registration::signed_by;
use crate::sandbox::fault::FaultKind;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::{Blob, Secret};
use crate::sandbox::wire::node::{SERVER, child_bytes, children, el, jid};

/// Below this many one-time prekeys a device is asked for more.
const LOW: usize = 10;

/// What one fetch gives: everything to start a session with a device.
pub(in crate::sandbox) struct Offer {
    pub(in crate::sandbox) registration_id: u32,
    pub(in crate::sandbox) identity: Vec<u8>,
    pub(in crate::sandbox) signed: SignedKey,
    pub(in crate::sandbox) one_time: Option<(u32, Vec<u8>)>,
    pub(in crate::sandbox) signed_identity: Option<Vec<u8>>,
}

impl World {
    /// `<count/>`: how many one-time prekeys are left.
    pub(super) fn count_prekeys(&mut self, place: &Place) -> Answer {
        let bundle = self.device_mut(place).and_then(|device| device.bundle.as_ref());
        let count = bundle.map_or(0, |bundle| bundle.one_time.len());
        Ok(vec![el("count").attr("value", count.to_string()).build()])
    }

    /// `<digest/>`: a hash over what was published, for the client to compare. 404 makes it publish again.
    pub(super) fn digest_prekeys(&mut self, place: &Place) -> Answer {
        let bundle = self.device_mut(place).and_then(|device| device.bundle.as_ref()).ok_or((404, "item-not-found"))?;
        let mut hash = Sha1::new();
        hash.update(&bundle.identity.0);
        hash.update(&bundle.signed.key.0);
        hash.update(&bundle.signed.signature.0);
        for (_, key) in &bundle.one_time {
            hash.update(&key.0);
        }
        let ids = bundle.one_time.iter().map(|(id, _)| el("id").bytes(three(*id)).build());
        Ok(vec![
            el("digest")
                .children([
                    el("registration").bytes(bundle.registration_id.to_be_bytes().to_vec()).build(),
                    el("type").bytes(vec![5]).build(),
                    el("identity").bytes(bundle.identity.0.clone()).build(),
                    signed_node(&bundle.signed),
                    el("list").children(ids).build(),
                    el("hash").bytes(hash.finalize().to_vec()).build(),
                ])
                .build(),
        ])
    }

    /// `<registration/>…`: a device publishes its keys.
    pub(super) fn publish_prekeys(&mut self, place: &Place, node: &Node) -> Answer {
        let registration = child_bytes(node, "registration").and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad_request)?;
        let identity = child_bytes(node, "identity").filter(|key| key.len() == 32).ok_or_else(bad_request)?;
        let signed = node.get_optional_child("skey").and_then(read_signed).ok_or_else(bad_request)?;
        let list = node.get_optional_child("list").map(children).unwrap_or_default();
        let fresh: Option<Vec<(u32, Blob)>> = list.iter().map(|key| Some((id_of(key)?, value_of(key)?))).collect();
        let fresh = fresh.ok_or_else(bad_request)?;
        let device = self.device_mut(place).ok_or_else(bad_request)?;
        // Whoever starts a session would refuse the whole bundle.
        if device.identity.0 != identity || !signed_by(&identity, &signed) {
            return Err((406, "not-acceptable"));
        }
        let mut one_time = device.bundle.take().map(|bundle| bundle.one_time).unwrap_or_default();
        one_time.retain(|(id, _)| fresh.iter().all(|(new, _)| new != id));
        one_time.extend(fresh);
        let bundle = Bundle { registration_id: u32::from_be_bytes(registration), identity: Blob(identity), signed, one_time };
        device.bundle = Some(bundle);
        let greet = !device.has_app_state_key;
        self.touch(Key::Bundle(place.number.clone(), place.device));
        if greet {
            self.phone_greets(place);
        }
        Ok(Vec::new())
    }

    /// `<rotate>`: a device replaces its signed prekey.
    pub(super) fn rotate_signed_prekey(&mut self, place: &Place, node: &Node) -> Answer {
        let signed = node.get_optional_child("skey").and_then(read_signed).ok_or_else(bad_request)?;
        let bundle = self.device_mut(place).and_then(|device| device.bundle.as_mut()).ok_or((404, "item-not-found"))?;
        if !signed_by(&bundle.identity.0, &signed) {
            return Err((406, "not-acceptable"));
        }
        bundle.signed = signed;
        self.touch(Key::Bundle(place.number.clone(), place.device));
        Ok(Vec::new())
    }

    /// `<key>`: hands out the keys of the named devices.
    pub(super) fn hand_out_prekeys(&mut self, asker: &Place, node: &Node) -> Answer {
        let mut users = Vec::new();
        for user in children(node) {
            let Some(jid) = jid(user, "jid") else { continue };
            let place = self.place_of(&jid);
            let offer = place.as_ref().and_then(|place| self.take_offer(place));
            if let Some(place) = &place {
                self.acquaint(&asker.number, &place.number);
            }
            users.push(self.offer_node(jid, offer));
        }
        Ok(vec![el("list").children(users).build()])
    }

    /// Takes one one-time prekey of a device, with everything else that starts a session. Spent for good once this step is on disk.
    pub(in crate::sandbox) fn take_offer(&mut self, place: &Place) -> Option<Offer> {
        if place.device == 0 {
            return self.mint_offer(&place.number);
        }
        let spent = self.fault_strikes(FaultKind::NoPrekeys, place, "iq/encrypt/key");
        let device = self.device_mut(place)?;
        let signed_identity = Some(device.signed_identity.0.clone()).filter(|bytes| !bytes.is_empty());
        let online = device.online;
        let bundle = device.bundle.as_mut()?;
        let one_time = if spent { None } else { bundle.one_time.pop_front() };
        let one_time = one_time.map(|(id, key)| (id, key.0));
        let left = bundle.one_time.len();
        let offer = Offer {
            registration_id: bundle.registration_id,
            identity: bundle.identity.0.clone(),
            signed: bundle.signed.clone(),
            one_time,
            signed_identity,
        };
        self.touch(Key::Bundle(place.number.clone(), place.device));
        if let Some(connection) = online.filter(|_| left == LOW) {
            let count = el("count").attr("value", left.to_string()).build();
            let low = el("notification")
                .attr("from", SERVER)
                .attr("type", "encrypt")
                .attr("id", self.stanza_id())
                .attr("t", self.now_secs().to_string())
                .children([count])
                .build();
            self.send(connection, low);
        }
        Some(offer)
    }

    /// A phone never runs out: it makes a one-time prekey for every asker and keeps the private half.
    fn mint_offer(&mut self, number: &str) -> Option<Offer> {
        let secret = Secret::generate(&self.ambient);
        let account = self.accounts.get_mut(number)?;
        let id = account.next_prekey;
        account.next_prekey = if id >= 0x00ff_ffff { 1 } else { id + 1 };
        let key = secret.public().to_vec();
        account.prekeys.insert(id, secret);
        let offer = Offer {
            registration_id: account.registration_id,
            identity: account.identity.public().to_vec(),
            signed: SignedKey {
                id: 1,
                key: Blob(account.signed_key.public().to_vec()),
                signature: account.signed_key_signature.clone(),
            },
            one_time: Some((id, key)),
            signed_identity: None,
        };
        self.touch_account(number);
        self.touch(Key::OneTime(number.to_owned(), id));
        Some(offer)
    }

    fn offer_node(&self, jid: Jid, offer: Option<Offer>) -> Node {
        let Some(offer) = offer else {
            let error = el("error").attr("code", "406").attr("text", "not-acceptable").build();
            return el("user").attr("jid", jid).children([error]).build();
        };
        el("user").attr("jid", jid).attr("t", self.now_secs().to_string()).children(offer.into_nodes()).build()
    }
}

impl Offer {
    fn into_nodes(self) -> Vec<Node> {
        let mut nodes = vec![
            el("registration").bytes(self.registration_id.to_be_bytes().to_vec()).build(),
            el("type").bytes(vec![5]).build(),
            el("identity").bytes(self.identity).build(),
            signed_node(&self.signed),
        ];
        nodes.extend(self.one_time.map(|(id, key)| key_node(id, key)));
        nodes.extend(self.signed_identity.map(|bytes| el("device-identity").bytes(bytes).build()));
        nodes
    }

    /// The `<keys>` of a retry receipt.
    pub(in crate::sandbox) fn retry_keys(self) -> Node {
        let mut nodes = vec![el("type").bytes(vec![5]).build(), el("identity").bytes(self.identity).build()];
        nodes.extend(self.one_time.map(|(id, key)| key_node(id, key)));
        nodes.push(signed_node(&self.signed));
        nodes.extend(self.signed_identity.map(|bytes| el("device-identity").bytes(bytes).build()));
        el("keys").children(nodes).build()
    }
}

fn key_node(id: u32, key: Vec<u8>) -> Node {
    el("key").children([el("id").bytes(three(id)).build(), el("value").bytes(key).build()]).build()
}

fn signed_node(signed: &SignedKey) -> Node {
    el("skey")
        .children([
            el("id").bytes(three(signed.id)).build(),
            el("value").bytes(signed.key.0.clone()).build(),
            el("signature").bytes(signed.signature.0.clone()).build(),
        ])
        .build()
}

fn read_signed(node: &Node) -> Option<SignedKey> {
    Some(SignedKey { id: id_of(node)?, key: value_of(node)?, signature: Blob(child_bytes(node, "signature")?) })
}

fn value_of(node: &Node) -> Option<Blob> {
    child_bytes(node, "value").filter(|key| key.len() == 32).map(Blob)
}

fn id_of(node: &Node) -> Option<u32> {
    let bytes = child_bytes(node, "id")?;
    (bytes.len() == 3).then(|| u32::try_from((&*bytes).get_uint(3)).ok()).flatten()
}

/// A key id as the wire has it.
fn three(id: u32) -> Vec<u8> {
    id.to_be_bytes().into_iter().skip(1).collect()
}
