//! The bounds of the data plane, each with its unit and the reason for the number.

use std::time::Duration;

/// Connections of agents open at once, some 20 KB each: beyond it, new ones are told so and closed.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections that are told so at once; others are closed without a word.
pub const REFUSALS_MAX: usize = 256;
/// Time for telling it, what the agent has sent meanwhile included.
pub const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);
/// Time for a request head to arrive once its first byte has, whatever its pace (slowloris).
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Time an agent's connection may lie idle between requests.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(75);
/// Time for a TLS handshake with an agent.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Time to resolve, connect and shake hands with an upstream.
pub const DIAL_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take to be free after a whole response: the rest of a request that the upstream did not
/// wait for is not worth more.
pub(crate) const FREE_TIME_MAX: Duration = Duration::from_millis(50);
/// Time an upstream may take from the end of the request to the head of its response: models think
/// for minutes.
pub const RESPONSE_TIME_MAX: Duration = Duration::from_secs(300);
/// Time an upstream may be silent inside a response body: event streams send a comment every
/// minute or so.
pub const RESPONSE_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Time an agent may take for a body beyond what its bytes are worth at [`BODY_BYTES_PER_SECOND_MIN`].
pub const BODY_GRACE: Duration = Duration::from_secs(30);
/// Slowest body, in bytes a second, after the grace.
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 256;
/// Time an agent may leave bytes of a response unread.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(60);
/// Largest request body, in bytes; bodies stream, so this bounds time and not memory.
pub const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Largest request body that a person can be asked about, in bytes: it is held in memory until it is sent, by as many
/// connections as wait.
pub const ASKED_BODY_BYTES_MAX: u64 = 1024 * 1024;
/// Time that a body which a person is asked about may take to arrive.
pub const ASKED_BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of an unwanted body that are read and dropped so that the connection can go on.
pub const DRAIN_BYTES_MAX: usize = 64 * 1024;
/// Bytes that an idle connection has ready: a usual head.
pub const FIRST_READ_BYTES: usize = 1_024;
/// Bytes read from an agent at a time.
pub const READ_BYTES: usize = 16 * 1024;
/// Bytes of further requests that are read while one waits for its response: enough to notice that
/// the agent has gone, not enough to be a buffer.
pub const READ_AHEAD_BYTES_MAX: usize = 8 * 1024;
/// Frames of a request body on their way upstream: back-pressure beyond it.
pub const BODY_FRAMES_MAX: usize = 4;
/// Header fields of an upstream's response.
pub const RESPONSE_FIELDS_MAX: usize = 200;
/// Bytes of the header block of an upstream's response.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Idle upstream connections kept for one credential at one endpoint.
pub const IDLE_UPSTREAMS_PER_KEY_MAX: usize = 32;
/// Idle upstream connections kept in all.
pub const IDLE_UPSTREAMS_MAX: usize = 512;
/// Time an upstream connection is kept idle: less than what common servers allow.
pub const IDLE_UPSTREAM_TIME_MAX: Duration = Duration::from_secs(25);
/// Leaf certificates kept for hosts that agents ask for.
pub const LEAVES_MAX: usize = 1_024;
/// Life of a leaf certificate, in days.
pub const LEAF_DAYS: i64 = 7;
/// Days before its end from which on a leaf is made anew.
pub const LEAF_RENEW_DAYS: u64 = 1;
