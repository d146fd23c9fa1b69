//! What accounts tell about themselves and to whom: about, pictures, privacy, blocked numbers.

use wacore_binary::{Jid, JidExt as _, Node};

use super::World;
use super::account::{Account, Picture, Place};
use super::iq::{Answer, bad_request};
use crate::sandbox::keys::Blob;
use crate::sandbox::wire::node::{attr, bytes, child_bytes, children, el, jid, text};

/// What an account's privacy settings are about.
const PRIVACY: [&str; 8] = ["readreceipts", "last", "online", "profile", "status", "groupadd", "calladd", "messages"];

/// A picture's largest size.
const MAX_PICTURE: usize = 512 * 1024;

impl World {
    /// Answers a question about people; `None` when it is not one.
    pub(super) fn contact_question(&mut self, place: &Place, question: &Node, namespace: &str, kind: &str) -> Option<Answer> {
        let child = children(question).first();
        Some(match (namespace, child.map(|child| child.tag.as_ref()), kind) {
            ("blocklist", _, "get") => Ok(vec![self.block_list(&place.number)]),
            ("blocklist", Some("item"), "set") => self.block(place, child?),
            ("privacy", Some("privacy"), "get") => self.privacy(&place.number),
            ("privacy", Some("privacy"), "set") => self.set_privacy(place, child?),
            ("privacy", Some("tokens"), "set") => self.issue_tokens(place, child?),
            ("status", Some("status"), "set") => {
                self.set_about(&place.number, &text(child?));
                Ok(Vec::new())
            }
            ("w:profile:picture", _, "get") => self.picture(place, question),
            ("w:profile:picture", _, "set") => self.set_picture(place, question, child),
            ("disappearing_mode", _, "set") => Ok(Vec::new()),
            ("w:biz", Some("business_profile"), "get") => Ok(vec![self.business_profiles(child?)]),
            _ => return None,
        })
    }

    /// Whether `owner` lets `asker` see this. Contacts are those in the address book and those who got a token.
    pub(super) fn may_see(&self, owner: &Account, asker: &str, what: &str) -> bool {
        self.lets_see(owner, asker, what, self.trusts(owner, asker))
    }

    /// The same where a token has to be shown: `known` is whether it was.
    pub(super) fn lets_see(&self, owner: &Account, asker: &str, what: &str, known: bool) -> bool {
        owner.number == asker
            || !owner.blocked.contains(asker)
                && match owner.privacy.get(what).map(String::as_str) {
                    None | Some("all") => true,
                    Some("match_last_seen") => self.lets_see(owner, asker, "last", known),
                    Some("contacts" | "contact_blacklist") => known || owner.contacts.contains_key(asker),
                    Some(_) => false,
                }
    }

    /// Whether `number` does not want to hear of `from`.
    pub(in crate::sandbox) fn blocks(&self, number: &str, from: &str) -> bool {
        self.accounts.get(number).is_some_and(|account| account.blocked.contains(from))
    }

    // -- about and pictures

    /// Changes what an account tells about itself, and tells those who know it.
    pub(in crate::sandbox) fn set_about(&mut self, number: &str, about: &str) {
        let now = self.now_secs();
        let Some(account) = self.accounts.get_mut(number) else { return };
        account.about = (about.to_owned(), now);
        self.touch_account(number);
        self.tell_contacts(number, "status", el("set").string_content(about.to_owned()).build());
    }

    fn tell_contacts(&mut self, number: &str, kind: &'static str, news: Node) {
        let Some(account) = self.accounts.get(number) else { return };
        let mut listeners: Vec<String> = account
            .peers
            .iter()
            .filter(|peer| self.may_see(account, peer, if kind == "status" { "status" } else { "profile" }))
            .cloned()
            .collect();
        listeners.push(number.to_owned());
        let notification = el("notification")
            .attr("from", account.jid(0, self.lid_addressing))
            .attr("type", kind)
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .attr("notify", account.notify.clone())
            .children([news])
            .build();
        self.tell_devices(&listeners, &notification);
    }

    pub(super) fn tell_devices(&mut self, numbers: &[String], notification: &Node) {
        for number in numbers {
            for place in self.all_devices(number).into_iter().filter(|place| place.device != 0) {
                self.deliver(&place, notification.clone());
            }
        }
    }

    fn picture(&self, place: &Place, question: &Node) -> Answer {
        let wish = question.get_optional_child("picture").ok_or_else(bad_request)?;
        let target = jid(question, "target").or_else(|| jid(question, "to")).ok_or_else(bad_request)?;
        let picture = if target.is_group() {
            let group = self.groups.get(target.user.as_str()).ok_or((404, "item-not-found"))?;
            group.picture.as_ref().filter(|_| group.members.contains_key(&place.number))
        } else {
            let owner = self.number_of(&target).and_then(|number| self.accounts.get(&number));
            let owner = owner.ok_or((404, "item-not-found"))?;
            let known = self.is_token(owner, &place.number, child_bytes(wish, "tctoken").as_deref());
            if !self.lets_see(owner, &place.number, "profile", known) {
                return Err((401, "not-authorized"));
            }
            owner.picture.as_ref()
        };
        let picture = picture.ok_or((404, "item-not-found"))?;
        if attr(wish, "id") == picture.id {
            // The asker has it already.
            return Ok(vec![el("picture").build()]);
        }
        let path = format!("/v/picture/{}.jpg", picture.id);
        let kind = attr(wish, "type");
        let answer = el("picture").attr("id", picture.id.clone()).attr("type", kind);
        Ok(vec![if attr(wish, "query") == "url" {
            answer.attr("url", format!("https://pps.whatsapp.net{path}")).attr("direct_path", path).build()
        } else {
            answer.bytes(picture.bytes.0.clone()).build()
        }])
    }

    fn set_picture(&mut self, place: &Place, question: &Node, picture: Option<&Node>) -> Answer {
        let content = picture.map(bytes).filter(|bytes| !bytes.is_empty());
        if content.as_ref().is_some_and(|content| content.len() > MAX_PICTURE) {
            return Err((406, "not-acceptable"));
        }
        let id = match jid(question, "target").filter(Jid::is_group) {
            Some(group) => self.set_group_picture(place, &group.user, content)?,
            None => self.set_own_picture(&place.number, content),
        };
        Ok(id.map(|id| el("picture").attr("id", id).build()).into_iter().collect())
    }

    /// Changes or removes an account's picture, and tells those who know it. Gives the new picture's id.
    pub(in crate::sandbox) fn set_own_picture(&mut self, number: &str, content: Option<Vec<u8>>) -> Option<String> {
        let picture = content.map(|bytes| Picture { id: self.picture_id(), bytes: Blob(bytes) });
        let id = picture.as_ref().map(|picture| picture.id.clone());
        self.accounts.get_mut(number)?.picture = picture;
        self.touch_account(number);
        let own = self.member_jid(number);
        self.tell_contacts(number, "picture", picture_news(id.as_deref(), own.clone(), own));
        id
    }

    fn set_group_picture(
        &mut self,
        place: &Place,
        id: &str,
        content: Option<Vec<u8>>,
    ) -> Result<Option<String>, (u16, &'static str)> {
        let picture = content.map(|bytes| Picture { id: self.picture_id(), bytes: Blob(bytes) });
        let picture_id = picture.as_ref().map(|picture| picture.id.clone());
        let group = self.group_of(id, &place.number)?;
        if group.locked && !group.is_admin(&place.number) {
            return Err((403, "forbidden"));
        }
        group.picture = picture;
        let members: Vec<String> = group.members.keys().cloned().collect();
        self.touch_group(id);
        let group = Jid::group(id);
        let notification = el("notification")
            .attr("from", group.clone())
            .attr("type", "picture")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([picture_news(picture_id.as_deref(), group, self.member_jid(&place.number))])
            .build();
        self.tell_devices(&members, &notification);
        Ok(picture_id)
    }

    fn picture_id(&self) -> String {
        (u64::from(u32::from_be_bytes(self.ambient.random())) + 1_000_000_000).to_string()
    }

    // -- privacy

    fn privacy(&self, number: &str) -> Answer {
        let account = self.accounts.get(number).ok_or_else(bad_request)?;
        let value = |name: &str| account.privacy.get(name).map_or("all", String::as_str).to_owned();
        let category = |name: &&'static str| el("category").attr("name", *name).attr("value", value(name)).build();
        Ok(vec![el("privacy").children(PRIVACY.iter().map(category)).build()])
    }

    fn set_privacy(&mut self, place: &Place, wish: &Node) -> Answer {
        for category in wish.get_children_by_tag("category") {
            self.change_privacy(&place.number, &attr(category, "name"), &attr(category, "value"))?;
        }
        self.privacy(&place.number)
    }

    /// Changes who may see or do this.
    pub(in crate::sandbox) fn change_privacy(
        &mut self,
        number: &str,
        name: &str,
        value: &str,
    ) -> Result<(), (u16, &'static str)> {
        let account = self.accounts.get_mut(number).ok_or_else(bad_request)?;
        if !PRIVACY.contains(&name) || value.is_empty() || value.len() > 32 {
            return Err(bad_request());
        }
        account.privacy.insert(name.to_owned(), value.to_owned());
        self.touch_account(number);
        Ok(())
    }

    fn block_list(&self, number: &str) -> Node {
        let blocked = self.accounts.get(number).map(|account| account.blocked.iter());
        let items: Vec<Node> = blocked
            .into_iter()
            .flatten()
            .map(|number| {
                el("item")
                    .attr("jid", self.accounts.get(number).map_or_else(|| Jid::pn(number.as_str()), |it| it.jid(0, true)))
                    .build()
            })
            .collect();
        el("list").attr("dhash", self.block_hash(number)).children(items).build()
    }

    /// Changes whenever the list does.
    fn block_hash(&self, number: &str) -> String {
        let blocked = self.accounts.get(number).map(|account| account.blocked.len()).unwrap_or_default();
        format!("{blocked}-{}", self.now_secs())
    }

    pub(in crate::sandbox) fn block(&mut self, place: &Place, item: &Node) -> Answer {
        let target = jid(item, "jid").and_then(|jid| self.number_of(&jid)).ok_or((404, "item-not-found"))?;
        let account = self.accounts.get_mut(&place.number).ok_or_else(bad_request)?;
        match attr(item, "action").as_str() {
            "block" => account.blocked.insert(target),
            "unblock" => account.blocked.remove(&target),
            _ => return Err(bad_request()),
        };
        self.touch_account(&place.number);
        // The account's other devices look at the list again.
        let news =
            el("blocklist").attr("action", "modify").attr("dhash", self.block_hash(&place.number)).children([item.clone()]);
        let notification = el("notification")
            .attr("from", Jid::pn(place.number.as_str()))
            .attr("type", "account_sync")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([news.build()])
            .build();
        for other in self.other_devices(place).into_iter().filter(|other| other.device != 0) {
            self.deliver(&other, notification.clone());
        }
        Ok(vec![self.block_list(&place.number)])
    }
}

fn picture_news(id: Option<&str>, of: Jid, author: Jid) -> Node {
    match id {
        Some(id) => el("set").attr("jid", of).attr("id", id.to_owned()).attr("author", author).build(),
        None => el("delete").attr("jid", of).attr("author", author).build(),
    }
}
