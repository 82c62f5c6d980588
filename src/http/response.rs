//! stub
/// stub
pub struct ResponseHead;
