//! stub config
