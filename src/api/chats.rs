//! `ChatService`.

use tonic::{Request, Response, Status};

use super::admin::or_default;
use super::convert::chat::chat;
use super::convert::message::told;
use super::convert::time;
use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::proto::gateway::chat_service_server::ChatService;
use crate::proto::gateway::{
    Chat, DeleteChatRequest, GetChatRequest, ListChatMessagesRequest, ListChatMessagesResponse, ListChatsRequest,
    ListChatsResponse, ReadChatRequest, SearchMessagesRequest, SearchMessagesResponse, UpdateChatRequest,
};
use crate::service::Service;
use crate::service::chat::{ChatWish, Said, Search};

/// How many chats or messages a page has when the caller does not say.
const PAGE: i64 = 100;

/// How many found messages a page has when the caller does not say.
const FOUND: i64 = 50;

/// The gRPC face of conversations.
#[derive(Clone)]
pub struct Chats(pub Service);

#[tonic::async_trait]
impl ChatService for Chats {
    async fn list_chats(&self, request: Request<ListChatsRequest>) -> Result<Response<ListChatsResponse>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let (id, limit) = (SessionId::new(it.session), or_default(it.limit, PAGE));
        let (data, next_cursor) = self.0.list_chats(&caller, &id, it.cursor.as_deref(), limit).await.map_err(to_status)?;
        Ok(Response::new(ListChatsResponse { data: data.into_iter().map(chat).collect(), next_cursor }))
    }

    async fn get_chat(&self, request: Request<GetChatRequest>) -> Result<Response<Chat>, Status> {
        let GetChatRequest { session, cid } = request.get_ref();
        let found = self.0.get_chat(&principal(&request)?, &SessionId::new(session), cid).await.map_err(to_status)?;
        Ok(Response::new(chat(found)))
    }

    async fn list_chat_messages(
        &self,
        request: Request<ListChatMessagesRequest>,
    ) -> Result<Response<ListChatMessagesResponse>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let (id, limit) = (SessionId::new(it.session), or_default(it.limit, PAGE));
        let page = self.0.chat_messages(&caller, &id, &it.cid, it.cursor.as_deref(), limit).await.map_err(to_status)?;
        Ok(Response::new(ListChatMessagesResponse { data: page.messages.iter().map(one).collect(), next_cursor: page.next }))
    }

    async fn update_chat(&self, request: Request<UpdateChatRequest>) -> Result<Response<Chat>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let wish = ChatWish {
            archived: it.archived,
            pinned: it.pinned,
            muted_until: it.muted_until.as_ref().map(time),
            unmute: it.unmute.unwrap_or_default(),
        };
        let found = Box::pin(self.0.update_chat(&caller, &SessionId::new(it.session), &it.cid, wish)).await.map_err(to_status)?;
        Ok(Response::new(chat(found)))
    }

    async fn delete_chat(&self, request: Request<DeleteChatRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let DeleteChatRequest { session, cid } = request.into_inner();
        Box::pin(self.0.delete_chat(&caller, &SessionId::new(session), &cid)).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn read_chat(&self, request: Request<ReadChatRequest>) -> Result<Response<Chat>, Status> {
        let caller = principal(&request)?;
        let ReadChatRequest { session, cid } = request.into_inner();
        let found = Box::pin(self.0.read_chat(&caller, &SessionId::new(session), &cid)).await.map_err(to_status)?;
        Ok(Response::new(chat(found)))
    }

    async fn search_messages(&self, request: Request<SearchMessagesRequest>) -> Result<Response<SearchMessagesResponse>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let search = Search {
            text: it.q,
            chat: it.chat.filter(|text| !text.is_empty()),
            cursor: it.cursor,
            limit: or_default(it.limit, FOUND),
        };
        let page = self.0.search_messages(&caller, &SessionId::new(it.session), search).await.map_err(to_status)?;
        Ok(Response::new(SearchMessagesResponse { data: page.messages.iter().map(one).collect(), next_cursor: page.next }))
    }
}

fn one(it: &Said) -> crate::proto::gateway::Message {
    told(&it.message, &it.reactions, &it.votes)
}
