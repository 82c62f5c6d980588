//! stub system
