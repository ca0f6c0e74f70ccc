//! A client for etcd 3.4 to 3.6. One [`Client`] is one member: nothing is balanced or retried
//! behind the caller's back, each call has a deadline that includes connecting, and each failure
//! says which call, which member, and whether a write may have gone in.

pub(crate) mod endpoint;
mod error;
mod http;
mod login;
mod tls;
mod types;
mod watch;

#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use druid_core::member::MemberId;
use druid_core::observed::{Alarm, Switch};
use druid_core::version::Minor;
use tokio::sync::OnceCell;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

pub(crate) use endpoint::{Endpoint, ParseEndpointError};
pub(crate) use error::{Error, Kind};
pub(crate) use http::{Compactions, Http};
pub(crate) use login::Login;
use login::Token;
pub(crate) use tls::{Pem, Tls, TlsConfig, TlsError};
pub(crate) use types::{Cas, HashKv, Keys, Kv, Member, MemberStatus, Range, RangeOptions};
pub(crate) use watch::{Event, Watch};

#[allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
mod pb {
    tonic::include_proto!("etcdserverpb");
}

/// How long a connection attempt may go on, whatever the deadline of the call that started it.
const CONNECT: Duration = Duration::from_secs(3);

/// What etcd says if its own downgrade is under way.
const DOWNGRADE_JOB: &str = "cluster has a downgrade job in progress";

/// How often a connection with calls under way is checked; etcd drops those who ask more often
/// than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// So many bytes of one answer may be on their way or wait to be read; 64 MB/s at 2 ms to the member
/// and back.
const WINDOW: u32 = 128 << 10;

/// One member. Cheap to clone; clones share one connection, made when it is first needed.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    endpoint: Endpoint,
    channel: Channel,
    http: Http,
    token: Token,
    login: Option<Login>,
    quota: Arc<OnceCell<Option<u64>>>,
    /// Set if we talk TLS without a certificate of our own.
    nameless: bool,
}

/// Calls with a name, once there is one.
type Named = InterceptedService<Channel, Token>;

/// How to make a call as often as it takes.
macro_rules! ask {
    ($client:ident . $stub:ident, $call:ident, $request:expr) => {{
        let request = $request;
        move || {
            let (mut stub, request) = ($client.$stub(), request.clone());
            async move { stub.$call(request).await }
        }
    }};
}

/// A snapshot on its way.
#[derive(Debug)]
pub(crate) struct Snapshot {
    client: Client,
    stream: Streaming<pb::SnapshotResponse>,
    remaining: u64,
}

impl Client {
    /// Connects when first used, so it is to be called inside a tokio runtime. `https` takes `tls`.
    pub(crate) fn new(endpoint: Endpoint, tls: Option<&TlsConfig>) -> Result<Self, Error> {
        let http = Http::new(endpoint.clone(), tls)?;
        let failed = |error: tonic::transport::Error| Error {
            call: "connect",
            endpoint: endpoint.clone(),
            kind: error::of_transport(&error),
        };
        let mut transport = Channel::from_shared(endpoint.as_str().to_owned())
            .map_err(|error| Error {
                call: "connect",
                endpoint: endpoint.clone(),
                kind: Kind::Refused(error.to_string()),
            })?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE);
        if let (true, Some(tls)) = (endpoint.is_tls(), tls) {
            let tls = tls.grpc.clone().timeout(CONNECT);
            transport = transport.tls_config(tls).map_err(failed)?;
        }
        Ok(Self {
            channel: transport.connect_lazy(),
            endpoint,
            http,
            token: Token::default(),
            login: None,
            quota: Arc::default(),
            nameless: tls.is_some_and(|tls| !tls.has_certificate),
        })
    }

    /// Which member.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Plain HTTP on the same address.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// [`Http::quota`], asked until it was answered once: a running member cannot change it.
    pub(crate) async fn quota(&self, deadline: Duration) -> Result<Option<u64>, Error> {
        let quota = self
            .quota
            .get_or_try_init(|| self.http.quota(deadline))
            .await?;
        Ok(*quota)
    }

    /// Writes a key. Returns the revision of the write.
    pub(crate) async fn put(
        &self,
        key: &[u8],
        value: &[u8],
        lease: Option<i64>,
        deadline: Duration,
    ) -> Result<i64, Error> {
        let request = pb::PutRequest {
            key: key.to_vec(),
            value: value.to_vec(),
            lease: lease.unwrap_or_default(),
        };
        let answer = self.call("Put", deadline, self.kv().put(request)).await?;
        Ok(revision(answer.header))
    }

    /// Reads a key; with it comes the revision of the store.
    pub(crate) async fn get(
        &self,
        key: &[u8],
        linearizable: bool,
        deadline: Duration,
    ) -> Result<(Option<Kv>, i64), Error> {
        let options = RangeOptions {
            serializable: !linearizable,
            ..RangeOptions::default()
        };
        let mut range = self.range(Keys::One(key), options, deadline).await?;
        Ok((range.kvs.pop(), range.revision))
    }

    /// Reads keys.
    pub(crate) async fn range(
        &self,
        keys: Keys<'_>,
        options: RangeOptions,
        deadline: Duration,
    ) -> Result<Range, Error> {
        let (key, range_end) = keys.bounds();
        let request = pb::RangeRequest {
            key,
            range_end,
            limit: options.limit,
            revision: options.revision,
            serializable: options.serializable,
            keys_only: options.keys_only,
            count_only: options.count_only,
        };
        let answer = self
            .named("Range", deadline, ask!(self.kv, range, request))
            .await?;
        Ok(Range {
            kvs: answer.kvs.into_iter().map(Kv::from).collect(),
            count: answer.count,
            more: answer.more,
            revision: revision(answer.header),
        })
    }

    /// Deletes keys. Returns how many there were, and the revision.
    pub(crate) async fn delete(
        &self,
        keys: Keys<'_>,
        deadline: Duration,
    ) -> Result<(i64, i64), Error> {
        let (key, range_end) = keys.bounds();
        let request = pb::DeleteRangeRequest { key, range_end };
        let answer = self
            .call("DeleteRange", deadline, self.kv().delete_range(request))
            .await?;
        Ok((answer.deleted, revision(answer.header)))
    }

    /// Writes a key if it has the expected value; `None` expects it to be absent.
    pub(crate) async fn txn_cas(
        &self,
        key: &[u8],
        expect: Option<&[u8]>,
        new: &[u8],
        deadline: Duration,
    ) -> Result<Cas, Error> {
        use pb::compare::{CompareTarget, TargetUnion};
        let (target, wanted) = match expect {
            Some(value) => (CompareTarget::Value, TargetUnion::Value(value.to_vec())),
            None => (CompareTarget::Version, TargetUnion::Version(0)),
        };
        let compare = pb::Compare {
            result: pb::compare::CompareResult::Equal.into(),
            target: target.into(),
            key: key.to_vec(),
            target_union: Some(wanted),
        };
        let read = pb::request_op::Request::RequestRange(pb::RangeRequest {
            key: key.to_vec(),
            ..pb::RangeRequest::default()
        });
        let request = pb::TxnRequest {
            compare: vec![compare],
            success: vec![put_op(key, new)],
            failure: vec![pb::RequestOp {
                request: Some(read),
            }],
        };
        let answer = self.call("Txn", deadline, self.kv().txn(request)).await?;
        let current = answer
            .responses
            .into_iter()
            .find_map(|op| match op.response {
                Some(pb::response_op::Response::ResponseRange(range)) => {
                    range.kvs.into_iter().next().map(|kv| kv.value)
                }
                Some(_) | None => None,
            });
        Ok(Cas {
            succeeded: answer.succeeded,
            revision: revision(answer.header),
            current,
        })
    }

    /// Writes several keys in one transaction, at one revision, which it returns.
    pub(crate) async fn txn_put(
        &self,
        pairs: &[(Vec<u8>, Vec<u8>)],
        deadline: Duration,
    ) -> Result<i64, Error> {
        let request = pb::TxnRequest {
            compare: Vec::new(),
            success: pairs
                .iter()
                .map(|(key, value)| put_op(key, value))
                .collect(),
            failure: Vec::new(),
        };
        let answer = self.call("Txn", deadline, self.kv().txn(request)).await?;
        Ok(revision(answer.header))
    }

    /// Forgets what was before a revision; `physical` waits until the space is free.
    pub(crate) async fn compact(
        &self,
        revision: i64,
        physical: bool,
        deadline: Duration,
    ) -> Result<(), Error> {
        let request = pb::CompactionRequest { revision, physical };
        self.call("Compact", deadline, self.kv().compact(request))
            .await?;
        Ok(())
    }

    /// Grants a lease of so many seconds. Returns its number.
    pub(crate) async fn lease_grant(&self, ttl: i64, deadline: Duration) -> Result<i64, Error> {
        let request = pb::LeaseGrantRequest { ttl, id: 0 };
        let answer = self
            .call("LeaseGrant", deadline, self.lease().lease_grant(request))
            .await?;
        if !answer.error.is_empty() {
            return Err(self.error("LeaseGrant", Kind::Refused(answer.error)));
        }
        Ok(answer.id)
    }

    /// Ends a lease, and deletes its keys.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests ask for it so far"))]
    pub(crate) async fn lease_revoke(&self, id: i64, deadline: Duration) -> Result<(), Error> {
        let request = pb::LeaseRevokeRequest { id };
        self.call("LeaseRevoke", deadline, self.lease().lease_revoke(request))
            .await?;
        Ok(())
    }

    /// For how many seconds a lease was granted; `None` if it is gone.
    pub(crate) async fn lease_granted_ttl(
        &self,
        id: i64,
        deadline: Duration,
    ) -> Result<Option<i64>, Error> {
        let request = pb::LeaseTimeToLiveRequest { id, keys: false };
        let answer = self
            .named(
                "LeaseTimeToLive",
                deadline,
                ask!(self.lease, lease_time_to_live, request),
            )
            .await?;
        Ok((answer.granted_ttl > 0).then_some(answer.granted_ttl))
    }

    /// The revision of the store, from the majority.
    pub(crate) async fn revision(&self, deadline: Duration) -> Result<i64, Error> {
        let (_, revision) = self.get(b"\0", true, deadline).await?;
        Ok(revision)
    }

    /// Renews a lease. Returns the seconds that it has left; 0 or less means that it is gone.
    pub(crate) async fn lease_keep_alive_once(
        &self,
        id: i64,
        deadline: Duration,
    ) -> Result<i64, Error> {
        const CALL: &str = "LeaseKeepAlive";
        let request = pb::LeaseKeepAliveRequest { id };
        let mut lease = self.lease();
        let exchange = async {
            let requests = tonic::codegen::tokio_stream::once(request);
            let mut answers = lease.lease_keep_alive(requests).await?.into_inner();
            Ok(Response::new(answers.message().await?))
        };
        let answer = self.call(CALL, deadline, exchange).await?;
        let answer = answer.ok_or_else(|| self.error(CALL, Kind::BadAnswer("none".to_owned())))?;
        Ok(answer.ttl)
    }

    /// Watches all keys with a prefix, from a revision on (0: from now).
    pub(crate) async fn watch(
        &self,
        prefix: &[u8],
        start_revision: i64,
        deadline: Duration,
    ) -> Result<Watch, Error> {
        Watch::open(self, prefix, start_revision, deadline).await
    }

    /// What the member says of itself.
    pub(crate) async fn status(&self, deadline: Duration) -> Result<MemberStatus, Error> {
        let request = pb::StatusRequest {};
        let answer = self
            .named("Status", deadline, ask!(self.maintenance, status, request))
            .await?;
        let header = answer
            .header
            .ok_or_else(|| self.error("Status", Kind::BadAnswer("no header".to_owned())))?;
        Ok(MemberStatus {
            id: MemberId(header.member_id),
            cluster: header.cluster_id,
            version: answer.version,
            leader: MemberId(answer.leader),
            term: answer.raft_term,
            raft_index: answer.raft_index,
            raft_applied_index: answer.raft_applied_index,
            revision: header.revision,
            db_size: answer.db_size.try_into().unwrap_or_default(),
            db_size_in_use: answer.db_size_in_use.try_into().unwrap_or_default(),
            learner: answer.is_learner,
            errors: answer.errors,
        })
    }

    /// The members. 3.4 answers from local state, so a linearizable read goes before it, within
    /// the same deadline.
    pub(crate) async fn member_list(&self, deadline: Duration) -> Result<Vec<Member>, Error> {
        let list = async {
            self.get(b"\0", true, deadline).await?;
            let request = pb::MemberListRequest { linearizable: true };
            let answer = self
                .named(
                    "MemberList",
                    deadline,
                    ask!(self.cluster, member_list, request),
                )
                .await?;
            Ok(answer.members.into_iter().map(Member::from).collect())
        };
        match tokio::time::timeout(deadline, list).await {
            Ok(members) => members,
            Err(_) => Err(self.error("MemberList", Kind::DeadlineExceeded(deadline))),
        }
    }

    /// Adds a learner.
    pub(crate) async fn member_add_learner(
        &self,
        peer_urls: &[String],
        deadline: Duration,
    ) -> Result<MemberId, Error> {
        let request = pb::MemberAddRequest {
            peer_ur_ls: peer_urls.to_vec(),
            is_learner: true,
        };
        let answer = self
            .named(
                "MemberAdd",
                deadline,
                ask!(self.cluster, member_add, request),
            )
            .await?;
        let member = answer
            .member
            .ok_or_else(|| self.error("MemberAdd", Kind::BadAnswer("no member".to_owned())))?;
        Ok(MemberId(member.id))
    }

    /// Lets a learner vote.
    pub(crate) async fn member_promote(
        &self,
        id: MemberId,
        deadline: Duration,
    ) -> Result<(), Error> {
        let request = pb::MemberPromoteRequest { id: id.0 };
        self.named(
            "MemberPromote",
            deadline,
            ask!(self.cluster, member_promote, request),
        )
        .await?;
        Ok(())
    }

    /// Removes a member.
    pub(crate) async fn member_remove(
        &self,
        id: MemberId,
        deadline: Duration,
    ) -> Result<(), Error> {
        let request = pb::MemberRemoveRequest { id: id.0 };
        self.named(
            "MemberRemove",
            deadline,
            ask!(self.cluster, member_remove, request),
        )
        .await?;
        Ok(())
    }

    /// Tells the cluster where peers reach a member.
    pub(crate) async fn member_update(
        &self,
        id: MemberId,
        peer_urls: &[String],
        deadline: Duration,
    ) -> Result<(), Error> {
        let request = pb::MemberUpdateRequest {
            id: id.0,
            peer_ur_ls: peer_urls.to_vec(),
        };
        self.named(
            "MemberUpdate",
            deadline,
            ask!(self.cluster, member_update, request),
        )
        .await?;
        Ok(())
    }

    /// Every raised alarm.
    pub(crate) async fn alarms(&self, deadline: Duration) -> Result<Vec<Alarm>, Error> {
        let request = pb::AlarmRequest {
            action: pb::alarm_request::AlarmAction::Get.into(),
            ..pb::AlarmRequest::default()
        };
        let answer = self
            .named("Alarm", deadline, ask!(self.maintenance, alarm, request))
            .await?;
        Ok(answer.alarms.into_iter().map(types::alarm_of).collect())
    }

    /// Raises NOSPACE for a member.
    pub(crate) async fn alarm_raise(
        &self,
        member: MemberId,
        deadline: Duration,
    ) -> Result<(), Error> {
        let action = pb::alarm_request::AlarmAction::Activate;
        self.alarm(action, member, pb::AlarmType::Nospace, deadline)
            .await
    }

    /// Lowers NOSPACE of a member.
    pub(crate) async fn alarm_disarm(
        &self,
        member: MemberId,
        deadline: Duration,
    ) -> Result<(), Error> {
        let action = pb::alarm_request::AlarmAction::Deactivate;
        self.alarm(action, member, pb::AlarmType::Nospace, deadline)
            .await
    }

    async fn alarm(
        &self,
        action: pb::alarm_request::AlarmAction,
        member: MemberId,
        alarm: pb::AlarmType,
        deadline: Duration,
    ) -> Result<(), Error> {
        let request = pb::AlarmRequest {
            action: action.into(),
            member_id: member.0,
            alarm: alarm.into(),
        };
        self.named("Alarm", deadline, ask!(self.maintenance, alarm, request))
            .await?;
        Ok(())
    }

    /// The hash of the member's own data at a revision; 0 is the latest. Learners refuse.
    pub(crate) async fn hash_kv(
        &self,
        at_revision: i64,
        deadline: Duration,
    ) -> Result<HashKv, Error> {
        let request = pb::HashKvRequest {
            revision: at_revision,
        };
        let answer = self
            .named("HashKV", deadline, ask!(self.maintenance, hash_kv, request))
            .await?;
        Ok(HashKv {
            hash: answer.hash,
            compact_revision: answer.compact_revision,
            revision: revision(answer.header),
        })
    }

    /// Hands leadership over; only the leader can, and only to a voter.
    pub(crate) async fn move_leader(&self, to: MemberId, deadline: Duration) -> Result<(), Error> {
        let request = pb::MoveLeaderRequest { target_id: to.0 };
        self.named(
            "MoveLeader",
            deadline,
            ask!(self.maintenance, move_leader, request),
        )
        .await?;
        Ok(())
    }

    /// Whether etcd's own downgrade is under way; for 3.5 and later. Nothing is changed: a member that
    /// is asked to validate a downgrade from `agreed`, the cluster version, to the minor before it says
    /// no if one is. `/downgrade/enabled` tells the same at peer addresses, where etcd lets only other
    /// members in.
    pub(crate) async fn downgrade_job(
        &self,
        agreed: Minor,
        deadline: Duration,
    ) -> Result<Switch, Error> {
        let request = pb::DowngradeRequest {
            action: pb::downgrade_request::DowngradeAction::Validate.into(),
            version: agreed.before().to_string(),
        };
        let answer = self
            .named(
                "Downgrade (validate)",
                deadline,
                ask!(self.maintenance, downgrade, request),
            )
            .await;
        match answer {
            Ok(_) => Ok(Switch::Off),
            Err(error) if error.kind == Kind::Refused(DOWNGRADE_JOB.to_owned()) => Ok(Switch::On),
            Err(error) => Err(error),
        }
    }

    /// Gives free pages back to the file system; the member serves nothing meanwhile.
    pub(crate) async fn defragment(&self, deadline: Duration) -> Result<(), Error> {
        let request = pb::DefragmentRequest {};
        self.named(
            "Defragment",
            deadline,
            ask!(self.maintenance, defragment, request),
        )
        .await?;
        Ok(())
    }

    /// The database as a file, in chunks; its last 32 bytes are the SHA-256 of all before them.
    pub(crate) async fn snapshot(&self, deadline: Duration) -> Result<Snapshot, Error> {
        let request = pb::SnapshotRequest {};
        let stream = self
            .named(
                "Snapshot",
                deadline,
                ask!(self.maintenance, snapshot, request),
            )
            .await?;
        Ok(Snapshot {
            client: self.clone(),
            stream,
            remaining: 0,
        })
    }

    /// Whether authentication is on, found out in the one way that harms no release.
    pub(crate) async fn auth_probe(&self, deadline: Duration) -> Result<Switch, Error> {
        let request = pb::AuthenticateRequest {
            name: "x".to_owned(),
            password: String::new(),
        };
        let answer = self
            .call("Authenticate", deadline, self.auth().authenticate(request))
            .await;
        let Err(error) = answer else {
            return Ok(Switch::On);
        };
        if matches!(&error.kind, Kind::Refused(why) if why == "authentication is not enabled") {
            return Ok(Switch::Off);
        }
        let asked_who_we_are = matches!(
            &error.kind,
            Kind::Unauthenticated(_)
                | Kind::PermissionDenied(_)
                | Kind::Other {
                    code: tonic::Code::InvalidArgument,
                    ..
                }
        );
        if asked_who_we_are {
            Ok(Switch::On)
        } else {
            Err(error)
        }
    }

    /// Adds user and role `root` and switches authentication on.
    pub(crate) async fn auth_enable(
        &self,
        password: &str,
        deadline: Duration,
    ) -> Result<(), Error> {
        let user = pb::AuthUserAddRequest {
            name: "root".to_owned(),
            password: password.to_owned(),
        };
        self.call("UserAdd", deadline, self.auth().user_add(user))
            .await?;
        let role = pb::AuthRoleAddRequest {
            name: "root".to_owned(),
        };
        self.call("RoleAdd", deadline, self.auth().role_add(role))
            .await?;
        let grant = pb::AuthUserGrantRoleRequest {
            user: "root".to_owned(),
            role: "root".to_owned(),
        };
        self.call(
            "UserGrantRole",
            deadline,
            self.auth().user_grant_role(grant),
        )
        .await?;
        let enable = pb::AuthEnableRequest {};
        self.call("AuthEnable", deadline, self.auth().auth_enable(enable))
            .await?;
        Ok(())
    }

    /// etcd's own downgrade job, `version` such as `3.4`. For rehearsals only: in 3.5 it answers
    /// `request timed out` although it was applied, and then breaks members that restart.
    pub(crate) async fn downgrade_enable(
        &self,
        version: &str,
        deadline: Duration,
    ) -> Result<(), Error> {
        let request = pb::DowngradeRequest {
            action: pb::downgrade_request::DowngradeAction::Enable.into(),
            version: version.to_owned(),
        };
        self.call("Downgrade", deadline, self.maintenance().downgrade(request))
            .await?;
        Ok(())
    }

    async fn call<T>(
        &self,
        call: &'static str,
        deadline: Duration,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.error(call, error::of_status(&status))),
            Err(_) => Err(self.error(call, Kind::DeadlineExceeded(deadline))),
        }
    }

    /// A failure of this member.
    pub(crate) fn error(&self, call: &'static str, kind: Kind) -> Error {
        let kind = if self.nameless { unnamed(kind) } else { kind };
        Error {
            call,
            endpoint: self.endpoint.clone(),
            kind,
        }
    }
}

impl Client {
    fn kv(&self) -> pb::kv_client::KvClient<Named> {
        pb::kv_client::KvClient::with_interceptor(self.channel.clone(), self.token.clone())
            .max_decoding_message_size(usize::MAX)
    }

    fn lease(&self) -> pb::lease_client::LeaseClient<Named> {
        pb::lease_client::LeaseClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    fn watcher(&self) -> pb::watch_client::WatchClient<Named> {
        pb::watch_client::WatchClient::with_interceptor(self.channel.clone(), self.token.clone())
            .max_decoding_message_size(usize::MAX)
    }

    fn cluster(&self) -> pb::cluster_client::ClusterClient<Named> {
        pb::cluster_client::ClusterClient::with_interceptor(
            self.channel.clone(),
            self.token.clone(),
        )
    }

    fn maintenance(&self) -> pb::maintenance_client::MaintenanceClient<Named> {
        pb::maintenance_client::MaintenanceClient::with_interceptor(
            self.channel.clone(),
            self.token.clone(),
        )
    }

    fn auth(&self) -> pb::auth_client::AuthClient<Channel> {
        pb::auth_client::AuthClient::new(self.channel.clone())
    }
}

/// A member that wants a certificate hangs up, and what it said why can get lost.
fn unnamed(kind: Kind) -> Kind {
    let advise = |why| {
        format!("{why}; if the member wants certificates of its clients, give --cert and --key")
    };
    if let Kind::Unreachable(why) = kind {
        Kind::Unreachable(advise(why))
    } else if let Kind::Unavailable(why) = kind {
        Kind::Unavailable(advise(why))
    } else {
        kind
    }
}

impl Snapshot {
    /// The next chunk; `None` after the last.
    pub(crate) async fn next(&mut self, deadline: Duration) -> Result<Option<Bytes>, Error> {
        let message = async { self.stream.message().await.map(Response::new) };
        let chunk = self.client.call("Snapshot", deadline, message).await?;
        Ok(chunk.map(|chunk| {
            self.remaining = chunk.remaining_bytes;
            chunk.blob
        }))
    }

    /// Which member sends it.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.client.endpoint
    }

    /// How many bytes of the database are still to come after the last chunk.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }
}

fn put_op(key: &[u8], value: &[u8]) -> pb::RequestOp {
    let put = pb::PutRequest {
        key: key.to_vec(),
        value: value.to_vec(),
        lease: 0,
    };
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(put)),
    }
}

fn revision(header: Option<pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}
