//! `MessageActionService`.

use tonic::{Request, Response, Status};

use super::convert::message::{delivery, done};
use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::proto::gateway as pb;
use crate::proto::gateway::message_action_service_server::MessageActionService;
use crate::service::Service;
use crate::service::message_action::Named;

/// Entries of a page when nobody says how many.
const PAGE: i64 = 50;

/// The gRPC face of what is done to messages.
#[derive(Clone)]
pub struct MessageActions(pub Service);

type Answer<T> = Result<Response<T>, Status>;

fn named(mid: String) -> Named {
    Named { mid, ..Named::default() }
}

#[tonic::async_trait]
impl MessageActionService for MessageActions {
    async fn edit_message(&self, request: Request<pb::EditMessageRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::EditMessageRequest { session, mid, chat, text } = request.into_inner();
        let (named, text) = (Named { mid, chat, sender: None }, text.unwrap_or_default());
        let edited = Box::pin(self.0.edit_message(&caller, &SessionId::new(session), &named, &text)).await;
        edited.map(done).map_err(to_status)
    }

    async fn revoke_message(&self, request: Request<pb::RevokeMessageRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::RevokeMessageRequest { session, mid, chat, sender } = request.into_inner();
        let revoked = Box::pin(self.0.revoke_message(&caller, &SessionId::new(session), &Named { mid, chat, sender })).await;
        revoked.map(done).map_err(to_status)
    }

    async fn add_reaction(&self, request: Request<pb::AddReactionRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::AddReactionRequest { session, mid, chat, sender, emoji } = request.into_inner();
        let (named, emoji) = (Named { mid, chat, sender }, emoji.unwrap_or_default());
        let reacted = Box::pin(self.0.react(&caller, &SessionId::new(session), &named, Some(&emoji))).await;
        reacted.map(done).map_err(to_status)
    }

    async fn remove_reaction(&self, request: Request<pb::RemoveReactionRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::RemoveReactionRequest { session, mid, chat, sender, .. } = request.into_inner();
        let removed = Box::pin(self.0.react(&caller, &SessionId::new(session), &Named { mid, chat, sender }, None)).await;
        removed.map(done).map_err(to_status)
    }

    async fn forward_message(&self, request: Request<pb::ForwardMessageRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::ForwardMessageRequest { session, mid, chat, sender, to } = request.into_inner();
        let named = Named { mid, chat, sender };
        let sent = Box::pin(self.0.forward_message(&caller, &SessionId::new(session), &named, &to)).await;
        sent.map(super::convert::message::sent).map_err(to_status)
    }

    async fn vote_message(&self, request: Request<pb::VoteMessageRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::VoteMessageRequest { session, mid, chat, sender, options } = request.into_inner();
        let named = Named { mid, chat, sender };
        let voted = Box::pin(self.0.vote(&caller, &SessionId::new(session), &named, &options)).await;
        voted.map(done).map_err(to_status)
    }

    async fn mark_played(&self, request: Request<pb::MarkPlayedRequest>) -> Answer<()> {
        let caller = principal(&request)?;
        let pb::MarkPlayedRequest { session, mid } = request.into_inner();
        let played = Box::pin(self.0.mark_played(&caller, &SessionId::new(session), &named(mid))).await;
        played.map(Response::new).map_err(to_status)
    }

    async fn star_message(&self, request: Request<pb::StarMessageRequest>) -> Answer<()> {
        let caller = principal(&request)?;
        let pb::StarMessageRequest { session, mid } = request.into_inner();
        let starred = Box::pin(self.0.star_message(&caller, &SessionId::new(session), &named(mid), true)).await;
        starred.map(Response::new).map_err(to_status)
    }

    async fn unstar_message(&self, request: Request<pb::UnstarMessageRequest>) -> Answer<()> {
        let caller = principal(&request)?;
        let pb::UnstarMessageRequest { session, mid } = request.into_inner();
        let starred = Box::pin(self.0.star_message(&caller, &SessionId::new(session), &named(mid), false)).await;
        starred.map(Response::new).map_err(to_status)
    }

    async fn pin_message(&self, request: Request<pb::PinMessageRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::PinMessageRequest { session, mid, days } = request.into_inner();
        let pinned = Box::pin(self.0.pin_message(&caller, &SessionId::new(session), &named(mid), Some(days.unwrap_or(7)))).await;
        pinned.map(done).map_err(to_status)
    }

    async fn unpin_message(&self, request: Request<pb::UnpinMessageRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::UnpinMessageRequest { session, mid } = request.into_inner();
        let unpinned = Box::pin(self.0.pin_message(&caller, &SessionId::new(session), &named(mid), None)).await;
        unpinned.map(done).map_err(to_status)
    }

    async fn list_outbox(&self, request: Request<pb::ListOutboxRequest>) -> Answer<pb::ListOutboxResponse> {
        let caller = principal(&request)?;
        let pb::ListOutboxRequest { session, limit, cursor } = request.into_inner();
        let limit = if limit == 0 { PAGE } else { i64::from(limit) };
        let page = self.0.list_outbox(&caller, &SessionId::new(session), &cursor, limit).await;
        let (page, next_cursor) = page.map_err(to_status)?;
        let entry = |item: crate::domain::outbox::Item| pb::OutboxEntry {
            delivery: Some(delivery(&item)),
            id: item.id,
            wa_message_id: item.wa_message_id,
            chat_jid: item.chat_jid,
            r#type: item.draft.kind,
        };
        Ok(Response::new(pb::ListOutboxResponse { data: page.into_iter().map(entry).collect(), next_cursor }))
    }

    async fn cancel_message(&self, request: Request<pb::CancelMessageRequest>) -> Answer<pb::SendResult> {
        let caller = principal(&request)?;
        let pb::CancelMessageRequest { session, mid } = request.into_inner();
        let cancelled = self.0.cancel_message(&caller, &SessionId::new(session), &mid).await;
        cancelled.map(done).map_err(to_status)
    }
}
