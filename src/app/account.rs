//! The services about the account behind a session, put onto the edge.

use tonic::service::Routes;

use crate::api::labels::Labels;
use crate::api::presence::Presence;
use crate::api::profile::Profile;
use crate::proto::gateway::label_service_server::LabelServiceServer;
use crate::proto::gateway::presence_service_server::PresenceServiceServer;
use crate::proto::gateway::profile_service_server::ProfileServiceServer;
use crate::service::Service;

/// Adds presence, profile, privacy, calls and labels.
pub(super) fn services(routes: Routes, service: &Service) -> Routes {
    routes
        .add_service(PresenceServiceServer::new(Presence(service.clone())))
        .add_service(ProfileServiceServer::new(Profile(service.clone())))
        .add_service(LabelServiceServer::new(Labels(service.clone())))
}
