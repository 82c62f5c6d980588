//! stub cli
