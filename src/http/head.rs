//! stub
/// stub
pub struct Head;
