//! Calls as people see them: who rang, and what became of it. There is no sound.

use serde::{Deserialize, Serialize};
use wacore_binary::{Jid, Node};

use crate::domain::clock::Time;
use crate::error::{Code, Error, Result};
use crate::sandbox::Direction;
use crate::sandbox::keys::hex;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::wire::node::{attr, children, el, jid};

/// How many calls a phone remembers.
const MAX_CALLS: usize = 100;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// It rings.
    Ringing,
    /// It was taken.
    Accepted,
    /// It was declined.
    Rejected,
    /// It ended, or the caller gave up.
    Ended,
    /// Nobody took it in time.
    TimedOut,
}

/// A call of a phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// WhatsApp's id.
    pub id: String,
    /// The other side's address by number.
    pub peer: String,
    /// Which way it went.
    pub direction: Direction,
    /// Whether with pictures.
    pub video: bool,
    /// What became of it.
    pub state: CallState,
    /// When it began.
    pub at: Time,
}

impl World {
    /// The phone calls somebody: all the person's devices ring.
    pub(in crate::sandbox) fn phone_calls(&mut self, number: &str, peer: &str, video: bool) -> Result<Call> {
        self.in_hand(number)?;
        if number == peer {
            return Err(Error::field("to", "a phone cannot call itself"));
        }
        let creator = self.member_jid(number);
        let id = hex(&self.ambient.random::<16>());
        let codec = |rate: &'static str| el("audio").attr("enc", "opus").attr("rate", rate).build();
        let mut parts = vec![codec("16000"), codec("8000")];
        if video {
            parts.push(el("video").attr("enc", "vp8").attr("dec", "vp8").attr("orientation", "0").build());
        }
        parts.push(el("net").attr("medium", "3").build());
        parts.push(el("encopt").attr("keygen", "2").build());
        let offer = el("offer")
            .attr("call-id", id.clone())
            .attr("call-creator", creator)
            .attr("caller_pn", Jid::pn(number))
            .children(parts)
            .build();
        let call = Call {
            id,
            peer: Jid::pn(peer).to_string(),
            direction: Direction::Out,
            video,
            state: CallState::Ringing,
            at: self.ambient.now(),
        };
        self.remember_call(number, call.clone());
        self.relay_call(&Place { number: number.to_owned(), device: 0 }, peer, offer);
        Ok(call)
    }

    /// The phone's owner declines a call that rings, or hangs up. Fails when the call is over.
    pub(in crate::sandbox) fn phone_ends_call(&mut self, number: &str, id: &str) -> Result<Call> {
        let call = self.known(number)?.calls.iter().find(|call| call.id == id);
        let call = call.ok_or_else(|| Error::not_found("call"))?.clone();
        let state = match (call.state, call.direction) {
            (CallState::Ringing, Direction::In) => CallState::Rejected,
            (CallState::Ringing, Direction::Out) | (CallState::Accepted, _) => CallState::Ended,
            _ => return Err(Error::new(Code::Conflict, "the call is over").reason("call_over")),
        };
        Ok(self.end_call(number, &call, state, None))
    }

    /// Nobody took the call in time.
    pub(in crate::sandbox) fn phone_gives_up(&mut self, number: &str, id: &str) {
        let calls = self.accounts.get(number).map(|account| &account.calls);
        let rings = |call: &&Call| call.id == id && call.state == CallState::Ringing;
        if let Some(call) = calls.and_then(|calls| calls.iter().find(rings)).cloned() {
            self.end_call(number, &call, CallState::TimedOut, Some("timeout"));
        }
    }

    fn end_call(&mut self, number: &str, call: &Call, state: CallState, reason: Option<&'static str>) -> Call {
        let peer = call.peer.split('@').next().unwrap_or_default().to_owned();
        let creator = if call.direction == Direction::Out { self.member_jid(number) } else { self.member_jid(&peer) };
        let tag = if state == CallState::Rejected { "reject" } else { "terminate" };
        let mut action = el(tag).attr("call-id", call.id.clone()).attr("call-creator", creator);
        if tag == "reject" {
            action = action.attr("count", "0");
        }
        if let Some(reason) = reason {
            action = action.attr("reason", reason);
        }
        self.call_became(number, &call.id, state);
        self.relay_call(&Place { number: number.to_owned(), device: 0 }, &peer, action.build());
        Call { state, ..call.clone() }
    }

    /// News of a call for a phone.
    pub(super) fn phone_gets_call(&mut self, number: &str, stanza: &Node) {
        let Some(action) = children(stanza).first() else { return };
        let Some(peer) = jid(stanza, "from").and_then(|from| self.number_of(&from)) else { return };
        let id = attr(action, "call-id");
        match action.tag.as_ref() {
            "offer" => {
                let call = Call {
                    id,
                    peer: Jid::pn(peer).to_string(),
                    direction: Direction::In,
                    video: action.get_optional_child("video").is_some(),
                    state: CallState::Ringing,
                    at: self.ambient.now(),
                };
                self.remember_call(number, call);
            }
            "accept" => self.call_became(number, &id, CallState::Accepted),
            "reject" => self.call_became(number, &id, CallState::Rejected),
            "terminate" => {
                let state = match attr(action, "reason").as_str() {
                    "timeout" => CallState::TimedOut,
                    "rejected_elsewhere" => CallState::Rejected,
                    "accepted_elsewhere" => CallState::Accepted,
                    _ => CallState::Ended,
                };
                self.call_became(number, &id, state);
            }
            _ => {}
        }
    }

    fn remember_call(&mut self, number: &str, call: Call) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        account.calls.push(call);
        if account.calls.len() > MAX_CALLS {
            account.calls.remove(0);
        }
        self.touch_account(number);
    }

    fn call_became(&mut self, number: &str, id: &str, state: CallState) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        let open = |call: &&mut Call| call.id == id && matches!(call.state, CallState::Ringing | CallState::Accepted);
        if let Some(call) = account.calls.iter_mut().find(open) {
            call.state = state;
            self.touch_account(number);
        }
    }
}
