//! etcd's API as far as tests want it. The members of an Etcd have no gateway for JSON.

use std::net::IpAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

const PATIENCE: Duration = Duration::from_secs(3);
/// A whole page of keys.
const LARGEST: usize = 64 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Range {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Ranged {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Written {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusOf {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(uint64, tag = "4")]
    leader: u64,
    #[prost(uint64, tag = "6")]
    raft_term: u64,
}

/// How to get to an etcd.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) tls: Option<Tls>,
}

/// In PEM.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// The name that the server's certificate has to have.
    pub(crate) name: String,
}

impl Address {
    /// Without TLS.
    pub(crate) fn plain(ip: IpAddr) -> Self {
        Self { ip, tls: None }
    }

    /// A connection, once it is used.
    pub(crate) fn channel(&self) -> Channel {
        let scheme = self.tls.as_ref().map_or("http", |_| "https");
        let url = format!("{scheme}://{}:2379", self.ip);
        let endpoint = Endpoint::from_shared(url).unwrap();
        let endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE);
        let endpoint = match &self.tls {
            None => endpoint,
            Some(tls) => {
                let config = ClientTlsConfig::new()
                    .ca_certificate(Certificate::from_pem(&tls.ca))
                    .identity(Identity::from_pem(&tls.certificate, &tls.key))
                    .domain_name(&tls.name);
                endpoint.tls_config(config).unwrap()
            }
        };
        endpoint.connect_lazy()
    }
}

async fn call<Q, A>(channel: &Channel, path: &'static str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let asked = async {
        let mut client = Grpc::new(channel.clone()).max_decoding_message_size(LARGEST);
        let unready = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        client.ready().await.map_err(unready)?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, A>::default();
        client.unary(Request::new(request), path, codec).await
    };
    let answer = tokio::time::timeout(2 * PATIENCE, asked).await;
    let answer = answer.map_err(|_| Status::deadline_exceeded("no answer"))?;
    Ok(answer?.into_inner())
}

/// Returns when it is acknowledged: the revision of it.
pub(crate) async fn put(channel: &Channel, key: &str, value: &str) -> Result<i64, Status> {
    let request = Put {
        key: key.into(),
        value: value.into(),
    };
    let written: Written = call(channel, "/etcdserverpb.KV/Put", request).await?;
    Ok(written.header.unwrap_or_default().revision)
}

/// All keys that begin so, and their values, as a quorum knows them.
pub(crate) async fn beginning(
    channel: &Channel,
    prefix: &str,
) -> Result<Vec<(String, String)>, Status> {
    let mut range_end = prefix.as_bytes().to_vec();
    *range_end.last_mut().unwrap() += 1;
    let request = Range {
        key: prefix.into(),
        range_end,
    };
    let answer: Ranged = call(channel, "/etcdserverpb.KV/Range", request).await?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let all = answer.kvs.into_iter();
    Ok(all.map(|it| (text(it.key), text(it.value))).collect())
}

/// The release that a member runs, as it says.
pub(crate) fn version(address: &Address) -> Result<String, Status> {
    Ok(status(address)?.version)
}

/// The raft term of a member: every election raises it.
pub(crate) fn term(address: &Address) -> Result<u64, Status> {
    Ok(status(address)?.raft_term)
}

/// Whether a member leads, as it says itself.
pub(crate) fn leads(address: &Address) -> Result<bool, Status> {
    let status = status(address)?;
    Ok(status.leader == status.header.unwrap_or_default().member_id)
}

fn status(address: &Address) -> Result<StatusOf, Status> {
    let path = "/etcdserverpb.Maintenance/Status";
    block(async { call(&address.channel(), path, Nothing {}).await })
}

/// Waits for something here.
pub(crate) fn block<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(what)
}
