//! The operator's configuration: flags and file to one validated model.
