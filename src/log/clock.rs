//! How is the local time written?
