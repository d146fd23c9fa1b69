//! Questions in GraphQL (`w:mex`). Clients do not send the question but its number, which changes with the client's release; so there
//! is a table of numbers, each with the name that its release expects the answer under.

use serde_json::{Value, json};
use wacore::iq::mex_operations as current;
use wacore_binary::Node;

use super::World;
use super::account::Place;
use super::community::community_of;
use super::iq::{Answer, bad_request};
use super::newsletter::Newsletter;
use crate::error::{Code, Error};
use crate::sandbox::wire::node::{attr, bytes, el};

/// What is asked or wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Update,
    Delete,
    Fetch,
    Subscribed,
    Subscribers,
    Admins,
    Follow,
    Unfollow,
    Mute(bool),
    UserSetting,
    TimeLock,
}

/// The numbers of several releases of web and desktop clients, as far as they are publicly known.
const NUMBERS: [(&str, Operation, &str); 38] = [
    (current::create_newsletter::DOC_ID, Operation::Create, "xwa2_newsletter_create"),
    ("8823471724422422", Operation::Create, "xwa2_newsletter_create"),
    ("6234210096708695", Operation::Create, "xwa2_newsletter_create"),
    ("27527996220149684", Operation::Create, "xwa2_newsletter_create"),
    (current::update_newsletter::DOC_ID, Operation::Update, "xwa2_newsletter_update"),
    ("7150902998257522", Operation::Update, "xwa2_newsletter_update"),
    ("7839742399440946", Operation::Update, "xwa2_newsletter_update"),
    (current::delete_newsletter::DOC_ID, Operation::Delete, "xwa2_newsletter_delete_v2"),
    ("8316537688363079", Operation::Delete, "xwa2_newsletter_delete_v2"),
    (current::fetch_newsletter::DOC_ID, Operation::Fetch, "xwa2_newsletter"),
    (current::fetch_newsletter_dehydrated::DOC_ID, Operation::Fetch, "xwa2_newsletter"),
    ("6563316087068696", Operation::Fetch, "xwa2_newsletter"),
    ("7272540469429201", Operation::Fetch, "xwa2_newsletter"),
    ("6620195908089573", Operation::Fetch, "xwa2_newsletter"),
    ("9779843322044422", Operation::Fetch, "xwa2_newsletter"),
    (current::fetch_all_newsletters_metadata::DOC_ID, Operation::Subscribed, "xwa2_newsletter_subscribed"),
    ("6388546374527196", Operation::Subscribed, "xwa2_newsletter_subscribed"),
    ("8621797084555037", Operation::Subscribed, "xwa2_newsletter_subscribed"),
    (current::fetch_newsletter_followers::DOC_ID, Operation::Subscribers, "xwa2_newsletter_followers"),
    ("9783111038412085", Operation::Subscribers, "xwa2_newsletter_subscribers"),
    ("9800646650009898", Operation::Subscribers, "xwa2_newsletter_subscribers"),
    (current::fetch_newsletter_admin_info::DOC_ID, Operation::Admins, "xwa2_newsletter_admin"),
    ("7130823597031706", Operation::Admins, "xwa2_newsletter_admin"),
    (current::join_newsletter::DOC_ID, Operation::Follow, "xwa2_newsletter_join_v2"),
    ("7871414976211147", Operation::Follow, "xwa2_newsletter_join_v2"),
    ("9926858900719341", Operation::Follow, "xwa2_newsletter_join_v2"),
    (current::leave_newsletter::DOC_ID, Operation::Unfollow, "xwa2_newsletter_leave_v2"),
    ("7238632346214362", Operation::Unfollow, "xwa2_newsletter_leave_v2"),
    ("6392786840836363", Operation::Unfollow, "xwa2_newsletter_leave_v2"),
    ("8782612271820087", Operation::Unfollow, "xwa2_newsletter_leave_v2"),
    ("29766401636284406", Operation::Mute(true), "xwa2_newsletter_mute_v2"),
    ("6274038279359549", Operation::Mute(true), "xwa2_newsletter_mute_v2"),
    ("5971669009605755", Operation::Mute(true), "xwa2_newsletter_mute_v2"),
    ("9864994326891137", Operation::Mute(false), "xwa2_newsletter_unmute_v2"),
    ("6068417879924485", Operation::Mute(false), "xwa2_newsletter_unmute_v2"),
    ("6104029483058502", Operation::Mute(false), "xwa2_newsletter_unmute_v2"),
    (current::update_newsletter_user_setting::DOC_ID, Operation::UserSetting, "xwa2_newsletter_update_user_setting"),
    (current::fetch_reachout_timelock::DOC_ID, Operation::TimeLock, "xwa2_fetch_account_reachout_timelock"),
];

/// What GraphQL says when it cannot: a code and words.
type Refusal = (u16, String);

impl World {
    /// Answers a query: `{"variables": …}` with `{"data": …}`, or with `{"errors": …}`.
    pub(super) fn mex(&mut self, place: &Place, query: &Node) -> Answer {
        let asked: Value = serde_json::from_slice(&bytes(query)).map_err(|_| bad_request())?;
        let variables = asked.get("variables").unwrap_or(&Value::Null);
        let answer = match community_of(query, variables) {
            Some(group) => {
                let listed = self.list_sub_groups(&place.number, &group);
                listed.ok_or_else(|| (404, "there is no such community".to_owned()))
            }
            None => self.operate(place, &attr(query, "query_id"), variables),
        };
        let text = match answer {
            Ok(data) => json!({"data": data}),
            Err((code, why)) => json!({"data": null, "errors": [{
                "message": why,
                "extensions": {"error_code": code, "is_retryable": false, "severity": "CRITICAL"},
            }]}),
        };
        Ok(vec![el("result").bytes(text.to_string().into_bytes()).build()])
    }

    fn operate(&mut self, place: &Place, number: &str, variables: &Value) -> Result<Value, Refusal> {
        let Some((_, operation, name)) = NUMBERS.iter().find(|(known, ..)| *known == number) else {
            self.count_unknown("w:mex", number);
            return Err((400, format!("the sandbox does not know the query {number}")));
        };
        // One number of desktop clients stands for two things.
        let named = text(variables, &["newsletter_id"]).is_some();
        let operation = if *operation == Operation::Subscribed && named { Operation::Follow } else { *operation };
        let data = match operation {
            Operation::TimeLock => json!({"is_active": false}),
            Operation::Subscribed => {
                let reads = |newsletter: &&Newsletter| {
                    newsletter.owner == place.number || newsletter.followers.contains_key(&place.number)
                };
                self.newsletters.values().filter(reads).map(|newsletter| newsletter.shown_to(&place.number)).collect()
            }
            Operation::Create => {
                let input = variables.get("input").or_else(|| variables.get("newsletter_input")).unwrap_or(&Value::Null);
                let name = text(input, &["name"]).unwrap_or_default();
                let made = self.create_newsletter(&place.number, name, text(input, &["description"]).unwrap_or_default());
                self.shown(&made.map_err(refusal)?, place)
            }
            _ => self.operate_on_one(place, operation, variables)?,
        };
        Ok(json!({*name: data}))
    }

    fn operate_on_one(&mut self, place: &Place, operation: Operation, variables: &Value) -> Result<Value, Refusal> {
        let named = text(variables, &["newsletter_id"])
            .or_else(|| text(variables, &["input", "newsletter_id"]))
            .or_else(|| text(variables, &["input", "key"]));
        let newsletter =
            named.and_then(|name| self.newsletter_named(name)).ok_or_else(|| (404, "there is no such channel".to_owned()))?;
        let (id, own) = (newsletter.id.clone(), newsletter.owner == place.number);
        if !own && matches!(operation, Operation::Update | Operation::Delete | Operation::Subscribers | Operation::Admins) {
            return Err((403, "only the owner of the channel may".to_owned()));
        }
        match operation {
            Operation::Follow => self.follow_newsletter(&id, place).map_err(refusal)?,
            Operation::Unfollow => {
                self.unfollow_newsletter(&id, place).map_err(refusal)?;
                return Ok(json!({"id": format!("{id}@newsletter"), "state": {"type": "ACTIVE"}}));
            }
            Operation::Mute(muted) => self.mute_newsletter(&id, &place.number, muted).map_err(refusal)?,
            Operation::UserSetting => {
                let muted = text(variables, &["input", "value"]) == Some("ON");
                if text(variables, &["input", "type"]) == Some("MUTE_FOLLOWER_ACTIVITY") || !own {
                    self.mute_newsletter(&id, &place.number, muted).map_err(refusal)?;
                }
            }
            Operation::Update => {
                let updates = variables.get("updates").unwrap_or(&Value::Null);
                self.update_newsletter(&id, text(updates, &["name"]), text(updates, &["description"]));
            }
            Operation::Delete => {
                self.delete_newsletter(&id);
                return Ok(json!({"id": format!("{id}@newsletter"), "state": {"type": "DELETED"}}));
            }
            Operation::Subscribers => return Ok(self.subscribers(&id)),
            Operation::Admins => return Ok(json!({"id": format!("{id}@newsletter"), "admin_count": 1})),
            _ => {}
        }
        Ok(self.shown(&id, place))
    }

    fn shown(&self, id: &str, place: &Place) -> Value {
        self.newsletters.get(id).map_or(Value::Null, |newsletter| newsletter.shown_to(&place.number))
    }

    fn subscribers(&self, id: &str) -> Value {
        let newsletter = self.newsletters.get(id);
        let each = newsletter.into_iter().flat_map(|newsletter| &newsletter.followers).filter_map(|(number, follower)| {
            let person = self.accounts.get(number)?;
            Some(json!({
                "node": {"id": person.jid(0, true).to_string(), "pn": person.jid(0, false).to_string(), "display_name": person.notify},
                "role": "SUBSCRIBER",
                "subscribe_time": follower.since.to_string(),
            }))
        });
        let edges: Vec<Value> = each.collect();
        json!({
            "id": format!("{id}@newsletter"),
            "followers": {"edges": edges},
            "subscribers": {"edges": edges},
            "subscribers_count": edges.len(),
        })
    }
}

fn refusal(error: Error) -> Refusal {
    let code = match error.code {
        Code::NotFound => 404,
        Code::Conflict => 409,
        _ => 400,
    };
    (code, error.message)
}

fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, key| value.get(key))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_for_one_thing() {
        let numbers: std::collections::BTreeSet<&str> = NUMBERS.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers.len(), NUMBERS.len());
    }
}
