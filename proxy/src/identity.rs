//! From a DER certificate to the values that headers carry.
