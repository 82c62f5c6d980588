//! stub worker
