//! rwsgi's core: a pre-fork WSGI application server that lives in a CPython process.
//!
//! Pure rooms decide, thin rooms act, one door leads to Python. Imports go only down:
//!
//! | Room | Question it answers |
//! |---|---|
//! | [`door`] | What crosses between the server and Python? |
//! | [`config`] | What did the operator ask for, and where did each value come from? |
//! | [`cli`] | How is it said on a command line? |
//! | [`http`] | What do these bytes mean? Which bytes answer them? |
//! | [`worker`] | Which connection is served next, and what has it sent and taken so far? |
//! | [`master`] | Which processes should be alive, and what is done about it? |
//! | [`status`] | How does the operator ask the server how it is? |
//! | [`log`] | What is written down, and where? |
//! | [`metrics`] | What do the processes tell each other and the operator about their state? |
//! | [`system`] | How is this asked of the kernel? |
//! | `python` | How is it said in CPython? |

pub mod cli;
pub mod config;
pub mod door;
pub mod http;
pub mod log;
pub mod master;
pub mod metrics;
#[cfg(feature = "python")]
pub mod python;
pub mod root;
pub mod status;
pub mod system;
mod wiring;
pub mod worker;
