//! The services about a session's directory, put onto the edge.

use tonic::service::Routes;

use crate::api::backfill::Backfills;
use crate::api::chats::Chats;
use crate::api::contacts::Contacts;
use crate::api::group_members::GroupMembers;
use crate::api::groups::Groups;
use crate::api::media::Files;
use crate::api::message_actions::MessageActions;
use crate::domain::clock::Ambient;
use crate::proto::gateway::backfill_service_server::BackfillServiceServer;
use crate::proto::gateway::chat_service_server::ChatServiceServer;
use crate::proto::gateway::community_service_server::CommunityServiceServer;
use crate::proto::gateway::contact_service_server::ContactServiceServer;
use crate::proto::gateway::group_member_service_server::GroupMemberServiceServer;
use crate::proto::gateway::group_service_server::GroupServiceServer;
use crate::proto::gateway::media_service_server::MediaServiceServer;
use crate::proto::gateway::message_action_service_server::MessageActionServiceServer;
use crate::service::Service;

/// Adds chats, contacts, groups, communities, backfills, files and what is done to messages.
pub(super) fn services(routes: Routes, service: &Service, ambient: &Ambient) -> Routes {
    let backfills = Backfills { service: service.clone(), ambient: ambient.clone() };
    routes
        .add_service(ChatServiceServer::new(Chats(service.clone())))
        .add_service(ContactServiceServer::new(Contacts(service.clone())))
        .add_service(GroupServiceServer::new(Groups(service.clone())))
        .add_service(GroupMemberServiceServer::new(GroupMembers(service.clone())))
        .add_service(CommunityServiceServer::new(Groups(service.clone())))
        .add_service(BackfillServiceServer::new(backfills))
        .add_service(MessageActionServiceServer::new(MessageActions(service.clone())))
        .add_service(MediaServiceServer::new(Files::new(service.clone(), ambient.clone())))
}
