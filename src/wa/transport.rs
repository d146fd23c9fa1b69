//! The websocket to WhatsApp's servers.
//!
//! The library's own way leaves Nagle's algorithm on: a small frame that follows another waits until the server has acknowledged the
//! first one, and servers take 40 ms for that. Each synchronous send took so long.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use http::{HeaderValue, Uri, header};
use tokio::net::TcpStream;
use tokio_websockets::ClientBuilder;
use wacore::net::{Transport, TransportEvent, TransportFactory, WHATSAPP_WEB_ORIGIN, WHATSAPP_WEB_WS_URL};
use whatsapp_rust::transport::{Connector, default_tls_connector, from_websocket};

use super::endpoint::Endpoint;

/// Opens websockets to one address.
pub(super) struct WebSockets {
    url: Uri,
}

impl WebSockets {
    /// Those to the endpoint. Fails for a sandbox whose address is none.
    pub(super) fn to(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let url = match endpoint {
            Endpoint::WhatsApp { .. } => WHATSAPP_WEB_WS_URL,
            Endpoint::Sandbox(sandbox) => &sandbox.url,
        };
        Ok(Self { url: url.parse().with_context(|| format!("`{url}` is no address"))? })
    }
}

#[async_trait]
impl TransportFactory for WebSockets {
    async fn create_transport(&self) -> anyhow::Result<(Arc<dyn Transport>, async_channel::Receiver<TransportEvent>)> {
        let secure = self.url.scheme_str() == Some("wss");
        let host = self.url.host().context("the address names no host")?.trim_matches(['[', ']']);
        let port = self.url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.with_context(|| format!("{host} cannot be reached"))?;
        stream.set_nodelay(true)?;
        let connector = if secure { default_tls_connector() } else { Connector::Plain };
        let stream = connector.wrap(host, stream).await?;
        let builder = ClientBuilder::from_uri(self.url.clone());
        let builder = builder.add_header(header::ORIGIN, HeaderValue::from_static(WHATSAPP_WEB_ORIGIN))?;
        let (socket, _) = builder.connect_on(stream).await?;
        Ok(from_websocket(socket))
    }
}
