//! `BackupService`.

use futures_util::{StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

use super::convert::timestamp;
use super::principal;
use super::status::to_status;
use crate::domain::backfill::BackfillStatus;
use crate::domain::backup::BackupImport;
use crate::domain::ids::SessionId;
use crate::error::{Code, Error};
use crate::proto::gateway as pb;
use crate::proto::gateway::backup_service_server::BackupService;
use crate::service::Service;
use crate::service::backup::Piece;

/// The gRPC face of encrypted backups.
#[derive(Clone)]
pub struct Backups(pub Service);

#[tonic::async_trait]
impl BackupService for Backups {
    async fn import_backup(
        &self,
        request: Request<Streaming<pb::ImportBackupRequest>>,
    ) -> Result<Response<pb::BackfillImport>, Status> {
        let caller = principal(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.unwrap_or_default();
        let id = SessionId::new(&first.session);
        let messages = stream::iter([Ok(first)]).chain(messages);
        let pieces = messages.flat_map(|message| {
            let pieces = match message {
                Ok(it) => {
                    let file = (!it.file.is_empty()).then_some(Ok(Piece::File(it.file)));
                    let key = (!it.key.is_empty()).then_some(Ok(Piece::Key(it.key)));
                    [file, key]
                }
                Err(cut) => [Some(Err(Error::new(Code::Validation, "the upload broke off").because(cut))), None],
            };
            stream::iter(pieces.into_iter().flatten())
        });
        let job = Box::pin(self.0.import_backup(&caller, &id, pieces)).await.map_err(to_status)?;
        Ok(Response::new(import(job)))
    }

    async fn backup_status(&self, request: Request<pb::BackupStatusRequest>) -> Result<Response<pb::BackfillImport>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let job = self.0.backup_status(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(import(job)))
    }
}

fn import(it: BackupImport) -> pb::BackfillImport {
    let status = match it.status {
        BackfillStatus::Running => pb::BackfillStatus::Running,
        BackfillStatus::Succeeded => pb::BackfillStatus::Succeeded,
        BackfillStatus::Failed => pb::BackfillStatus::Failed,
    };
    pb::BackfillImport {
        id: it.id,
        session_id: it.session.to_string(),
        organization_id: it.organization.to_string(),
        source: "crypt15".to_owned(),
        status: status.into(),
        chats: it.chats,
        messages: it.messages,
        identities: it.identities,
        groups: it.groups,
        group_members: it.group_members,
        schema_fingerprint: Some(it.fingerprint),
        created_at: Some(timestamp(it.created_at)),
        finished_at: it.finished_at.map(timestamp),
        error: it.error,
        total_messages: it.total_messages,
        new_messages: it.new_messages,
    }
}
