//! stub
use std::rc::Rc; use crate::relay::RelayBody; use crate::headers::Outbound;
#[derive(Debug, thiserror::Error)] pub enum UpstreamError { #[error("a")] ConnectTimeout, #[error("b")] ResponseTimeout, #[error("c")] ClientBody(std::io::Error), #[error("d")] Other }
#[derive(Debug, Clone)] pub struct Limits;
#[derive(Debug)] pub struct Upstream;
impl Upstream { pub fn new(_: crate::config::UpstreamAddr, _: Limits) -> Rc<Self> { Rc::new(Self) }
 pub async fn send<B>(self: &Rc<Self>, _: &Outbound<'_>, _: B) -> Result<http::Response<RelayBody<B>>, UpstreamError> { Err(UpstreamError::Other) } }
