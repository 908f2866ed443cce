//! The proxies that ours is compared with: a bare one of the same parts, and nginx as people run it.

pub(crate) mod bare;
pub(crate) mod nginx;
