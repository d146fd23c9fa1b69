//! Where armed faults strike: at logins, at stanzas from clients, and at deliveries.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tracing::debug;
use wacore_binary::{Jid, Node, NodeContent};

use super::World;
use super::account::Place;
use super::iq::Answer;
use crate::domain::clock::Time;
use crate::error::{Code, Error, Result};
use crate::sandbox::PLACEHOLDER;
use crate::sandbox::fault::{Fault, FaultKind, FaultSpec, Injection, REPORTED};
use crate::sandbox::wire::node::{attr, children, el};

/// How many faults there may be, spent ones included.
const MAX_FAULTS: usize = 1000;

/// How long a pause is when nobody said.
const PAUSE: Duration = Duration::from_secs(5);

/// An armed fault with its dice.
struct Armed {
    spec: FaultSpec,
    at: Time,
    /// The schedule that it belongs to, whose report it is in.
    schedule: Option<u64>,
    left: Option<u32>,
    dice: StdRng,
    injected: u64,
    injections: VecDeque<Injection>,
}

/// All armed faults, by id.
#[derive(Default)]
pub(super) struct Faults {
    armed: BTreeMap<u64, Armed>,
    /// The ids of those for one account, and under no number of those for all: with thousands of accounts under a schedule each stanza
    /// looks at its own.
    by_number: HashMap<String, BTreeSet<u64>>,
    next: u64,
}

impl Faults {
    fn insert(&mut self, armed: Armed) -> u64 {
        self.next += 1;
        self.by_number.entry(armed.spec.phone_number.clone()).or_default().insert(self.next);
        self.armed.insert(self.next, armed);
        self.next
    }

    fn remove(&mut self, id: u64) -> Option<Armed> {
        let armed = self.armed.remove(&id)?;
        if let Some(ids) = self.by_number.get_mut(&armed.spec.phone_number) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_number.remove(&armed.spec.phone_number);
            }
        }
        Some(armed)
    }

    /// Those that may strike this account, oldest first.
    fn for_account<'a>(&'a self, number: &str) -> impl Iterator<Item = (u64, &'a Armed)> + use<'a> {
        let of = |number: &str| self.by_number.get(number).into_iter().flatten().copied();
        let ids: BTreeSet<u64> = of("").chain(of(number)).collect();
        ids.into_iter().filter_map(|id| Some((id, self.armed.get(&id)?)))
    }
}

/// A fault that strikes now.
pub(super) struct Strike {
    kind: FaultKind,
    code: Option<u16>,
    duration: Option<Duration>,
    rate: u32,
}

impl Strike {
    fn pause(&self) -> Duration {
        self.duration.unwrap_or(PAUSE)
    }
}

/// What becomes of a question that a fault struck.
pub(super) enum Struck {
    /// It is answered after this long.
    Late(Duration),
    /// It is answered with this error.
    Refused(Answer),
    /// It is not answered.
    Ignored,
}

/// What goes wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Spoilt {
    /// It is refused with this status.
    Refused(u16),
    /// It comes with so many bytes a second.
    Slow(u32),
    /// Half of it comes.
    Truncated,
    /// It comes damaged.
    Corrupted,
}

impl Armed {
    fn show(&self, id: u64) -> Fault {
        let injections = self.injections.iter().cloned().collect();
        Fault { id, spec: self.spec.clone(), injected: self.injected, injections }
    }
}

impl World {
    /// Arms a fault; one of a connection that names no stanza strikes the connections there are.
    pub(in crate::sandbox) fn arm(&mut self, spec: FaultSpec) -> Result<Fault> {
        spec.check()?;
        if self.faults.armed.values().filter(|armed| armed.schedule.is_none()).count() >= MAX_FAULTS {
            return Err(Error::new(Code::RateLimited, "there are too many faults; delete some").reason("too_many_faults"));
        }
        let id = self.arm_unchecked(spec, None);
        self.fault(id)
    }

    /// The same for a schedule, which has checked what it draws from.
    pub(super) fn arm_unchecked(&mut self, spec: FaultSpec, schedule: Option<u64>) -> u64 {
        let dice = StdRng::seed_from_u64(spec.seed.cast_unsigned());
        let at_once = (spec.of_connection() && spec.stanza.is_empty()).then(|| spec.phone_number.clone());
        let (left, at) = (spec.count, self.ambient.now());
        let id = self.faults.insert(Armed { at, schedule, left, dice, injected: 0, injections: VecDeque::new(), spec });
        if let Some(number) = at_once {
            for (connection, place) in self.connected(&number) {
                if let Some(strike) = self.strike_with(id, &place, "") {
                    self.break_connection(connection, &strike);
                }
            }
        }
        id
    }

    /// The connections of an account, or all, in the order in which they were made.
    fn connected(&self, number: &str) -> BTreeMap<u64, Place> {
        let place = |(id, connection): (&u64, &super::Connection)| Some((*id, connection.place.clone()?));
        match self.accounts.get(number) {
            Some(account) => {
                let online = account.devices.values().filter_map(|device| device.online);
                online.filter_map(|id| place((&id, self.connections.get(&id)?))).collect()
            }
            None if number.is_empty() => self.connections.iter().filter_map(place).collect(),
            None => BTreeMap::new(),
        }
    }

    /// Takes back what a schedule has armed and what has not struck; for one account or for all.
    pub(super) fn disarm_scheduled(&mut self, schedule: u64, number: Option<&str>) {
        let ids: Vec<u64> = match number {
            Some(number) => {
                self.faults.for_account(number).filter(|(_, armed)| armed.schedule == Some(schedule)).map(|(id, _)| id).collect()
            }
            None => self.faults.armed.iter().filter(|(_, armed)| armed.schedule == Some(schedule)).map(|(id, _)| *id).collect(),
        };
        for id in ids {
            self.faults.remove(id);
        }
    }

    /// How many faults wait for this account.
    #[cfg(test)]
    pub(super) fn armed_for(&self, number: &str) -> usize {
        self.faults.for_account(number).count()
    }

    /// All faults, oldest first.
    pub(in crate::sandbox) fn list_faults(&self) -> Vec<Fault> {
        self.faults.armed.iter().filter(|(_, armed)| armed.schedule.is_none()).map(|(id, armed)| armed.show(*id)).collect()
    }

    /// Disarms one fault.
    pub(in crate::sandbox) fn disarm(&mut self, id: u64) -> Result<()> {
        // What belongs to a schedule is nobody else's to take away.
        let own = self.faults.armed.get(&id).is_some_and(|armed| armed.schedule.is_none());
        if own {
            drop(self.faults.remove(id));
        }
        if own { Ok(()) } else { Err(Error::not_found("fault")) }
    }

    /// Disarms all faults.
    pub(in crate::sandbox) fn disarm_all(&mut self) {
        let own: Vec<u64> = self.faults.armed.iter().filter(|(_, armed)| armed.schedule.is_none()).map(|(id, _)| *id).collect();
        for id in own {
            self.faults.remove(id);
        }
    }

    fn fault(&self, id: u64) -> Result<Fault> {
        self.faults.armed.get(&id).map(|armed| armed.show(id)).ok_or_else(|| Error::not_found("fault"))
    }

    /// The first fault of one of these kinds that strikes now.
    fn strike(&mut self, kinds: &[FaultKind], place: &Place, stanza: &str) -> Option<Strike> {
        let fits = |(_, armed): &(u64, &Armed)| kinds.contains(&armed.spec.kind);
        let ids: Vec<u64> = self.faults.for_account(&place.number).filter(fits).map(|(id, _)| id).collect();
        ids.into_iter().find_map(|id| self.strike_with(id, place, stanza))
    }

    fn strike_with(&mut self, id: u64, place: &Place, stanza: &str) -> Option<Strike> {
        let now = self.ambient.now();
        let armed = self.faults.armed.get_mut(&id)?;
        let over = armed.spec.kind == FaultKind::RefuseNewChats
            && armed.spec.duration.is_some_and(|duration| now >= armed.at.plus(duration));
        if over || armed.left == Some(0) || !armed.spec.fits(&place.number, stanza) {
            return None;
        }
        if armed.spec.probability.is_some_and(|probability| !armed.dice.random_bool(probability)) {
            return None;
        }
        armed.left = armed.left.map(|left| left - 1);
        armed.injected += 1;
        if armed.injections.len() == REPORTED {
            armed.injections.pop_front();
        }
        let (phone_number, device) = (place.number.clone(), place.device);
        let injection = Injection { at: now, phone_number, device, stanza: stanza.to_owned() };
        armed.injections.push_back(injection.clone());
        let (schedule, spent) = (armed.schedule, armed.left == Some(0));
        let FaultSpec { kind, code, duration, bytes_per_second, .. } = armed.spec;
        debug!(fault = id, ?kind, stanza, "a fault strikes");
        self.see_fault(kind, place, stanza);
        if let Some(schedule) = schedule {
            self.schedules.struck(schedule, kind, injection);
            // Its report is the schedule's.
            if spent {
                self.faults.remove(id);
            }
        }
        Some(Strike { kind, code, duration, rate: bytes_per_second.unwrap_or(1000) })
    }

    // -- connections

    fn break_connection(&mut self, connection: u64, strike: &Strike) {
        let until = self.ambient.now().plus(strike.pause());
        let Some(client) = self.connections.get_mut(&connection) else { return };
        let conflict = |kind: &'static str| {
            el("stream:error").attr("code", "401").children([el("conflict").attr("type", kind).build()]).build()
        };
        let last = match strike.kind {
            FaultKind::Drop => return client.cut.cancel(),
            FaultKind::HalfOpen => return client.half_open = true,
            FaultKind::Stall => return client.stalled_until = Some(until),
            FaultKind::Slow => return client.pace = Some(strike.rate),
            FaultKind::StreamError => el("stream:error").attr("code", strike.code.unwrap_or(503).to_string()).build(),
            FaultKind::Replaced => conflict("replaced"),
            FaultKind::DeviceRemoved => conflict("device_removed"),
            FaultKind::StreamEnd => el("xmlstreamend").build(),
            _ => return,
        };
        self.send_last(connection, last, Duration::ZERO);
    }

    /// Faults at a login: true when the login goes no further.
    pub(super) fn fault_at_login(&mut self, connection: u64, place: &Place) -> bool {
        if self.faults.armed.is_empty() {
            return false;
        }
        let Some(strike) = self.strike(&[FaultKind::RefuseLogin, FaultKind::IgnoreLogin], place, "login") else { return false };
        if strike.kind == FaultKind::RefuseLogin {
            let code = strike.code.unwrap_or(401);
            let failure = el("failure").attr("reason", code.to_string()).attr("location", "sandbox");
            let failure = match code {
                402 => failure.attr("code", "101").attr("expire", strike.pause().as_secs().max(1).to_string()),
                _ => failure,
            };
            self.send_last(connection, failure.build(), Duration::ZERO);
        }
        true
    }

    /// Faults of the connection right after a login, and at a stanza from a client. True when the stanza goes no further.
    pub(super) fn fault_of_connection(&mut self, connection: u64, stanza: Option<&Node>) -> bool {
        if self.faults.armed.is_empty() {
            return false;
        }
        let name = stanza.map(name).unwrap_or_default();
        let place = self.place(connection).unwrap_or_else(nobody);
        let fits = |armed: &Armed| armed.spec.of_connection() && armed.spec.stanza.is_empty() == stanza.is_none();
        let ids: Vec<u64> = self.faults.for_account(&place.number).filter(|(_, armed)| fits(armed)).map(|(id, _)| id).collect();
        let mut ended = false;
        for id in ids {
            if let Some(strike) = self.strike_with(id, &place, &name) {
                self.break_connection(connection, &strike);
                ended |= !matches!(strike.kind, FaultKind::Stall | FaultKind::Slow);
            }
        }
        ended
    }

    /// What goes wrong with a file on its way to or from the media host, if a fault wants it.
    pub(in crate::sandbox) fn fault_at_media(&mut self, place: &Place, name: &str) -> Option<Spoilt> {
        use FaultKind::{MediaCorrupted, MediaGone, MediaNotFound, MediaRefused, MediaSlow, MediaTruncated};
        if self.faults.armed.is_empty() {
            return None;
        }
        let refusals = [MediaNotFound, MediaGone, MediaRefused];
        let spoilers = [MediaSlow, MediaTruncated, MediaCorrupted];
        let strike = match self.strike(&refusals, place, name) {
            Some(strike) => strike,
            // What goes up is refused or taken; what comes down can be damaged.
            None if name.starts_with("media/download") => self.strike(&spoilers, place, name)?,
            None => return None,
        };
        Some(match strike.kind {
            MediaNotFound => Spoilt::Refused(404),
            MediaGone => Spoilt::Refused(410),
            MediaSlow => Spoilt::Slow(strike.rate),
            MediaTruncated => Spoilt::Truncated,
            MediaCorrupted => Spoilt::Corrupted,
            _ => Spoilt::Refused(strike.code.unwrap_or(503)),
        })
    }

    // -- stanzas

    /// Faults at a question.
    pub(super) fn fault_at_question(&mut self, connection: u64, question: &Node) -> Option<Struck> {
        if self.faults.armed.is_empty() {
            return None;
        }
        let place = self.place(connection).unwrap_or_else(nobody);
        let kinds = [FaultKind::IgnoreIq, FaultKind::LateIq, FaultKind::RefuseIq];
        let strike = self.strike(&kinds, &place, &name(question))?;
        Some(match strike.kind {
            FaultKind::LateIq => Struck::Late(strike.pause()),
            FaultKind::RefuseIq => Struck::Refused(Err(match strike.code.unwrap_or(429) {
                429 => (429, "rate-overlimit"),
                code => (code, "refused-by-fault"),
            })),
            _ => Struck::Ignored,
        })
    }

    /// The code with which a sent message is refused, if a fault wants it.
    pub(super) fn fault_at_message(&mut self, from: &Place, chat: &Jid) -> Option<u16> {
        if self.faults.armed.is_empty() {
            return None;
        }
        let mut kinds = vec![FaultKind::RefuseMessage];
        kinds.extend(self.is_new_chat(from, chat).then_some(FaultKind::RefuseNewChats));
        self.strike(&kinds, from, "message").map(|strike| strike.code.unwrap_or(463))
    }

    /// Whether it is somebody else, whom the account's phone shows no chat with.
    fn is_new_chat(&self, from: &Place, chat: &Jid) -> bool {
        let Some(peer) = self.number_of(chat).filter(|peer| *peer != from.number) else { return false };
        let name = Jid::pn(peer).to_string();
        self.accounts.get(&from.number).is_some_and(|account| !account.by_id.keys().any(|(chat, _)| *chat == name))
    }

    /// How long after a link the restart comes, if a fault wants another moment than the usual one.
    pub(super) fn fault_at_restart(&mut self, place: &Place) -> Option<Duration> {
        if self.faults.armed.is_empty() {
            return None;
        }
        self.strike(&[FaultKind::Restart], place, "").map(|strike| strike.duration.unwrap_or(Duration::ZERO))
    }

    /// Whether a fault of this kind strikes here; for the kinds that are a yes or no.
    pub(super) fn fault_strikes(&mut self, kind: FaultKind, place: &Place, stanza: &str) -> bool {
        !self.faults.armed.is_empty() && self.strike(&[kind], place, stanza).is_some()
    }

    /// The same for a client that is not paired.
    pub(super) fn fault_strikes_pairing(&mut self, kind: FaultKind) -> bool {
        self.fault_strikes(kind, &nobody(), "login")
    }

    /// Damages the ciphertexts of a message if a fault wants it.
    pub(super) fn fault_spoils(&mut self, to: &Place, stanza: &mut Node) {
        let sealed = stanza.tag == "message" && children(stanza).iter().any(|child| child.tag == "enc");
        if sealed
            && to.device != 0
            && attr(stanza, "category") != "peer"
            && self.fault_strikes(FaultKind::Unavailable, to, "message")
        {
            stanza.content = Some(NodeContent::Nodes(vec![el("unavailable").build()]));
            return;
        }
        if !sealed || !self.fault_strikes(FaultKind::Corrupt, to, "message") {
            return;
        }
        let Some(NodeContent::Nodes(parts)) = &mut stanza.content else { return };
        for part in parts.iter_mut().filter(|part| part.tag == "enc") {
            if let Some(NodeContent::Bytes(bytes)) = &mut part.content {
                let mut damaged = bytes.clone();
                // The end is the seal in every kind of ciphertext.
                if let Some(last) = damaged.last_mut() {
                    *last ^= 0x55;
                }
                *bytes = damaged;
            }
        }
    }

    /// Sends something that a device receives to its connection, twice or out of order if a fault wants it.
    pub(super) fn send_delivery(&mut self, connection: u64, to: &Place, node: Node) {
        let held_back = self.connections.get(&connection).is_some_and(|client| client.held_back.is_some());
        if self.faults.armed.is_empty() && !held_back {
            return self.send(connection, node);
        }
        let name = name(&node);
        if self.fault_strikes(FaultKind::Reorder, to, &name)
            && let Some(client) = self.connections.get_mut(&connection)
            && client.held_back.is_none()
        {
            client.held_back = Some(node);
            return;
        }
        if self.fault_strikes(FaultKind::Duplicate, to, &name) {
            self.send(connection, node.clone());
        }
        self.send(connection, node);
        let late = self.connections.get_mut(&connection).and_then(|client| client.held_back.take());
        if let Some(late) = late {
            self.send(connection, late);
        }
    }
}

/// The place of a client that is not paired.
fn nobody() -> Place {
    Place { number: PLACEHOLDER.to_owned(), device: 0 }
}

/// A stanza's name in parts: for questions with namespace and first child, for others with their type.
fn name(stanza: &Node) -> String {
    let tag = stanza.tag.as_ref();
    let parts = if tag == "iq" {
        let child = children(stanza).first().map(|child| child.tag.to_string()).unwrap_or_default();
        vec![tag.to_owned(), attr(stanza, "xmlns"), child]
    } else {
        vec![tag.to_owned(), attr(stanza, "type")]
    };
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}
