//! stub log
