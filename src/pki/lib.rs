//! Door to come.
