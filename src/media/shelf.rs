//! Where files' bytes lie: a folder of this machine, or an S3-compatible bucket that several gateways share.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::{Path, PathPart};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;

use crate::domain::media::Media;
use crate::error::{Error, Result};

/// Bytes of a part of an upload, and how many parts are on their way at a time: what one upload may hold in memory. S3 takes no smaller
/// parts than these.
const PART: (usize, usize) = (5 << 20, 2);

/// A stream of a file's bytes.
pub type Bytestream = BoxStream<'static, std::io::Result<Bytes>>;

/// Who we are to a bucket.
#[derive(Debug)]
pub struct Credentials {
    /// The access key's id.
    pub access_key: SecretString,
    /// Its secret.
    pub secret_key: SecretString,
}

/// The store of bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shelf {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Shelf {
    /// A folder of this machine, which is made if it is not there, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn folder(folder: &FilePath) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let store = LocalFileSystem::new_with_prefix(folder)?.with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), prefix: Path::default() })
    }

    /// What `url` names: `file:///FOLDER`, or `s3://BUCKET/PREFIX?region=…&endpoint=…`, where the endpoint is that of a service other than
    /// Amazon's. Without `credentials` the machine's own role is used.
    ///
    /// # Errors
    /// An address of another form, and what opening it fails with.
    pub fn open(url: &str, credentials: Option<Credentials>) -> anyhow::Result<Self> {
        let url: reqwest::Url = url.parse().context("this is no address")?;
        match url.scheme() {
            "file" => Self::folder(&url.to_file_path().ok().context("this names no folder of this machine")?),
            "s3" => {
                let bucket = url.host_str().context("no bucket is named; write s3://BUCKET")?;
                // Files go one at a time, which every service understands; not all of them know how to delete many at once.
                let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_disable_bulk_delete(true);
                for (name, value) in url.query_pairs() {
                    builder = match &*name {
                        "region" => builder.with_region(value),
                        "endpoint" => builder.with_allow_http(value.starts_with("http://")).with_endpoint(value),
                        _ => bail!("`{name}` is unknown; only `region` and `endpoint` can be given"),
                    };
                }
                if let Some(Credentials { access_key, secret_key }) = credentials {
                    builder =
                        builder.with_access_key_id(access_key.expose_secret()).with_secret_access_key(secret_key.expose_secret());
                }
                Ok(Self { store: Arc::new(builder.build()?), prefix: Path::parse(url.path().trim_matches('/'))? })
            }
            _ => bail!("begin with s3:// or file://"),
        }
    }

    /// Memory of this process: for tests.
    pub fn in_memory() -> Self {
        Self { store: Arc::new(InMemory::new()), prefix: Path::default() }
    }

    /// Begins to write a file. Nothing is to be read before [`Writing::finish`].
    pub fn write(&self, media: &Media) -> Writing {
        let writer = BufWriter::with_capacity(self.store.clone(), self.place(media), PART.0).with_max_concurrency(PART.1);
        Writing(writer)
    }

    /// Reads a file, or a part of it. The range must lie within the file and must not be empty.
    pub async fn read(&self, media: &Media, range: Option<Range<u64>>) -> Result<Bytestream> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        match self.store.get_opts(&self.place(media), options).await {
            Ok(found) => Ok(found.into_stream().map_err(std::io::Error::other).boxed()),
            Err(object_store::Error::NotFound { .. }) => Err(Error::not_found("media")),
            Err(e) => Err(Error::internal(e)),
        }
    }

    /// Deletes a file; that it is not there is fine.
    pub async fn delete(&self, media: &Media) -> Result<()> {
        match self.store.delete(&self.place(media)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(Error::internal(e)),
        }
    }

    fn place(&self, media: &Media) -> Path {
        let names = [media.organization.as_str(), media.session.as_str(), media.id.as_str()];
        self.prefix.parts().chain(names.map(PathPart::from)).collect()
    }
}

/// A file that is being written.
pub struct Writing(BufWriter);

impl Writing {
    /// Adds bytes; waits while too many are on their way.
    pub async fn put(&mut self, bytes: Bytes) -> Result<()> {
        self.0.put(bytes).await.map_err(Error::internal)
    }

    /// Makes the file readable, whole.
    pub async fn finish(mut self) -> Result<()> {
        self.0.shutdown().await.map_err(Error::internal)
    }

    /// Gives it up.
    pub async fn abort(mut self) {
        if let Err(cause) = self.0.abort().await {
            tracing::warn!(%cause, "the parts of a file that was given up could not be removed");
        }
    }
}
