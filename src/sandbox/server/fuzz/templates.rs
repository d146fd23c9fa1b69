//! What the fuzzer damages.

use wacore_binary::{Jid, Node};

use super::{BOB, Small, question};
use crate::sandbox::wire::node::el;

impl Small {
    /// The stanzas of a working client, as the real library sends them.
    pub(super) fn templates(&self) -> Vec<Node> {
        let group = Jid::group(self.group.as_str());
        let bob = self.world.known(BOB).unwrap();
        let (bob, bobs) = (bob.jid(0, true), bob.jid(1, true));
        let enc = |kind: &'static str| el("enc").attr("v", "2").attr("type", kind).bytes(vec![0x33; 80]).build();
        let to = |jid: &Jid| el("to").attr("jid", jid.clone()).children([enc("pkmsg")]).build();
        let participant = || el("participant").attr("jid", bob.clone()).build();
        let key = |id: u8| el("key").children([el("id").bytes(vec![0, 0, id]).build(), el("value").bytes(vec![id; 32]).build()]);
        let signed = || {
            let signature = el("signature").bytes(vec![5; 64]).build();
            el("skey")
                .children([el("id").bytes(vec![0, 0, 1]).build(), el("value").bytes(vec![4; 32]).build(), signature])
                .build()
        };
        let in_group = |child: Node| {
            el("iq").attr("xmlns", "w:g2").attr("to", group.clone()).attr("id", "1").attr("type", "set").children([child]).build()
        };
        let message = |chat: &Jid| el("message").attr("to", chat.clone()).attr("id", "3AFUZZ").attr("type", "text");
        let mut all = vec![
            message(&bob)
                .children([
                    el("participants").children([to(&bob), to(&bobs)]).build(),
                    el("device-identity").bytes(vec![1; 9]).build(),
                    el("cstoken").bytes(vec![1; 32]).build(),
                ])
                .build(),
            message(&bobs).children([enc("msg")]).build(),
            message(&group)
                .attr("phash", "2:abc")
                .attr("addressing_mode", "lid")
                .children([el("participants").children([to(&bobs)]).build(), enc("skmsg")])
                .build(),
            message(&Jid::status_broadcast()).children([el("participants").children([to(&bobs)]).build(), enc("skmsg")]).build(),
            el("receipt").attr("to", bob.clone()).attr("id", "3AFUZZ").build(),
            el("receipt")
                .attr("to", bobs.clone())
                .attr("id", "3AFUZZ")
                .attr("type", "read")
                .attr("t", "1800000000")
                .children([el("list").children([el("item").attr("id", "3B").build()]).build()])
                .build(),
            el("receipt")
                .attr("to", bobs.clone())
                .attr("id", "3AFUZZ")
                .attr("type", "retry")
                .children([
                    el("retry").attr("v", "1").attr("id", "3AFUZZ").attr("t", "1").attr("count", "2").build(),
                    el("registration").bytes(vec![0, 0, 0, 7]).build(),
                    el("keys")
                        .children([
                            el("type").bytes(vec![5]).build(),
                            el("identity").bytes(vec![2; 32]).build(),
                            key(1).build(),
                            signed(),
                        ])
                        .build(),
                ])
                .build(),
            el("receipt")
                .attr("to", group.clone())
                .attr("participant", bobs.clone())
                .attr("id", "3A")
                .attr("type", "read-self")
                .build(),
            el("ack").attr("class", "notification").attr("to", bob.clone()).attr("id", "3A").attr("type", "devices").build(),
            el("presence").attr("type", "available").attr("name", "Fuzz").build(),
            el("presence")
                .attr("type", "subscribe")
                .attr("to", bob.clone())
                .children([el("tctoken").bytes(vec![1; 16]).build()])
                .build(),
            el("chatstate").attr("to", bob.clone()).children([el("composing").attr("media", "audio").build()]).build(),
            el("chatstate").attr("to", group.clone()).children([el("paused").build()]).build(),
            el("ib").children([el("offline_batch").attr("count", "200").build()]).build(),
            el("ib").children([el("unified_session").attr("id", "1").build()]).build(),
            el("iq")
                .attr("type", "result")
                .attr("id", "1")
                .children([el("pair-device-sign")
                    .children([el("device-identity").attr("key-index", "1").bytes(vec![9; 60]).build()])
                    .build()])
                .build(),
            el("call")
                .attr("to", bob.clone())
                .attr("id", "1")
                .children([el("reject").attr("call-id", "1").attr("call-creator", bob.clone()).build()])
                .build(),
            in_group(el("subject").string_content("new").build()),
            in_group(el("description").attr("id", "1").children([el("body").string_content("new").build()]).build()),
            in_group(el("add").children([participant()]).build()),
            in_group(el("remove").children([participant()]).build()),
            in_group(el("promote").children([participant()]).build()),
            in_group(el("ephemeral").attr("expiration", "86400").build()),
            in_group(el("membership_approval_mode").children([el("group_join").attr("state", "on").build()]).build()),
            in_group(el("membership_requests_action").children([el("approve").children([participant()]).build()]).build()),
            in_group(
                el("links")
                    .children([el("link")
                        .attr("link_type", "sub_group")
                        .children([el("group").attr("jid", group.clone()).build()])
                        .build()])
                    .build(),
            ),
            in_group(el("invite").build()),
            in_group(el("query").attr("request", "interactive").build()),
        ];
        let own = |namespace: &'static str, kind: &'static str, child: Node| question(namespace, kind, child);
        all.extend([
            own("w:g2", "set", el("create").attr("subject", "x").children([participant()]).build()),
            own("w:g2", "get", el("participating").children([el("participants").build()]).build()),
            own("w:g2", "set", el("leave").children([el("group").attr("id", group.clone()).build()]).build()),
            own("w:g2", "get", el("invite").attr("code", "ABCDEF").build()),
            own("encrypt", "get", el("count").build()),
            own("encrypt", "get", el("digest").build()),
            own(
                "encrypt",
                "get",
                el("key").children([el("user").attr("jid", bobs.clone()).attr("reason", "identity").build()]).build(),
            ),
            own("encrypt", "set", el("rotate").children([signed()]).build()),
            el("iq")
                .attr("xmlns", "encrypt")
                .attr("type", "set")
                .attr("id", "1")
                .attr("to", "s.whatsapp.net")
                .children([
                    el("registration").bytes(vec![0, 0, 0, 7]).build(),
                    el("type").bytes(vec![5]).build(),
                    el("identity").bytes(vec![3; 32]).build(),
                    el("list").children([key(1).build(), key(2).build()]).build(),
                    signed(),
                ])
                .build(),
            own(
                "usync",
                "get",
                el("usync")
                    .attr("sid", "1")
                    .attr("mode", "query")
                    .attr("context", "interactive")
                    .attr("index", "0")
                    .attr("last", "true")
                    .children([
                        el("query")
                            .children([
                                el("contact").build(),
                                el("lid").build(),
                                el("devices").attr("version", "2").build(),
                                el("status").build(),
                                el("picture").build(),
                                el("business").build(),
                            ])
                            .build(),
                        el("list")
                            .children([
                                el("user").children([el("contact").string_content(format!("+{BOB}")).build()]).build(),
                                el("user").attr("jid", bob.clone()).build(),
                            ])
                            .build(),
                    ])
                    .build(),
            ),
            own(
                "w:sync:app:state",
                "set",
                el("sync")
                    .children([
                        el("collection")
                            .attr("name", "regular")
                            .attr("version", "0")
                            .attr("return_snapshot", "false")
                            .children([el("patch").bytes(vec![8; 40]).build()])
                            .build(),
                        el("collection")
                            .attr("name", "critical_block")
                            .attr("version", "0")
                            .attr("return_snapshot", "true")
                            .build(),
                    ])
                    .build(),
            ),
            own(
                "w:mex",
                "get",
                el("query")
                    .attr("query_id", "25399611239711790")
                    .string_content(r#"{"variables":{"input":{"a":[1,{"b":null}]}}}"#)
                    .build(),
            ),
            own("passive", "set", el("active").build()),
            own("md", "set", el("remove-companion-device").attr("jid", bobs.clone()).attr("reason", "user_initiated").build()),
            own(
                "md",
                "set",
                el("link_code_companion_reg")
                    .attr("jid", Jid::pn(BOB))
                    .attr("stage", "companion_hello")
                    .children([
                        el("link_code_pairing_wrapped_companion_ephemeral_pub").bytes(vec![1; 80]).build(),
                        el("companion_server_auth_key_pub").bytes(vec![1; 32]).build(),
                        el("companion_platform_id").string_content("1").build(),
                        el("companion_platform_display").string_content("Chrome").build(),
                        el("link_code_pairing_nonce").string_content("0").build(),
                    ])
                    .build(),
            ),
            own("md", "get", el("ref").build()),
            own("md", "set", el("passkey_prologue").bytes(vec![1; 60]).build()),
            own("w:m", "set", el("media_conn").build()),
            own("w:profile:picture", "get", el("picture").attr("type", "preview").attr("query", "url").build()),
            own("w:profile:picture", "set", el("picture").attr("type", "image").bytes(vec![0xff, 0xd8, 0xff]).build()),
            own("status", "set", el("status").string_content("busy").build()),
            own("privacy", "get", el("privacy").build()),
            own(
                "privacy",
                "set",
                el("privacy").children([el("category").attr("name", "last").attr("value", "none").build()]).build(),
            ),
            own(
                "privacy",
                "set",
                el("tokens")
                    .children([el("token").attr("jid", bob.clone()).attr("t", "1").attr("type", "trusted_contact").build()])
                    .build(),
            ),
            own("blocklist", "get", el("list").build()),
            own("blocklist", "set", el("item").attr("jid", bob.clone()).attr("action", "block").build()),
            own("disappearing_mode", "set", el("disappearing_mode").attr("duration", "86400").build()),
            own(
                "w:biz",
                "get",
                el("business_profile").attr("v", "116").children([el("profile").attr("jid", bob.clone()).build()]).build(),
            ),
            own("newsletter", "get", el("messages").attr("count", "10").attr("before", "100").build()),
            own("urn:xmpp:whatsapp:dirty", "set", el("clean").attr("type", "groups").attr("timestamp", "1").build()),
            own("abt", "get", el("props").attr("protocol", "1").build()),
            own("w:p", "get", el("ping").build()),
        ]);
        all
    }
}
