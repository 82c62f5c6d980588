//! stub master
