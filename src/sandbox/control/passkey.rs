//! The phones' passkeys.

use tonic::{Request, Response, Status};

use super::{Answer, Control};
use crate::api::status::to_status;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::passkey_service_server::PasskeyService;
use crate::sandbox::passkey::Passkey;

#[tonic::async_trait]
impl PasskeyService for Control {
    async fn get_passkey(&self, request: Request<proto::GetPasskeyRequest>) -> Answer<proto::Passkey> {
        answer(self.sandbox.passkey(&request.into_inner().phone_number).await)
    }

    async fn update_passkey(&self, request: Request<proto::UpdatePasskeyRequest>) -> Answer<proto::Passkey> {
        let proto::UpdatePasskeyRequest { phone_number, required } = request.into_inner();
        answer(self.sandbox.set_passkey(&phone_number, required).await)
    }

    async fn sign_passkey(&self, request: Request<proto::SignPasskeyRequest>) -> Answer<proto::SignPasskeyResponse> {
        let proto::SignPasskeyRequest { phone_number, options } = request.into_inner();
        let assertion = self.sandbox.sign_passkey(&phone_number, &options).await;
        assertion.map(|assertion| Response::new(proto::SignPasskeyResponse { assertion })).map_err(to_status)
    }
}

fn answer(passkey: crate::error::Result<Passkey>) -> Result<Response<proto::Passkey>, Status> {
    let Passkey { number, required, code } = passkey.map_err(to_status)?;
    Ok(Response::new(proto::Passkey { phone_number: number, required, code }))
}
