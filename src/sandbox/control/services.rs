//! All services of the control, in one place for those who serve them.

use tonic::service::Routes;

use super::Control;
use crate::proto::sandbox::fault_schedule_service_server::FaultScheduleServiceServer;
use crate::proto::sandbox::fault_service_server::FaultServiceServer;
use crate::proto::sandbox::history_service_server::HistoryServiceServer;
use crate::proto::sandbox::media_host_service_server::MediaHostServiceServer;
use crate::proto::sandbox::newsletter_service_server::NewsletterServiceServer;
use crate::proto::sandbox::passkey_service_server::PasskeyServiceServer;
use crate::proto::sandbox::person_service_server::PersonServiceServer;
use crate::proto::sandbox::phone_chat_service_server::PhoneChatServiceServer;
use crate::proto::sandbox::sandbox_service_server::SandboxServiceServer;
use crate::proto::sandbox::watch_service_server::WatchServiceServer;

impl Control {
    /// Adds the simulator's control to what a server offers.
    pub fn add_to(self, routes: Routes) -> Routes {
        routes
            .add_service(SandboxServiceServer::new(self.clone()))
            .add_service(HistoryServiceServer::new(self.clone()))
            .add_service(PhoneChatServiceServer::new(self.clone()))
            .add_service(MediaHostServiceServer::new(self.clone()))
            .add_service(NewsletterServiceServer::new(self.clone()))
            .add_service(PersonServiceServer::new(self.clone()))
            .add_service(WatchServiceServer::new(self.clone()))
            .add_service(PasskeyServiceServer::new(self.clone()))
            .add_service(FaultServiceServer::new(self.clone()))
            .add_service(FaultScheduleServiceServer::new(self))
    }
}
