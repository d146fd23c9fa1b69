//! `ApiKeyService`.

use tonic::{Request, Response, Status};

use super::convert::api_key::{api_key, capabilities};
use super::convert::time;
use super::principal;
use super::status::to_status;
use crate::domain::ids::{ApiKeyId, SessionId};
use crate::proto::gateway::api_key_service_server::ApiKeyService;
use crate::proto::gateway::{
    CreateApiKeyRequest, CreateApiKeyResponse, ListApiKeysRequest, ListApiKeysResponse, RevokeApiKeyRequest,
};
use crate::service::Service;
use crate::service::api_key::NewApiKey;

/// The gRPC face of api-keys.
#[derive(Clone)]
pub struct ApiKeys(pub Service);

#[tonic::async_trait]
impl ApiKeyService for ApiKeys {
    async fn create_api_key(&self, request: Request<CreateApiKeyRequest>) -> Result<Response<CreateApiKeyResponse>, Status> {
        let caller = &principal(&request)?;
        let CreateApiKeyRequest { name, capabilities: named, expires_at, sessions } = request.get_ref();
        let new = NewApiKey {
            name: name.clone(),
            capabilities: capabilities(named).map_err(to_status)?,
            sessions: Some(sessions.iter().map(SessionId::new).collect()).filter(|all: &Vec<_>| !all.is_empty()),
            expires_at: expires_at.as_ref().map(time),
        };
        let made = self.0.create_api_key(caller, new).await;
        let (key, secret) = made.map_err(to_status)?;
        Ok(Response::new(CreateApiKeyResponse { api_key: Some(api_key(&key)), secret }))
    }

    async fn list_api_keys(&self, request: Request<ListApiKeysRequest>) -> Result<Response<ListApiKeysResponse>, Status> {
        let all = self.0.list_api_keys(&principal(&request)?).await.map_err(to_status)?;
        Ok(Response::new(ListApiKeysResponse { data: all.iter().map(api_key).collect(), next_cursor: None }))
    }

    async fn revoke_api_key(&self, request: Request<RevokeApiKeyRequest>) -> Result<Response<()>, Status> {
        let id = ApiKeyId::new(&request.get_ref().id);
        self.0.revoke_api_key(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(()))
    }
}
