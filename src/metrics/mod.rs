//! stub metrics
