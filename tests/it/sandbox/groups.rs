//! Groups and communities: what members see, who may do what, and messages to all.

use wacore::stanza::groups::GroupNotificationAction as Action;
use wacore::types::events::Event;
use wacore_binary::Jid;
use whatsapp_gateway::sandbox::{MessageState, PhoneMessage};
use whatsapp_rust::{
    CreateCommunityOptions, GroupCreateOptions, GroupDescription, GroupParticipantOptions, GroupSubject, JoinGroupResult,
    MemberAddMode, MembershipApprovalMode, PreviousDescription,
};

use super::client::{ALICE, BOB, Peer, Running};

const CAROL: &str = "5511900000003";
const NOBODY: &str = "5511900000099";

fn readable(text: &str) -> impl Fn(&[PhoneMessage]) -> Option<PhoneMessage> {
    move |rows| rows.iter().find(|row| row.text == text && row.state != MessageState::Undecryptable).cloned()
}

async fn three() -> Running {
    let running = Running::with_phones().await;
    running.sandbox.create_phone(CAROL, "Carol", true).await.unwrap();
    running
}

async fn group(alice: &Peer, members: &[&str]) -> Jid {
    let participants = members.iter().map(|number| GroupParticipantOptions::new(Jid::pn(*number))).collect();
    let options = GroupCreateOptions::new("Friends").with_participants(participants);
    alice.client.groups().create_group(options).await.unwrap().metadata.id
}

/// Waits for one kind of news about a group.
async fn news<T>(peer: &Peer, what: &str, found: impl Fn(&Action) -> Option<T>) -> T {
    peer.wait(what, |event| match event {
        Event::GroupUpdate(update) => found(&update.action),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_group_is_made_and_all_its_devices_write_to_each_other() {
    let running = three().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let group = group(&alice, &[BOB, CAROL]).await;
    news(&bob, "bob hears of the group", |action| matches!(action, Action::Create { .. }).then_some(())).await;
    let seen = bob.client.groups().get_metadata(&group).await.unwrap();
    assert_eq!((seen.subject.as_str(), seen.participants.len()), ("Friends", 3));
    assert_eq!(bob.client.groups().get_participating().await.unwrap().len(), 1);

    alice.client.send_text(group.clone(), "from alice's device").await.unwrap();
    bob.text("from alice's device").await;
    for phone in [ALICE, BOB, CAROL] {
        let row = running.messages(phone, "on every phone", readable("from alice's device")).await;
        assert_eq!((row.chat, row.sender), (group.to_string(), format!("{ALICE}@s.whatsapp.net")));
    }
    // The second one needs no more keys.
    alice.client.send_text(group.clone(), "once more").await.unwrap();
    bob.text("once more").await;
    running.messages(CAROL, "the second one", readable("once more")).await;

    // Phones write too, and their messages become delivered and read.
    running.sandbox.send_message(CAROL, &group.to_string(), "from carol's phone").await.unwrap();
    alice.text("from carol's phone").await;
    bob.text("from carol's phone").await;
    running.messages(BOB, "on bob's phone", readable("from carol's phone")).await;
    let read = |rows: &[PhoneMessage]| {
        rows.iter().any(|r| r.text == "from carol's phone" && r.state == MessageState::Read).then_some(())
    };
    running.messages(CAROL, "read by the others", read).await;
    bob.client.send_text(group.clone(), "from bob's device").await.unwrap();
    alice.text("from bob's device").await;
    running.messages(CAROL, "bob's", readable("from bob's device")).await;
}

#[tokio::test]
async fn who_leaves_reads_no_more_and_who_returns_does() {
    let running = three().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let group = group(&alice, &[BOB, CAROL]).await;
    alice.client.send_text(group.clone(), "all three").await.unwrap();
    bob.text("all three").await;
    running.sandbox.send_message(CAROL, &group.to_string(), "carol to all").await.unwrap();
    bob.text("carol to all").await;

    bob.client.groups().leave(group.clone()).await.unwrap();
    let who = news(&alice, "bob left", |action| match action {
        Action::Remove { participants, .. } => Some(participants.clone()),
        _ => None,
    });
    assert_eq!(who.await.len(), 1);
    assert!(bob.client.groups().get_metadata(&group).await.is_err(), "not a member any more");
    assert!(running.sandbox.send_message(BOB, &group.to_string(), "x").await.is_err());
    alice.client.send_text(group.clone(), "without bob").await.unwrap();
    running.sandbox.send_message(CAROL, &group.to_string(), "carol without bob").await.unwrap();
    running.messages(CAROL, "two are left", readable("without bob")).await;
    alice.text("carol without bob").await;

    let code = alice.client.groups().get_invite_link(group.clone(), false).await.unwrap();
    assert_eq!(bob.client.groups().get_invite_info(&code).await.unwrap().subject, "Friends");
    assert_eq!(bob.client.groups().join_with_invite_code(&code).await.unwrap(), JoinGroupResult::Joined(group.clone()));
    news(&alice, "bob is back", |action| matches!(action, Action::Add { .. }).then_some(())).await;
    alice.client.send_text(group.clone(), "bob again").await.unwrap();
    bob.text("bob again").await;
    running.sandbox.send_message(CAROL, &group.to_string(), "carol again").await.unwrap();
    bob.text("carol again").await;
    let rows = running.sandbox.list_messages(BOB, None).await.unwrap();
    assert!(rows.iter().all(|row| !row.text.contains("without bob")), "{rows:?}");
}

#[tokio::test]
async fn settings_are_told_to_everybody_also_later() {
    let running = three().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let group = group(&alice, &[BOB, CAROL]).await;
    news(&bob, "the group", |action| matches!(action, Action::Create { .. }).then_some(())).await;
    let groups = alice.client.groups();
    groups.set_subject(group.clone(), GroupSubject::new("Enemies").unwrap()).await.unwrap();
    let subject = news(&bob, "a subject", |action| match action {
        Action::Subject { subject, .. } => Some(subject.clone()),
        _ => None,
    });
    assert_eq!(subject.await, "Enemies");
    groups
        .set_description(group.clone(), Some(GroupDescription::new("All about us").unwrap()), PreviousDescription::Resolve)
        .await
        .unwrap();
    let description = news(&bob, "a description", |action| match action {
        Action::Description { description, .. } => description.clone(),
        _ => None,
    });
    assert_eq!(description.await, "All about us");
    // Who is away hears of it later, in order.
    let backend = bob.stop().await;
    running.phone(BOB, "offline", |phone| (!phone.devices[0].online).then_some(())).await;
    groups.set_locked(group.clone(), true).await.unwrap();
    groups.set_announce(group.clone(), true).await.unwrap();
    groups.set_ephemeral(group.clone(), 86400).await.unwrap();
    groups.set_membership_approval(group.clone(), MembershipApprovalMode::On).await.unwrap();
    groups.set_member_add_mode(group.clone(), MemberAddMode::AdminAdd).await.unwrap();
    let bob = Peer::new(running.address, backend, None).await;
    let mut told = Vec::new();
    bob.wait("all five, in order", |event| {
        if let Event::GroupUpdate(update) = event {
            told.push(match &update.action {
                Action::Locked { .. } => "locked",
                Action::Announce => "announce",
                Action::Ephemeral { expiration: 86400, .. } => "ephemeral",
                Action::MembershipApprovalMode { enabled: true } => "approval",
                Action::MemberAddMode { .. } => "add mode",
                _ => "other",
            });
        }
        (told.len() == 5).then_some(())
    })
    .await;
    assert_eq!(told, ["locked", "announce", "ephemeral", "approval", "add mode"]);
    let seen = bob.client.groups().get_metadata(&group).await.unwrap();
    assert!(seen.is_locked && seen.is_announcement && seen.membership_approval);
    assert_eq!(seen.description.as_deref(), Some("All about us"));
    // Bob is no admin: he may neither change it nor write.
    assert!(bob.client.groups().set_subject(group.clone(), GroupSubject::new("Mine").unwrap()).await.is_err());
    assert!(bob.client.groups().add_participants(group.clone(), &[Jid::pn(CAROL)]).await.is_err());
    let sent = bob.client.send_text(group.clone(), "may I?").await.unwrap();
    let refused = bob.wait("a refusal", |event| match event {
        Event::ServerAck(ack) if ack.id == sent.message_id => ack.error.clone(),
        _ => None,
    });
    assert_eq!(refused.await, "403");
}

#[tokio::test]
async fn members_come_and_go_each_with_a_code() {
    let running = three().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let group = group(&alice, &[BOB]).await;
    let groups = alice.client.groups();
    let codes = |results: Vec<wacore::iq::groups::ParticipantChangeResponse>| -> Vec<Option<String>> {
        results.into_iter().map(|result| result.error).collect()
    };
    let added = groups.add_participants(group.clone(), &[Jid::pn(CAROL), Jid::pn(BOB), Jid::pn(NOBODY)]).await.unwrap();
    assert_eq!(codes(added), [None, Some("409".into()), Some("404".into())]);
    let changed = groups.promote_participants(group.clone(), &[Jid::pn(BOB), Jid::pn(NOBODY)]).await.unwrap();
    assert_eq!(codes(changed), [None, Some("404".into())]);
    news(&bob, "bob is an admin", |action| matches!(action, Action::Promote { .. }).then_some(())).await;
    let removed = bob.client.groups().remove_participants(group.clone(), &[Jid::pn(CAROL), Jid::pn(ALICE)]).await.unwrap();
    assert_eq!(codes(removed), [None, Some("405".into())], "nobody puts out the founder");
    let demoted = groups.demote_participants(group.clone(), &[Jid::pn(BOB)]).await.unwrap();
    assert_eq!(codes(demoted), [None]);
    assert!(bob.client.groups().get_invite_link(group.clone(), false).await.is_err(), "for admins only");
    let before = groups.get_invite_link(group.clone(), false).await.unwrap();
    let after = groups.get_invite_link(group.clone(), true).await.unwrap();
    assert_ne!(before, after);
    assert!(bob.client.groups().get_invite_info(&before).await.is_err(), "a code that was reset is worth nothing");
    // The founder goes: somebody else takes over.
    groups.leave(group.clone()).await.unwrap();
    let seen = bob.client.groups().get_metadata(&group).await.unwrap();
    assert!(seen.participants.len() == 1 && seen.participants[0].is_admin());
}

#[tokio::test]
async fn who_wants_to_join_waits_for_an_admin() {
    let running = three().await;
    let (alice, bob, carol) = (running.linked(ALICE).await, running.linked(BOB).await, running.linked(CAROL).await);
    let group = group(&alice, &[]).await;
    let groups = alice.client.groups();
    groups.set_membership_approval(group.clone(), MembershipApprovalMode::On).await.unwrap();
    let code = groups.get_invite_link(group.clone(), false).await.unwrap();
    for peer in [&bob, &carol] {
        let waits = peer.client.groups().join_with_invite_code(&code).await.unwrap();
        assert_eq!(waits, JoinGroupResult::PendingApproval(group.clone()));
    }
    news(&alice, "requests", |action| matches!(action, Action::CreatedMembershipRequests { .. }).then_some(())).await;
    let requests = groups.get_membership_requests(group.clone()).await.unwrap();
    assert_eq!(requests.len(), 2);
    let approved = groups.approve_membership_requests(group.clone(), &[Jid::pn(BOB)]).await.unwrap();
    let rejected = groups.reject_membership_requests(group.clone(), &[Jid::pn(CAROL)]).await.unwrap();
    assert!(approved[0].is_ok() && rejected[0].is_ok());
    news(&bob, "bob is in", |action| matches!(action, Action::Add { .. }).then_some(())).await;
    assert!(carol.client.groups().get_metadata(&group).await.is_err());
    assert!(groups.get_membership_requests(group.clone()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_community_has_groups() {
    let running = three().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let mut options = CreateCommunityOptions::new("Village");
    options.create_general_chat = true;
    let community = alice.client.community().create(options).await.unwrap().metadata.id;
    let kinds = async || {
        let listed = alice.client.community().get_subgroups(&community).await.unwrap();
        let mut kinds: Vec<_> = listed.into_iter().map(|g| (g.subject, g.is_default_sub_group, g.is_general_chat)).collect();
        kinds.sort();
        kinds
    };
    let (news_group, general) = (("Announcements".to_owned(), true, false), ("General".to_owned(), false, true));
    assert_eq!(kinds().await, [news_group.clone(), general.clone()]);
    let group = group(&alice, &[BOB]).await;
    let linked = alice.client.community().link_subgroups(community.clone(), std::slice::from_ref(&group)).await.unwrap();
    assert_eq!(linked.linked_jids, std::slice::from_ref(&group));
    news(&bob, "the group moved", |action| matches!(action, Action::Link { .. }).then_some(())).await;
    assert_eq!(kinds().await, [news_group.clone(), ("Friends".to_owned(), false, false), general.clone()]);
    // A member of one group of the community may join another.
    let listed = bob.client.community().get_subgroups(&community).await.unwrap();
    let general_id = listed.iter().find(|group| group.is_general_chat).unwrap().id.clone();
    let joined = bob.client.community().join_subgroup(community.clone(), general_id).await.unwrap();
    assert_eq!(joined.participants.len(), 2);
    assert_eq!(alice.client.community().get_linked_groups_participants(community.clone()).await.unwrap().len(), 2);
    let unlinked =
        alice.client.community().unlink_subgroups(community.clone(), std::slice::from_ref(&group), false).await.unwrap();
    assert_eq!(unlinked.unlinked_jids, [group]);
    assert_eq!(kinds().await, [news_group, general]);
    alice.client.community().deactivate(community.clone()).await.unwrap();
    assert!(alice.client.groups().get_metadata(&community).await.is_err());
}

#[tokio::test]
async fn a_damaged_group_message_is_asked_for_again() {
    use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};
    let running = three().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let group = group(&alice, &[BOB, CAROL]).await;
    for number in [BOB, CAROL] {
        running.sandbox.create_fault(FaultSpec { phone_number: number.into(), ..FaultSpec::once(FaultKind::Corrupt) }).unwrap();
    }
    alice.client.send_text(group.clone(), "damaged on the way").await.unwrap();
    running.messages(CAROL, "carol's phone got it in the end", readable("damaged on the way")).await;
    bob.text("damaged on the way").await;
    // The other way round: a phone resends what it wrote to a group.
    running.sandbox.create_fault(FaultSpec { phone_number: ALICE.into(), ..FaultSpec::once(FaultKind::Corrupt) }).unwrap();
    running.sandbox.send_message(CAROL, &group.to_string(), "damaged too").await.unwrap();
    alice.text("damaged too").await;
    running.messages(ALICE, "on the phone too", readable("damaged too")).await;
}
