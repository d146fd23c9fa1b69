//! The services about the account behind a session, put onto the edge.

use std::path::{Path, PathBuf};

use tonic::service::Routes;

use crate::api::backup::Backups;
use crate::api::channels::Channels;
use crate::api::labels::Labels;
use crate::api::presence::Presence;
use crate::api::profile::Profile;
use crate::backup;
use crate::domain::clock::Ambient;
use crate::domain::ids::{GatewayId, OrganizationId};
use crate::lifecycle::Lifecycle;
use crate::proto::gateway::backup_service_server::BackupServiceServer;
use crate::proto::gateway::channel_service_server::ChannelServiceServer;
use crate::proto::gateway::label_service_server::LabelServiceServer;
use crate::proto::gateway::presence_service_server::PresenceServiceServer;
use crate::proto::gateway::profile_service_server::ProfileServiceServer;
use crate::proto::gateway::status_service_server::StatusServiceServer;
use crate::service::Service;
use crate::store::Db;

/// Where uploaded backups lie until they are merged.
pub(super) fn imports(data_dir: &Path) -> PathBuf {
    data_dir.join("imports")
}

/// Starts what merges uploaded backups.
pub(super) fn start_imports(lifecycle: &Lifecycle, db: &Db, folder: PathBuf, gateway: &GatewayId, ambient: &Ambient) {
    let workers = backup::Workers { db: db.clone(), folder, gateway: gateway.clone(), ambient: ambient.clone() };
    let draining = lifecycle.draining();
    lifecycle.spawn_vital("imports", async move {
        workers.run(draining).await;
        Ok(())
    });
}

/// Adds presence, profile, privacy, calls, labels and backups.
pub(super) fn services(routes: Routes, service: &Service) -> Routes {
    routes
        .add_service(PresenceServiceServer::new(Presence(service.clone())))
        .add_service(ProfileServiceServer::new(Profile(service.clone())))
        .add_service(LabelServiceServer::new(Labels(service.clone())))
        .add_service(ChannelServiceServer::new(Channels(service.clone())))
        .add_service(StatusServiceServer::new(Channels(service.clone())))
        .add_service(BackupServiceServer::new(Backups(service.clone())))
}

/// Sets up the platform's own session, and tells how to link it as long as it is not.
pub(super) async fn admin_session(service: Service, phone: String) {
    match service.admin_session(&OrganizationId::new(super::DEFAULT_ORGANIZATION), &phone).await {
        Ok((session, Some(code))) => {
            // Like the first key: for whoever starts the program, not for the log.
            #[expect(clippy::print_stderr, reason = "the code is shown to whoever starts the program")]
            {
                eprintln!(
                    "\n  To link the platform's own WhatsApp, type this code on the phone +{phone} (Linked devices, Link with phone\n  \
                     number) within three minutes:\n\n      {}\n\n  Later: whatsapp-gateway sessions pair {session} --code +{phone}\n",
                    code.code
                );
            }
        }
        Ok((session, None)) => tracing::info!(%session, "the platform's own session is linked"),
        Err(e) => tracing::error!(error = %e, cause = ?e.cause(), "the platform's own session could not be set up"),
    }
}
